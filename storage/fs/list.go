package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/storage"
)

// List implements [storage.Store]. It holds the names of one folder a level
// in memory, never those of the whole store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		walk := walker{ctx: ctx, prefix: prefix, yield: yield}
		err := walk.root(s.root)
		if err != nil && !errors.Is(err, errStop) {
			if ctx.Err() == nil {
				err = s.explain(err)
			}
			yield(storage.Object{}, fmt.Errorf("list %q in %s: %w", prefix, s, err))
		}
	}
}

// Folders returns the names of the folders directly below the one that prefix
// names ("" or ending in "/"), and nothing where there is none. It reads one
// folder, where List would walk all that is below.
func (s *Store) Folders(ctx context.Context, prefix string) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	dir := strings.TrimSuffix(prefix, "/")
	if dir != "" {
		if err := storage.CheckName(dir); err != nil {
			return nil, fmt.Errorf("list folders of %q in %s: %w", prefix, s, err)
		}
	}
	if _, err := os.Stat(s.root); err != nil { // no folder is one thing, no store another
		return nil, fmt.Errorf("list folders of %q in %s: %w", prefix, s, s.explain(err))
	}
	path := filepath.Join(s.root, filepath.FromSlash(dir))
	entries, err := os.ReadDir(path)
	if err := ignoreMissing(err); err != nil {
		return nil, fmt.Errorf("list folders of %q in %s: %w", prefix, s, s.explain(err))
	}
	var names []string
	for _, entry := range entries {
		if storage.CheckName(entry.Name()) == nil && isFolder(path, entry) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// errStop ends a walk whose consumer has had enough.
var errStop = errors.New("stop")

type walker struct {
	ctx    context.Context
	prefix string
	yield  func(storage.Object, error) bool
}

// root starts at the deepest folder that can hold the prefix, so that listing
// one snapshot does not read the folders of ten thousand others.
func (w *walker) root(root string) error {
	if info, err := os.Stat(root); err != nil {
		return err
	} else if !info.IsDir() {
		return syscall.ENOTDIR
	}
	dir := ""
	if cut := strings.LastIndexByte(w.prefix, '/'); cut >= 0 {
		dir = w.prefix[:cut]
		if storage.CheckName(dir) != nil {
			return nil // no object has such a name, and it may lead out of the root
		}
		info, err := os.Stat(filepath.Join(root, filepath.FromSlash(dir)))
		if err != nil || !info.IsDir() {
			return ignoreMissing(err)
		}
		dir += "/"
	}
	return w.folder(filepath.Join(root, filepath.FromSlash(dir)), dir)
}

// folder walks one folder whose objects' names start with base.
func (w *walker) folder(path, base string) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return ignoreMissing(err) // it was deleted while we walked
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		name := entry.Name()
		if atomicfile.IsTemp(name) || storage.CheckName(name) != nil {
			continue
		}
		if isFolder(path, entry) {
			// With its slash a folder sorts where its objects' full names
			// do: "a-b" before "a/x", "a/x" before "a0".
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		full := base + name
		if !strings.HasPrefix(full, w.prefix) {
			// The folder that is the prefix's parent was chosen by root, so
			// here a folder either matches or holds nothing that does.
			continue
		}
		if err := w.entry(filepath.Join(path, name), full); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(path, full string) error {
	if strings.HasSuffix(full, "/") {
		return w.folder(path, full)
	}
	info, err := os.Stat(path)
	if err != nil {
		return ignoreMissing(err)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if !w.yield(storage.Object{Name: full, Bytes: info.Size(), Modified: info.ModTime().UTC()}, nil) {
		return errStop
	}
	return nil
}

// isFolder follows symbolic links, as Open does: an administrator may have
// moved one cluster's folder to another disk.
func isFolder(dir string, entry iofs.DirEntry) bool {
	if entry.Type()&iofs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, entry.Name()))
	return err == nil && info.IsDir()
}

func ignoreMissing(err error) error {
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}
