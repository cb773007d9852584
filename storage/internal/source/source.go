package source

import (
	"context"
	"io"
)

// Reader reads a body until its end, its first error, or the end of ctx.
type Reader struct {
	ctx   context.Context
	body  io.Reader
	bytes int64
	err   error
}

// New returns a Reader over body.
func New(ctx context.Context, body io.Reader) *Reader {
	return &Reader{ctx: ctx, body: body}
}

// Read implements io.Reader. After an error it gives that error again.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	n, err := r.body.Read(p)
	r.bytes += int64(n)
	r.err = err
	return n, err
}

// Err is what ended the body early: its own error or the context's. It is nil
// while the body goes on and after a proper io.EOF.
func (r *Reader) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Bytes is how many bytes the body gave so far.
func (r *Reader) Bytes() int64 { return r.bytes }
