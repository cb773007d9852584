package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	// setFolder is what appenddirname is unless it was set.
	setFolder = "appendonlydir"
	// setPrefix is what appendfilename is unless it was set.
	setPrefix = "appendonly.aof"
)

// checkSets refuses to restore from append-only files that are not there.
func (r *run) checkSets() error {
	if !r.AOF || r.manifest.HasAOF() {
		return nil
	}
	return hint.Refuse(fmt.Errorf("snapshot %s holds no append-only files", r.manifest.ID),
		"Restore from its dumps: leave --from-aof out. Snapshots that are taken with --aof hold both.")
}

// seedSet writes one shard's append-only files into its primary's folder, the
// manifest last, and reads all of them as a server would.
func (r *run) seedSet(ctx context.Context, dir string, shard, target int, copied *catalog.Snapshot) error {
	m := r.manifest.Shards[shard]
	folder, name := dir, m.AOF.Files[0].Name
	files := []manifest.AOFFile(m.AOF.Files)
	if m.AOF.ManifestName != "" {
		folder, name = filepath.Join(dir, setFolder), m.AOF.ManifestName
		files = append(files[:len(files):len(files)], manifest.AOFFile{File: m.AOF.Manifest, Name: name})
		if err := os.Mkdir(folder, 0o700); err != nil {
			return fmt.Errorf("make the folder of append-only files: %w", err)
		}
	}
	task := progress.Event{Task: "shard " + m.Slots.String(), Phase: "seed", Total: m.AOF.Content(), Detail: filepath.Base(dir)}
	for _, f := range files {
		if err := writeObject(ctx, filepath.Join(folder, f.Name), copied, f.File); err != nil {
			return err
		}
		task.Done += f.File.Content().Bytes
		r.Progress.Emit(task)
	}
	report, err := aof.Inspect(ctx, os.DirFS(folder), name, aof.InspectOptions{})
	if err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return sourceError{err}
	}
	outcome := &r.outcome.Shards[target]
	if outcome.Keys, outcome.Bytes = 0, r.sizeOf(shard); m.AOF.Aligned {
		outcome.Keys = m.Dump.Keys
	}
	task.Done, task.Keys, task.Ended = task.Total, outcome.Keys, true
	r.Progress.Emit(task)
	return nil
}

// writeObject writes what an object holds to a new file.
func writeObject(ctx context.Context, path string, copied *catalog.Snapshot, file manifest.File) (err error) {
	body, err := copied.Open(ctx, file)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	source := &watched{Reader: body}
	if _, err := atomicfile.Create(ctx, path, source); err != nil {
		if source.failure != nil {
			return sourceError{source.failure}
		}
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// clearSet removes what a copy that was damaged has left beside the nodes.conf.
func clearSet(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != nodesName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// setArgs are the arguments by which a server loads a set, and refuses one whose
// end is missing.
func setArgs(m *manifest.AOF) []string {
	args := []string{"--appendonly", "yes", "--aof-load-truncated", "no"}
	prefix := strings.TrimSuffix(m.ManifestName, ".manifest")
	if m.ManifestName == "" {
		prefix = m.Files[0].Name
	}
	if prefix != setPrefix {
		args = append(args, "--appendfilename", prefix)
	}
	return args
}

// setNotes are what a person has to know who starts nodes with a set.
func (r *run) setNotes() []string {
	notes := []string{
		"start every node as it is said here: with appendonly no a server does not read its append-only files",
		startPrimaries,
		"append-only files hold no configuration: give the nodes their passwords, ACL users and modules before they start",
	}
	if release, _ := parseRelease(r.manifest.Server.Version); r.reshaped() && !release.atLeast(7, 0) {
		notes = append(notes, "the new append-only files are of the form that servers of 7.0 and later read: start no older ones with them")
	}
	return append(notes, r.notComparable()...)
}

// notComparable says of which shards the append-only files do not end where the
// dump begins, so that nothing in the snapshot tells what they should give.
func (r *run) notComparable() []string {
	var shards []string
	for _, s := range r.manifest.Shards {
		if r.AOF && s.AOF != nil && !s.AOF.Aligned {
			shards = append(shards, s.Slots.String())
		}
	}
	if len(shards) == 0 {
		return nil
	}
	return []string{"where the append-only files of shard " + human.List(shards) + " end beside the dump was not known when the snapshot was taken: what they give cannot be compared with it"}
}

// watched keeps the error by which a reader ended.
type watched struct {
	io.Reader
	failure error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failure = err
	}
	return n, err
}
