package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	// ownFolder is where all is that is a restore's, in the node's data folder.
	ownFolder  = "slotark-restore"
	recordName = "restore.json"
	nextName   = recordName + ".next"
	newFolder  = "new"
	aside      = "aside"
	old        = "old"
)

// record is what has to be known when the node does not run any more.
type record struct {
	Restore  manifest.ID `json:"restore"`
	Plan     string      `json:"plan"`
	Snapshot manifest.ID `json:"snapshot"`
	Ran      bool        `json:"ran"` // the node, when the restore came
	PID      int         `json:"pid"` // of its process then
	Names    Names       `json:"names"`
	Keys     uint64      `json:"keys"` // that were staged
	Bytes    int64       `json:"bytes"`
	Stores   []string    `json:"stores"`

	Findings []manifest.Finding `json:"findings,omitempty"`
}

func (w *work) own() string    { return filepath.Join(w.Folder, ownFolder) }
func (w *work) staged() string { return filepath.Join(w.own(), newFolder) }

func (w *work) read() error {
	text, err := os.ReadFile(filepath.Join(w.own(), recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &w.record)
	}
	if err != nil {
		return hint.Add(fmt.Errorf("read what a restore has left: %w", err), "Look into "+w.own()+": what the node had before may be there.")
	}
	w.known = true
	return nil
}

func (w *work) write(ctx context.Context) error {
	text, err := json.Marshal(w.record)
	if err != nil {
		return err
	}
	path, temp := filepath.Join(w.own(), recordName), filepath.Join(w.own(), nextName)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the restore's record: %w", err)
	}
	if _, err := atomicfile.Create(ctx, temp, strings.NewReader(string(text)+"\n")); err != nil {
		return fmt.Errorf("write the restore's record: %w", err)
	}
	if err := errors.Join(os.Rename(temp, path), atomicfile.SyncDir(w.own()), atomicfile.SyncDir(w.Folder)); err != nil {
		return fmt.Errorf("write the restore's record: %w", err)
	}
	w.known = true
	return nil
}

// placed tells whether what was restored has its place: nothing is left to be moved, and
// the nodes.conf is the restored node's. So it is, too, where what it had is cleared.
func (w *work) placed() (bool, error) {
	_ = os.Remove(w.staged()) // an empty one is what a kill has left in its last step
	for _, folder := range []string{newFolder, aside} {
		if left, err := exists(filepath.Join(w.own(), folder)); left || err != nil {
			return false, err
		}
	}
	text, err := os.ReadFile(filepath.Join(w.Folder, w.record.Names.Nodes))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	nodes, broken := cluster.ParseNodes(string(text))
	if broken != nil { // it is not ours
		return false, err
	}
	id := restore.SeededID(string(w.Restore), w.Snapshot, w.Place)
	return slices.ContainsFunc(nodes, func(n cluster.NodeLine) bool { return n.Has("myself") && n.ID == id }), err
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// place moves what the node has aside, and what was restored into its place.
func (w *work) place(ctx context.Context) error {
	if err := w.ours(); err != nil {
		return err
	}
	if done, err := w.placed(); done || err != nil {
		return err
	}
	if !w.known {
		return errors.New("nothing was staged for this restore")
	}
	if seeded, err := restore.Seeded(w.staged(), string(w.Restore), w.Snapshot, w.Place); err != nil || !seeded {
		if moved, _ := exists(filepath.Join(w.own(), old)); !moved { // else the nodes.conf alone is left, or has moved
			return errors.Join(errors.New("what was staged is not whole"), err)
		}
	}
	if err := w.silent(ctx); err != nil {
		return err
	}
	if err := w.moveAside(); err != nil {
		return fmt.Errorf("move aside what the node has: %w", err)
	}
	if err := w.moveIn(); err != nil {
		return fmt.Errorf("move what was restored into its place: %w", err)
	}
	return nil
}

// moveAside moves all that the node would load at its start.
func (w *work) moveAside() error {
	whole, at := filepath.Join(w.own(), old), filepath.Join(w.own(), aside)
	if moved, err := exists(whole); moved || err != nil {
		return err
	}
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range w.record.Names.all() {
		if err := w.move("place", filepath.Join(w.Folder, name), filepath.Join(at, name)); err != nil {
			return err
		}
	}
	if err := errors.Join(atomicfile.SyncDir(w.Folder), atomicfile.SyncDir(at)); err != nil {
		return err
	}
	return errors.Join(os.Rename(at, whole), atomicfile.SyncDir(w.own()))
}

// move renames a file that may be gone already.
func (w *work) move(phase, from, to string) error {
	there, err := exists(from)
	if !there || err != nil {
		return err
	}
	if taken, err := exists(to); taken || err != nil {
		return errors.Join(err, fmt.Errorf("%s is in the way", to))
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	w.report.Emit(progress.Event{Task: "node", Phase: phase, Detail: filepath.Base(to)})
	return nil
}

// moveIn moves what was restored, by the names that the node gives its files, the
// nodes.conf last.
func (w *work) moveIn() error {
	entries, err := os.ReadDir(w.staged())
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int { return last(a) - last(b) })
	for _, e := range entries {
		from := filepath.Join(w.staged(), e.Name())
		to := w.record.Names.of(e)
		if e.IsDir() {
			if err := w.renameManifest(from); err != nil {
				return err
			}
		}
		// What is in the way is what was restored and not removed yet, when it was being
		// brought back: what the node had is aside.
		if err := os.RemoveAll(filepath.Join(w.Folder, to)); err != nil {
			return err
		}
		if last(e) == 1 {
			if err := atomicfile.SyncDir(w.Folder); err != nil {
				return err
			}
		}
		if err := w.move("place", from, filepath.Join(w.Folder, to)); err != nil {
			return err
		}
	}
	return errors.Join(atomicfile.SyncDir(w.Folder), os.Remove(w.staged()), atomicfile.SyncDir(w.own()))
}

func last(e os.DirEntry) int {
	if e.Name() == DefaultNames.Nodes {
		return 1
	}
	return 0
}

// of is what the node calls something that was seeded.
func (n Names) of(e os.DirEntry) string {
	switch {
	case e.IsDir():
		return n.AppendFolder
	case e.Name() == DefaultNames.Dump:
		return n.Dump
	case e.Name() == DefaultNames.Nodes:
		return n.Nodes
	}
	return n.AppendFile // of a server before 7.0: the one file
}

// renameManifest gives the manifest of append-only files the name by which the node
// looks for it. The files in it may have any.
func (w *work) renameManifest(folder string) error {
	const suffix = ".manifest"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if want := w.record.Names.AppendFile + suffix; strings.HasSuffix(e.Name(), suffix) && e.Name() != want {
			if err := w.move("place", filepath.Join(folder, e.Name()), filepath.Join(folder, want)); err != nil {
				return err
			}
		}
	}
	return atomicfile.SyncDir(folder)
}

// bringBack puts what the node had into its place again. The node does not run.
func (w *work) bringBack() error {
	whole, at := filepath.Join(w.own(), old), filepath.Join(w.own(), aside)
	restored, err := exists(whole)
	if err != nil {
		return err
	}
	if restored {
		for _, name := range slices.Backward(w.record.Names.all()) {
			if err := os.RemoveAll(filepath.Join(w.Folder, name)); err != nil {
				return err
			}
			w.report.Emit(progress.Event{Task: "node", Phase: "back", Detail: "removed " + name})
		}
		if err := errors.Join(atomicfile.SyncDir(w.Folder), os.Rename(whole, at), atomicfile.SyncDir(w.own())); err != nil {
			return err
		}
	}
	if moved, err := exists(at); !moved || err != nil {
		return err
	}
	for _, name := range w.record.Names.all() {
		if err := w.move("back", filepath.Join(at, name), filepath.Join(w.Folder, name)); err != nil {
			return err
		}
	}
	return errors.Join(atomicfile.SyncDir(w.Folder), os.Remove(at))
}

// remove removes the restore's folder, the record last.
func (w *work) remove() error {
	for _, name := range []string{newFolder, old, aside} {
		if err := os.RemoveAll(filepath.Join(w.own(), name)); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(w.own()), atomicfile.SyncDir(w.Folder))
}

// removeBare removes the restore's folder where a kill has left it without its record:
// before that was written, or after it was removed. What else is in it stays.
func (w *work) removeBare() error {
	err := os.Remove(filepath.Join(w.own(), nextName))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(w.own())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist): // there is none, or it is not empty
		return nil
	case err != nil:
		return fmt.Errorf("remove the restore's folder: %w", err)
	}
	return atomicfile.SyncDir(w.Folder)
}

// clear removes what the node had, and all else that is the restore's.
func (w *work) clear(context.Context) error {
	if !w.known {
		return w.removeBare()
	}
	if err := w.ours(); err != nil {
		return err
	}
	if done, err := w.placed(); !done || err != nil {
		return errors.Join(errors.New("the node does not run with what was restored"), err)
	}
	if err := w.remove(); err != nil {
		return fmt.Errorf("remove what the node had before: %w", err)
	}
	return nil
}
