package restore_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
)

// divideOptions cut each shard of a snapshot in two, one after the other, so that
// events come in order.
func divideOptions(s *catalog.Snapshot, way, where string, told progress.Func) restore.Options {
	o := restore.Options{Snapshot: s, AOF: true, Parallel: 1, Progress: told, Access: access(), Replicas: restore.AllReplicas}
	for i, shard := range s.Manifest.Shards {
		all := shard.Slots.Ranges()[0]
		middle := (all.First + all.Last) / 2
		o.Layout = append(o.Layout, slot.SetOf(slot.Range{First: all.First, Last: middle}), slot.SetOf(slot.Range{First: middle + 1, Last: all.Last}))
		o.At = append(o.At, fmt.Sprintf("10.0.0.%d:7001", i+1), fmt.Sprintf("10.0.0.%d:7002", i+1))
	}
	if o.ToDir = where; way == "replay" {
		o.ToDir, o.At, o.To = "", nil, strings.Split(where, ",")
	}
	return o
}

// killedAt runs a restore that kills itself at an event.
func (d *divided) killedAt(t *testing.T, way, where string, event int) {
	t.Helper()
	cmd := dyingRestore(t, d.source, "divide", event, way, where)
	output, _ := cmd.CombinedOutput()
	if !wasKilled(cmd) {
		t.Errorf("%s, event %d: it was not killed: %s", way, event, output)
	}
}

// killedSets kills a seed at each of its events, and a replay at some of all kinds.
// Who goes on comes to the same end.
func (d *divided) killedSets(t *testing.T) {
	var events []progress.Event
	var mu sync.Mutex
	collect := func(e progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	if _, err := restore.Run(t.Context(), divideOptions(d.snapshot, "seed", whole, collect)); err != nil {
		t.Fatal(err)
	}
	want := contents(t, whole)
	for event := 1; event < len(events); event++ { // at the last one all is done
		dir := filepath.Join(t.TempDir(), "seed")
		d.killedAt(t, "seed", dir, event)
		result, err := restore.Run(t.Context(), divideOptions(d.snapshot, "seed", dir, nil))
		if err != nil || !result.Complete() || result.Keys != d.snapshot.Manifest.Keys() {
			t.Errorf("seed killed at event %d (%+v): %v, %+v", event, events[event-1], err, result)
			continue
		}
		if got := contents(t, dir); !maps.Equal(got, want) {
			t.Errorf("seed killed at event %d (%+v) came to %v, want %v", event, events[event-1], got, want)
		}
	}
	events = nil
	if _, err := restore.Run(t.Context(), divideOptions(d.snapshot, "replay", strings.Join(d.nodes(t, 6), ","), collect)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	room := make(chan struct{}, 3)
	for event := 3; event < len(events); event += max(1, len(events)/6) {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			nodes := d.nodes(t, 6)
			where := strings.Join(nodes, ",")
			d.killedAt(t, "replay", where, event)
			o := divideOptions(d.snapshot, "replay", where, nil)
			o.Resume = true
			result, err := restore.Run(t.Context(), o)
			if err != nil || !result.Complete() || !result.Comparison.Equal() || result.Keys != d.snapshot.Manifest.Keys() {
				t.Errorf("replay killed at event %d (%+v): %v, %+v", event, events[event-1], err, result)
			}
		})
	}
	all.Wait()
}

// contents are what stands in the files below a folder, by their SHA-256; but not in
// those that have ids of their own.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if found[name] = ""; e.Name() != "nodes.conf" {
			text, err := os.ReadFile(path)
			found[name] = fmt.Sprintf("%x", sha256.Sum256(text))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
