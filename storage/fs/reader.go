package fs

import (
	"context"
	"fmt"
	"io"
)

// reader gives an object's bytes, or a part of them: exactly as many as the
// file had when it was opened, or an error.
type reader struct {
	io.Closer
	ctx  context.Context
	file io.Reader
	what string
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, fmt.Errorf("read %s: %w", r.what, context.Cause(r.ctx))
	}
	n, err := r.file.Read(p)
	r.left -= int64(n)
	switch {
	case err == io.EOF && r.left > 0:
		return n, fmt.Errorf("read %s: %d bytes are missing: %w", r.what, r.left, io.ErrUnexpectedEOF)
	case r.left < 0:
		return n, fmt.Errorf("read %s: the file grew while it was read", r.what)
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("read %s: %w", r.what, reason(err))
	}
	return n, err
}
