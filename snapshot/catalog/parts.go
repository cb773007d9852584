package catalog

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
)

// partBytes is how much of a stored object is fetched at once, at least: as much as
// costs a store in another region little more than to answer at all.
const partBytes = 1 << 20

// OpenParts is [Snapshot.OpenUnsummed] for who needs a few places of an object, in the
// first store that has the snapshot: only these are fetched, and no more around them
// than it takes to open them. It returns [seal.ErrWhole] for an object that cannot be
// opened like this. What it returns is for one goroutine, and ends with ctx.
func (s *Snapshot) OpenParts(ctx context.Context, file manifest.File) (io.ReaderAt, error) {
	if err := s.Unlocked(); err != nil {
		return nil, err
	}
	stores := s.Stores()
	if len(stores) == 0 {
		return nil, errors.New("no store has it")
	}
	stored := &storedParts{ctx: ctx, store: stores[0], object: s.Object(file.Object), bytes: file.Bytes}
	parts, err := seal.OpenParts(stored, file.Bytes, s.Manifest.Seal.Lock(), s.keys)
	if err != nil {
		return nil, damaged(file.Object, err)
	}
	return parts, nil
}

// storedParts is a stored object, of which it holds the part that was fetched last.
type storedParts struct {
	ctx    context.Context
	store  storage.Store
	object string
	bytes  int64

	at   int64
	part []byte
}

// ReadAt implements io.ReaderAt.
func (r *storedParts) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		if at >= r.bytes {
			return n, io.EOF
		}
		if at < r.at || at >= r.at+int64(len(r.part)) {
			if err := r.fetch(at, int64(len(p)-n)); err != nil {
				return n, err
			}
		}
		copied := copy(p[n:], r.part[at-r.at:])
		n, at = n+copied, at+int64(copied)
	}
	return n, nil
}

// fetch fetches so many bytes. At the object's end it takes those before as well: an
// index stands there.
func (r *storedParts) fetch(at, bytes int64) error {
	bytes = min(max(bytes, partBytes), r.bytes)
	at = min(at, r.bytes-bytes)
	r.part = r.part[:0]
	body, err := storage.OpenAt(r.ctx, r.store, r.object, at, bytes)
	if err != nil {
		return err
	}
	part := slices.Grow(r.part, int(bytes))[:bytes]
	_, err = io.ReadFull(body, part)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	r.at, r.part = at, part
	return nil
}
