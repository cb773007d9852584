package restore_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
)

// seedOptions seed one shard after the other, so that events come in order.
func seedOptions(s *catalog.Snapshot, dir string, told progress.Func) restore.Options {
	return restore.Options{Snapshot: s, ToDir: dir, Parallel: 1, Progress: told, Access: access(), Replicas: restore.AllReplicas,
		At: []string{"10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3:7001", "10.0.0.4:7001"}}
}

// killedAt runs a restore into a folder that kills itself at an event. It
// returns false where there are not so many events.
func killedAt(t *testing.T, s *source, dir string, event int, way ...string) bool {
	t.Helper()
	cmd := seedProcess(t, s, dir, event, way...)
	output, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if !wasKilled(cmd) {
		t.Fatalf("event %d: %v: %s", event, err, output)
	}
	return true
}

// seedProcess is a restore as a process of its own, which kills itself at an
// event; 0: at none.
func seedProcess(t *testing.T, s *source, dir string, event int, way ...string) *exec.Cmd {
	return dyingRestore(t, s, "seed", event, dir, strings.Join(way, ""))
}

// tree is what is below a folder: of dumps their SHA-256, of the rest, which
// has ids of its own, that it is there.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all[name] = entry.Type().String()
		if err == nil && entry.Name() == "dump.rdb" {
			text, err := os.ReadFile(path)
			all[name] = fmt.Sprintf("%x", sha256.Sum256(text))
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestUnfinishedSeed(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 600, Seed: 7}, nil)
	whole := filepath.Join(t.TempDir(), "whole")
	var events []progress.Event
	if _, err := restore.Run(t.Context(), seedOptions(s.snapshot, whole, func(e progress.Event) { events = append(events, e) })); err != nil {
		t.Fatal(err)
	}
	want := tree(t, whole)
	naming := slices.IndexFunc(events, func(e progress.Event) bool { return e.Phase == "name" && e.Detail != "" }) + 1
	seeding := slices.IndexFunc(events, func(e progress.Event) bool { return e.Phase == "seed" && e.Ended }) + 1
	if len(want) != 1+4*2+3 || naming == 0 || seeding == 0 {
		t.Fatalf("a restore makes %v, with the events %v", want, events)
	}
	t.Run("killed at every step", func(t *testing.T) { seedKilledAtEvery(t, s, len(events), want) })
	t.Run("alive", func(t *testing.T) { seedAlive(t, s, want) })
	t.Run("not only ours", func(t *testing.T) { seedNotOnlyOurs(t, s, seeding, naming) })
	t.Run("what is whole is kept", func(t *testing.T) { seedKeeps(t, s, want) })
	t.Run("nothing but its staging folder", func(t *testing.T) { seedStagingOnly(t, s, want) })
}

// seedKeeps kills a restore when two shards are written, and has one of them changed:
// that is written once more, and the other is not. Another layout begins anew.
func seedKeeps(t *testing.T, s *source, want map[string]string) {
	root := t.TempDir()
	killed := func(name string) string {
		dir := filepath.Join(root, name)
		// The seed's own, and an event of each shard that is written.
		for event := 3; ; event++ {
			if !killedAt(t, s, dir, event) {
				t.Fatal("two shards were never written")
			}
			if entries, _ := filepath.Glob(filepath.Join(dir, ".slotark-incomplete", "loaded-*.json")); len(entries) == 2 {
				return dir
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := killed("same")
	// Each record of what is written names its files. The third dump may be there in part.
	records, err := filepath.Glob(filepath.Join(dir, ".slotark-incomplete", "loaded-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	dumps, err := filepath.Glob(filepath.Join(dir, ".slotark-incomplete", "*", "dump.rdb"))
	changed := slices.IndexFunc(dumps, func(dump string) bool { return strings.Contains(string(text), filepath.Base(filepath.Dir(dump))) })
	if err != nil || changed < 0 {
		t.Fatalf("the dumps are %v, %v; written is %s", dumps, err, text)
	}
	if err := os.Chtimes(dumps[changed], time.Time{}, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	var written []string
	options := seedOptions(s.snapshot, dir, func(e progress.Event) {
		if e.Phase == "seed" && e.Ended {
			written = append(written, e.Detail)
		}
	})
	result, err := restore.Run(t.Context(), options)
	if err != nil || len(written) != 2 || !slices.Contains(written, filepath.Base(filepath.Dir(dumps[changed]))) {
		t.Errorf("written were %v, %v", written, err)
	}
	if got := tree(t, dir); !maps.Equal(got, want) || result.Keys != s.snapshot.Manifest.Keys() {
		t.Errorf("%d keys, and it made %v, want %v", result.Keys, got, want)
	}
	dir = killed("other")
	options = seedOptions(s.snapshot, dir, nil)
	options.Layout = restore.Balanced(4)
	result, err = restore.Run(t.Context(), options)
	if err != nil || result.Keys != s.snapshot.Manifest.Keys() || !strings.Contains(result.Notes[0], "began anew over what was left of a killed restore") {
		t.Errorf("onto other shards it came to %v, %+v", err, result)
	}
}

// seedStagingOnly has what is left of a restore that is killed in its first
// step, in the middle of writing its record, and in its last steps.
func seedStagingOnly(t *testing.T, s *source, want map[string]string) {
	dir := t.TempDir()
	staging := filepath.Join(dir, ".slotark-incomplete")
	write := func(name, text string) {
		if err := errors.Join(os.MkdirAll(staging, 0o700), os.WriteFile(filepath.Join(staging, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	run := func() error {
		_, err := restore.Run(t.Context(), seedOptions(s.snapshot, dir, nil))
		return err
	}
	write("restore.json", `{"snapshot":"2026`)
	if err := run(); err != nil || !maps.Equal(tree(t, dir), want) {
		t.Errorf("after a record that was cut short it came to %v", err)
	}
	for _, last := range []func(){func() { write("whole.json", "{}") }, func() { write("x", ""); remove(t, filepath.Join(staging, "x")) }} {
		last()
		if err := run(); !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "it holds 01-shard-0-primary and 3 more") || !maps.Equal(tree(t, dir), want) {
			t.Errorf("after one that had come to its end it came to %v and left %v", err, tree(t, dir))
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(staging, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil || !maps.Equal(tree(t, dir), want) {
		t.Errorf("after a staging folder that is empty it came to %v", err)
	}
}

// seedKilledAtEvery kills a restore at each event, in a folder of its own, and
// another at each in one folder, over what the one before has left.
func seedKilledAtEvery(t *testing.T, s *source, events int, want map[string]string) {
	again := func(at int, dir string) {
		result, err := restore.Run(t.Context(), seedOptions(s.snapshot, dir, nil))
		switch {
		case at == events: // it had come to its end
			if !errors.Is(err, hint.ErrRefused) {
				t.Errorf("killed at its end, the next restore came to %v", err)
			}
		case err != nil:
			t.Errorf("killed at event %d, the next restore came to %v", at, err)
		case at > 3 && !slices.ContainsFunc(result.Notes, func(note string) bool { return strings.Contains(note, "went on with a killed restore") }):
			t.Errorf("killed at event %d, the next restore says nothing of it: %v", at, result.Notes)
		}
		if got := tree(t, dir); !maps.Equal(got, want) {
			t.Errorf("killed at event %d, the next restore made %v, want %v", at, got, want)
		}
	}
	root := t.TempDir()
	often := filepath.Join(root, "often")
	if err := os.Mkdir(often, 0o700); err != nil {
		t.Fatal(err)
	}
	ended := false // each goes on with the one before, and has fewer events
	for at := 1; at <= events; at++ {
		dir := filepath.Join(root, fmt.Sprint(at))
		if !killedAt(t, s, dir, at) {
			t.Fatalf("event %d of %d did not come", at, events)
		}
		again(at, dir)
		if !ended {
			ended = at > 1 && maps.Equal(tree(t, often), want) || !killedAt(t, s, often, at) // the one before may have been killed at its very end
		}
	}
	if got := tree(t, often); !ended || !maps.Equal(got, want) {
		t.Errorf("killed again and again it made %v, want %v", got, want)
	}
}

// seedAlive holds a restore in the middle: no other one takes its folder, and
// it comes to its end.
func seedAlive(t *testing.T, s *source, want map[string]string) {
	dir := filepath.Join(t.TempDir(), "new")
	tried := false
	_, err := restore.Run(t.Context(), seedOptions(s.snapshot, dir, func(e progress.Event) {
		if e.Phase != "seed" || !e.Ended || tried {
			return
		}
		tried = true
		_, err := restore.Run(t.Context(), seedOptions(s.snapshot, dir, nil))
		if !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), fmt.Sprintf("is under way: restore of %s, begun ", s.snapshot.Manifest.ID)) {
			t.Errorf("a second restore came to %v", err)
		}
		if output, err := seedProcess(t, s, dir, 0).CombinedOutput(); err == nil || !strings.Contains(string(output), "is under way") {
			t.Errorf("another process came to %v: %s", err, output)
		}
	}))
	if err != nil || !tried || !maps.Equal(tree(t, dir), want) {
		t.Errorf("the first restore came to %v", err)
	}
}

// seedNotOnlyOurs puts something beside what a killed restore has left: nothing
// is touched.
func seedNotOnlyOurs(t *testing.T, s *source, seeding, naming int) {
	write := func(path, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	const staging = ".slotark-incomplete/"
	record := staging + "restore.json"
	for name, c := range map[string]struct {
		event int
		do    func(*testing.T, string)
		says  string
	}{
		"a file beside it":            {seeding, write("notes.txt", "mine"), "it holds notes.txt and 1 more"},
		"a folder of a node's name":   {seeding, write("01-shard-0-primary/dump.rdb", "mine"), "it holds 01-shard-0-primary and 1 more"},
		"a file in it":                {seeding, write(staging+"notes.txt", "mine"), "notes.txt was not left by"},
		"a file in a node's folder":   {seeding, write(staging+"01-shard-0-primary/notes.txt", "mine"), "notes.txt was not left by"},
		"a server was started":        {naming, write("01-shard-0-primary/nodes.conf", "mine"), "nodes.conf was not left by"},
		"a server that appends":       {naming, write("01-shard-0-primary/appendonly.aof", "mine"), "appendonly.aof was not left by"},
		"another machine's":           {seeding, write(record, `{"snapshot":"20260131T020000Z-x7k2p9","host":"elsewhere","locked":true}`), "nobody can tell whether it is alive"},
		"a file system without locks": {seeding, write(record, `{"snapshot":"20260131T020000Z-x7k2p9","host":"`+hostname(t)+`"}`), "nobody can tell whether it is alive"},
		"the same size, a moment later": {naming, func(t *testing.T, dir string) {
			path := filepath.Join(dir, "01-shard-0-primary", "nodes.conf")
			info, err := os.Stat(path)
			if err == nil {
				err = os.Chtimes(path, time.Time{}, info.ModTime().Add(time.Millisecond))
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "nodes.conf was not left by"},
		"a record cut short":             {seeding, write(record, `{"snapshot":"2026`), "01-shard-0-primary was not left by"},
		"no record, and a node's folder": {seeding, func(t *testing.T, dir string) { remove(t, filepath.Join(dir, record)) }, "it holds .slotark-incomplete"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			if !killedAt(t, s, dir, c.event) {
				t.Fatal("it was not killed")
			}
			c.do(t, dir)
			before := tree(t, dir)
			_, err := restore.Run(t.Context(), seedOptions(s.snapshot, dir, nil))
			if !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if after := tree(t, dir); !maps.Equal(before, after) {
				t.Errorf("it holds %v, before it held %v", after, before)
			}
		})
	}
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
