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

// bufferBytes is how much is read at once of a body that does not write itself.
const bufferBytes = 256 << 10

// WriteTo implements io.WriterTo. A body that can write itself does so, without
// a copy of its bytes in between. An error of w is not held against the body.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	to, ok := r.body.(io.WriterTo)
	if !ok || r.err != nil {
		return io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, bufferBytes))
	}
	before, passed := r.bytes, &counted{to: w, r: r}
	_, err := to.WriteTo(passed)
	if passed.err != nil {
		return r.bytes - before, passed.err
	}
	if r.err = err; err == nil {
		r.err = io.EOF
	}
	return r.bytes - before, err
}

// counted is where a body that writes itself writes to.
type counted struct {
	to  io.Writer
	r   *Reader
	err error // that of to, or that of the end of ctx
}

func (c *counted) Write(p []byte) (int, error) {
	if c.r.ctx.Err() != nil {
		c.r.err = context.Cause(c.r.ctx)
		c.err = c.r.err
		return 0, c.err
	}
	c.r.bytes += int64(len(p))
	n, err := c.to.Write(p)
	if err != nil {
		c.err = err
	}
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
