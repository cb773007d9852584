package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/internal/source"
)

// Between the making of a folder and the first file in it, a Delete can take
// the empty folder away again. So often the race is not lost in a row.
const mkdirAttempts = 16

// Store is a folder. Its zero value is not usable; see [Open].
type Store struct{ root string }

// Open returns the store below root, an absolute path. It touches nothing.
func Open(root string) *Store { return &Store{filepath.Clean(root)} }

// String implements [storage.Store].
func (s *Store) String() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(s.root)}).String()
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	object, err := s.put(ctx, name, body)
	if err != nil {
		return storage.Object{}, fmt.Errorf("put %s to %s: %w", name, s, err)
	}
	return object, nil
}

func (s *Store) put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	path, err := s.path(name)
	if err != nil {
		return storage.Object{}, err
	}
	if ctx.Err() != nil {
		return storage.Object{}, context.Cause(ctx)
	}
	src := source.New(ctx, body)
	var info iofs.FileInfo
	for range mkdirAttempts {
		if err = atomicfile.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			info, err = atomicfile.Create(ctx, path, src)
		}
		// Only a folder that vanished before the first byte was read may be
		// tried again: the body cannot be read twice.
		if src.Bytes() > 0 || src.Err() != nil || !errors.Is(err, iofs.ErrNotExist) {
			break
		}
	}
	if cause := src.Err(); cause != nil {
		s.prune(filepath.Dir(path))
		// The body's own words: its "no space left" is not the store's.
		return storage.Object{}, fmt.Errorf("read body: %w", cause)
	}
	if err != nil {
		s.prune(filepath.Dir(path))
		return storage.Object{}, s.explain(err)
	}
	if info.Size() != src.Bytes() {
		return storage.Object{}, errors.Join(
			fmt.Errorf("the file holds %d bytes of %d", info.Size(), src.Bytes()), os.Remove(path))
	}
	return storage.Object{Name: name, Bytes: info.Size(), Modified: info.ModTime().UTC()}, nil
}

// Open implements [storage.Store].
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f, info, err := s.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", name, s, err)
	}
	return &reader{ctx: ctx, file: f, Closer: f, what: name + " from " + s.String(), left: info.Size()}, nil
}

// OpenAt implements [storage.RangeOpener].
func (s *Store) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	f, info, err := s.open(ctx, name)
	if err == nil {
		if err = storage.CheckRange(offset, length, info.Size()); err == nil {
			_, err = f.Seek(offset, io.SeekStart)
		}
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open a part of %s in %s: %w", name, s, err)
	}
	return &reader{ctx: ctx, file: io.LimitReader(f, length), Closer: f, what: name + " from " + s.String(), left: length}, nil
}

func (s *Store) open(ctx context.Context, name string) (*os.File, iofs.FileInfo, error) {
	path, info, err := s.stat(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, s.explain(err)
	}
	return f, info, nil
}

// Stat implements [storage.Store].
func (s *Store) Stat(ctx context.Context, name string) (storage.Object, error) {
	_, info, err := s.stat(ctx, name)
	if err != nil {
		return storage.Object{}, fmt.Errorf("stat %s in %s: %w", name, s, err)
	}
	return storage.Object{Name: name, Bytes: info.Size(), Modified: info.ModTime().UTC()}, nil
}

// stat finds the object's file. A folder is no object.
func (s *Store) stat(ctx context.Context, name string) (path string, info iofs.FileInfo, err error) {
	if path, err = s.path(name); err != nil {
		return "", nil, err
	}
	if ctx.Err() != nil {
		return "", nil, context.Cause(ctx)
	}
	if info, err = os.Stat(path); err != nil {
		return "", nil, s.explain(err)
	}
	if !info.Mode().IsRegular() {
		return "", nil, storage.ErrNotFound
	}
	return path, info, nil
}

// Delete implements [storage.Store].
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.delete(ctx, name); err != nil {
		return fmt.Errorf("delete %s in %s: %w", name, s, err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, name string) error {
	path, _, err := s.stat(ctx, name)
	if err != nil {
		return err
	}
	// Not os.Remove, which would remove an empty folder of that name too.
	if err := syscall.Unlink(path); err != nil {
		return s.explain(err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return s.explain(err)
	}
	s.prune(filepath.Dir(path))
	return nil
}

// prune removes folders that have become empty, up to but not with the root.
// It stops at the first that will not go; an empty folder does no harm.
func (s *Store) prune(dir string) {
	for dir != s.root && strings.HasPrefix(dir, s.root) {
		// Not os.Remove: a link to a folder on another disk has to stay.
		if syscall.Rmdir(dir) != nil {
			return
		}
		dir = filepath.Dir(dir)
	}
}

// path is the file of an object.
func (s *Store) path(name string) (string, error) {
	if err := storage.CheckName(name); err != nil {
		return "", err
	}
	for element := range strings.SplitSeq(name, "/") {
		if atomicfile.IsTemp(element) {
			return "", fmt.Errorf("%w %q: kept for temporary files", storage.ErrName, name)
		}
	}
	return filepath.Join(s.root, filepath.FromSlash(name)), nil
}
