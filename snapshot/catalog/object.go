package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// ErrDamaged is returned for an object whose bytes are not those that the
// manifest records.
var ErrDamaged = errors.New("the stored object is damaged")

// Open opens one of the snapshot's objects, in the first store that can give
// it, and returns what it holds, unsealed. The reader gives io.EOF only after
// as many stored bytes as the manifest records, with the SHA-256 it records,
// and the same of what they hold; otherwise [ErrDamaged]. Of an encrypted
// snapshot that was not unlocked it returns [seal.ErrNoIdentity]. The caller
// closes the reader.
func (s *Snapshot) Open(ctx context.Context, file manifest.File) (io.ReadCloser, error) {
	if err := s.Unlocked(); err != nil {
		return nil, err
	}
	return s.metered(func(stored opener) (io.ReadCloser, error) { return s.open(ctx, stored, file) })
}

func (s *Snapshot) open(ctx context.Context, openStored opener, file manifest.File) (io.ReadCloser, error) {
	body, err := openStored(ctx, file.Object)
	if err != nil {
		return nil, err
	}
	stored := newStoredCheck(body, file)
	if !s.Manifest.Seal.Lock().Sealed() {
		return stored, nil
	}
	plain, err := s.Unseal(stored)
	if err != nil {
		return nil, errors.Join(damaged(file.Object, err), stored.Close())
	}
	return &unsealed{newChecked(plain, file.Object, "what it holds: ", file.Plain), stored}, nil
}

// OpenUnsummed is Open for who proves in another way what it reads of an object, and may
// not read it to its end: neither SHA-256 is held against the manifest's. What is
// encrypted is authenticated all the same, piece by piece.
func (s *Snapshot) OpenUnsummed(ctx context.Context, file manifest.File) (io.ReadCloser, error) {
	if err := s.Unlocked(); err != nil {
		return nil, err
	}
	return s.metered(func(stored opener) (io.ReadCloser, error) { return s.openUnsummed(ctx, stored, file) })
}

func (s *Snapshot) openUnsummed(ctx context.Context, openStored opener, file manifest.File) (io.ReadCloser, error) {
	body, err := openStored(ctx, file.Object)
	if err != nil {
		return nil, err
	}
	if !s.Manifest.Seal.Lock().Sealed() {
		return body, nil
	}
	plain, err := s.Unseal(body)
	if err != nil {
		return nil, errors.Join(damaged(file.Object, err), body.Close())
	}
	return &unsummed{plain, body}, nil
}

// unsummed is an object's content over its stored bytes.
type unsummed struct {
	io.ReadCloser
	stored io.Closer
}

func (u *unsummed) Close() error { return errors.Join(u.ReadCloser.Close(), u.stored.Close()) }

// unsealed is an object's content over its stored bytes.
type unsealed struct {
	*checked
	stored *checked
}

func (u *unsealed) Close() error { return errors.Join(u.checked.Close(), u.stored.Close()) }

// checked holds what passes against what the manifest says of it.
type checked struct {
	body   io.ReadCloser
	object string
	of     string // what of the object it is; "" for the stored bytes
	want   manifest.Plain
	sum    *seal.Summer
}

func newChecked(body io.ReadCloser, object, of string, want manifest.Plain) *checked {
	return &checked{body, object, of, want, seal.NewSummer()}
}

// newStoredCheck holds an object's stored bytes against the manifest.
func newStoredCheck(body io.ReadCloser, file manifest.File) *checked {
	return newChecked(body, file.Object, "", manifest.Plain{Bytes: file.Bytes, SHA256: file.SHA256})
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.sum.Write(p[:n])
	switch read := c.sum.Bytes(); {
	case read > c.want.Bytes:
		// Said at once: whoever stored it may not let it end at all.
		return 0, c.damaged("it has more than its %d bytes", c.want.Bytes)
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, damaged(c.object, err)
	case read < c.want.Bytes:
		return n, c.damaged("it ends after %d of %d bytes", read, c.want.Bytes)
	}
	if have := c.sum.Sum().SHA256; have != c.want.SHA256 {
		return n, c.damaged("its SHA-256 is %s, the manifest says %s", have, c.want.SHA256)
	}
	return n, io.EOF
}

func (c *checked) damaged(format string, args ...any) error {
	return fmt.Errorf("read %s: %w: %s%s", c.object, ErrDamaged, c.of, fmt.Sprintf(format, args...))
}

// damaged says which object could not be read, and, where it is its own fault,
// that it is damaged.
func damaged(object string, err error) error {
	switch {
	case errors.Is(err, ErrDamaged): // of the stored bytes, which come first
		return err
	case errors.Is(err, seal.ErrDamaged):
		return fmt.Errorf("read %s: %w: %w", object, ErrDamaged, err)
	}
	return fmt.Errorf("read %s: %w", object, err)
}

func (c *checked) Close() error {
	c.sum.Sum()
	return c.body.Close()
}
