package restore_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
)

// seedWays are the ways of seeding that are killed, by name.
var seedWays = map[string]func(restore.Options) restore.Options{
	"": func(o restore.Options) restore.Options { return o },
	"bases": func(o restore.Options) restore.Options {
		o.AppendOnly = true
		return o
	},
	"one node": func(o restore.Options) restore.Options {
		o.Node, o.Name = 2, "d3adbeef"
		return o
	},
	"one node, bases": func(o restore.Options) restore.Options {
		o.Node, o.Name, o.AppendOnly = 2, "d3adbeef", true
		return o
	},
}

// TestKilledNode kills seeds that make more than a dump and a nodes.conf in a folder
// of a name, at every event. The next comes to the same end, also on a host of
// another name: the pod was moved.
func TestKilledNode(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 8}, nil)
	id := s.snapshot.Manifest.ID
	for way, with := range seedWays {
		if way == "" {
			continue
		}
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			whole := filepath.Join(t.TempDir(), "whole")
			events := 0
			if _, err := restore.Run(t.Context(), with(seedOptions(s.snapshot, whole, func(progress.Event) { events++ }))); err != nil {
				t.Fatal(err)
			}
			want := tree(t, whole)
			for at := 1; at <= events; at++ {
				dir := filepath.Join(t.TempDir(), strconv.Itoa(at))
				if !killedAt(t, s, dir, at, way) {
					t.Fatalf("event %d of %d did not come", at, events)
				}
				o := with(seedOptions(s.snapshot, dir, nil))
				if o.Node > 0 {
					moveHost(t, dir)
					done, err := restore.Seeded(dir, o.Name, id, o.Node)
					if err != nil || done != (at >= events-1) { // its last two: the nodes.conf has its name, and the end
						t.Fatalf("killed at event %d of %d it is seeded: %t, %v", at, events, done, err)
					}
					if done {
						if got := tree(t, dir); !maps.Equal(got, want) {
							t.Errorf("killed at event %d, it is seeded and holds %v, want %v", at, got, want)
						}
						continue
					}
				}
				if _, err := restore.Run(t.Context(), o); err != nil && !(at == events && errors.Is(err, hint.ErrRefused)) {
					t.Errorf("killed at event %d, the next restore came to %v", at, err)
				}
				if got := tree(t, dir); !maps.Equal(got, want) {
					t.Errorf("killed at event %d, the next restore made %v, want %v", at, got, want)
				}
			}
		})
	}
	t.Run("not only ours", func(t *testing.T) { oneNodeNotOnlyOurs(t, s) })
}

// TestKilledThenAnother kills a seed whose first shard is written, and seeds a later
// snapshot onto the same addresses: nothing of the first is taken for the second's.
func TestKilledThenAnother(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 9}, nil)
	first := *s
	ended, count := 0, 0
	if _, err := restore.Run(t.Context(), seedOptions(s.snapshot, filepath.Join(t.TempDir(), "new"), func(e progress.Event) {
		if count++; ended == 0 && e.Phase == "seed" && e.Ended {
			ended = count
		}
	})); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if !killedAt(t, &first, dir, ended+2) {
		t.Fatal("it was not killed")
	}
	for i := range 3 {
		do(t, s.Primaries()[i].Addr(), "FLUSHALL")
	}
	s.roots = []string{t.TempDir(), t.TempDir()}
	s.store(t)
	result, err := restore.Run(t.Context(), seedOptions(s.snapshot, dir, nil))
	if err != nil {
		t.Fatal(err)
	}
	if result.Keys != 0 || !strings.Contains(strings.Join(result.Notes, " "), "began anew over") {
		t.Errorf("%d keys of an empty cluster, notes %q", result.Keys, result.Notes)
	}
}

// moveHost makes of what a killed restore has left another host's.
func moveHost(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, ".slotark-incomplete", "restore.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return // it was killed before, or after
	}
	var record map[string]any
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	record["host"] = "redis-1.elsewhere"
	if text, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// oneNodeNotOnlyOurs puts something beside what a killed restore of one node has
// left: nothing is touched.
func oneNodeNotOnlyOurs(t *testing.T, s *source) {
	with := seedWays["one node"]
	var events []progress.Event
	if _, err := restore.Run(t.Context(), with(seedOptions(s.snapshot, t.TempDir(), func(e progress.Event) { events = append(events, e) }))); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for i, e := range events {
		if e.Phase == "name" && e.Detail == "dump.rdb" {
			moved = i + 1
		}
	}
	for name, does := range map[string]struct {
		event int
		file  string
		says  string
	}{
		"another file":                {moved, "notes.txt", "notes.txt was not left by"},
		"another file, nothing moved": {moved - 2, "notes.txt", "it holds notes.txt"},
		"a dump written to since":     {moved, "dump.rdb", "dump.rdb was not left by"},
	} {
		dir := t.TempDir()
		if !killedAt(t, s, dir, does.event, "one node") {
			t.Fatal("it was not killed")
		}
		if err := os.WriteFile(filepath.Join(dir, does.file), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		_, err := restore.Run(t.Context(), with(seedOptions(s.snapshot, dir, nil)))
		if !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), does.says) {
			t.Errorf("%s: got %v, want %q", name, err, does.says)
		}
		if after := tree(t, dir); !maps.Equal(before, after) {
			t.Errorf("%s: it holds %v, before it held %v", name, after, before)
		}
	}
}
