package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/atomicfile"
)

// seeded is what the staging folder says of a bundle whose data is written: an entry
// of the journal, and the stamps of the files.
type seeded struct {
	loaded
	Files stamps `json:"files"`
}

const entryPrefix = "loaded-"

func entryName(b bundle) string { return fmt.Sprintf("%s%04d.json", entryPrefix, b.onto[0]) }

func isEntry(name string) bool {
	return strings.HasPrefix(name, entryPrefix) && filepath.Ext(name) == ".json"
}

// foldersOf are the folders of a bundle's primaries.
func (r *run) foldersOf(b bundle) []string {
	var names []string
	for _, i := range b.onto {
		names = append(names, r.folderName(i)) // the primaries stand first, by shard
	}
	return names
}

// noteSeeded says in the staging folder that a bundle is written.
func (r *run) noteSeeded(ctx context.Context, b bundle) error {
	files, err := stampsOf(r.held.staging(), r.foldersOf(b))
	if err != nil {
		return err
	}
	maps.DeleteFunc(files, func(path string, _ stamp) bool { return filepath.Base(path) == nodesName }) // written anew each time
	return r.held.put(ctx, entryName(b), seeded{r.entryOf(b), files})
}

// keepsSeeded tells whether a killed restore has written a bundle, whose files stand
// as it left them. What it had of one that is not whole is removed.
func (r *run) keepsSeeded(b bundle) (bool, error) {
	var entry seeded
	path := filepath.Join(r.held.staging(), entryName(b))
	err := readInto(path, &entry)
	if err == nil && slices.Equal(entry.Onto, b.onto) && len(entry.Shards) == len(b.onto) {
		files, err := stampsOf(r.held.staging(), r.foldersOf(b))
		maps.DeleteFunc(files, func(path string, _ stamp) bool { return filepath.Base(path) == nodesName })
		if err == nil && maps.EqualFunc(files, entry.Files, func(a, b stamp) bool { return a.Bytes == b.Bytes && a.Modified.Equal(b.Modified) }) {
			r.credit(b, entry.loaded)
			return true, nil
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("begin a shard anew: %w", err)
	}
	for _, name := range r.foldersOf(b) {
		if err := clearSet(filepath.Join(r.held.staging(), name)); err != nil {
			return false, fmt.Errorf("begin a shard anew: %w", err)
		}
	}
	return false, nil
}

// whole tells whether a killed restore has written all, and was giving it its names.
// What is named already counts as this restore's.
func (r *run) whole() bool {
	if r.held.whole == nil {
		return false
	}
	for _, b := range r.seedBundles() {
		var entry seeded
		// An entry that is gone already costs but the counts.
		if readInto(filepath.Join(r.held.staging(), entryName(b)), &entry) == nil && len(entry.Shards) == len(b.onto) {
			r.credit(b, entry.loaded)
		}
	}
	if r.Node > 0 {
		entries, _ := entriesOf(r.ToDir) // what cannot be read is not removed after a failure
		for _, e := range entries {
			r.made = append(r.made, filepath.Join(r.ToDir, e.Name()))
		}
		return true
	}
	for _, name := range r.folderNames() {
		if path := filepath.Join(r.ToDir, name); isThere(path) {
			r.made = append(r.made, path)
		}
	}
	return true
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// sweep removes what was not written to its end.
func (u *unfinished) sweep(folders []string) error {
	for _, name := range append(folders, ".") {
		entries, err := os.ReadDir(filepath.Join(u.staging(), name))
		for _, e := range entries {
			if atomicfile.IsTemp(e.Name()) {
				err = errors.Join(err, os.Remove(filepath.Join(u.staging(), name, e.Name())))
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a killed restore has left: %w", err)
		}
	}
	return nil
}
