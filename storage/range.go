package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrRange is returned for a part that an object does not have.
var ErrRange = errors.New("no such range")

// RangeOpener is a store that can give a part of an object without sending
// what comes before it. Callers use [OpenAt].
type RangeOpener interface {
	// OpenAt is Open for length bytes from offset on. It returns ErrRange when
	// the object does not have all of them; length is at least 1. The bytes of
	// a part are not held against the checksum of the whole object.
	OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
}

// OpenAt opens a part of an object as [RangeOpener] has it, in any store: one
// that knows no ranges is read from the object's beginning.
func OpenAt(ctx context.Context, s Store, name string, offset, length int64) (io.ReadCloser, error) {
	if named, ok := s.(Named); ok {
		s = named.Store
	}
	if ranges, ok := s.(RangeOpener); ok {
		return ranges.OpenAt(ctx, name, offset, length)
	}
	object, err := s.Stat(ctx, name)
	if err == nil {
		err = CheckRange(offset, length, object.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("open a part of %s in %s: %w", name, s, err)
	}
	body, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, body, offset); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return &part{io.LimitReader(body, length), body}, nil
}

// part is the beginning of a body, which it closes.
type part struct {
	io.Reader
	io.Closer
}

// CheckRange returns an error that is [ErrRange] unless an object of so many
// bytes has all of a part.
func CheckRange(offset, length, bytes int64) error {
	if offset < 0 || length < 1 || offset > bytes-length {
		return fmt.Errorf("%w: %d bytes from byte %d, of %d", ErrRange, length, offset, bytes)
	}
	return nil
}
