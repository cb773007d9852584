package storage

import (
	"context"
	"io"
)

type progressKey struct{}

// WithProgress returns a context by which a Put tells that bytes are moving,
// also where it has read them from the body long before: an S3 store reads a
// part of the object and then sends it, for minutes on a slow line. moved is
// called from several goroutines and must not block.
func WithProgress(ctx context.Context, moved func()) context.Context {
	return context.WithValue(ctx, progressKey{}, moved)
}

// Moving returns a reader over data on its way into a store that tells who asked
// for it by [WithProgress] of each piece that was taken.
func Moving(ctx context.Context, data io.ReadSeeker) io.ReadSeeker {
	moved, ok := ctx.Value(progressKey{}).(func())
	if !ok {
		return data
	}
	return &movingReader{data, moved}
}

type movingReader struct {
	io.ReadSeeker
	moved func()
}

func (r *movingReader) Read(p []byte) (int, error) {
	n, err := r.ReadSeeker.Read(p)
	if n > 0 {
		r.moved()
	}
	return n, err
}
