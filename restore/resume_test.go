package restore_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/verify"
)

// replayOptions replay one shard after the other, so that events come in order.
func replayOptions(s *catalog.Snapshot, targets []string, told progress.Func) restore.Options {
	return restore.Options{Snapshot: s, To: targets, Parallel: 1, Progress: told, Access: access(), Replicas: restore.AllReplicas}
}

// TestResume kills a replay at each of its events, and goes on with it: the end is
// the same.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 20_000, Seed: 8}, nil) // with a library of functions
	var events []progress.Event
	whole := replayOptions(s.snapshot, emptyNodes(t, 3), func(e progress.Event) { events = append(events, e) })
	wantReplayed(t, s, whole.To, whole, "")
	if len(events) < 12 {
		t.Fatalf("the events are %v", events)
	}
	t.Run("killed at every step", func(t *testing.T) {
		var group sync.WaitGroup
		room := make(chan struct{}, 4)
		for event := 1; event <= len(events); event++ {
			group.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				targets := emptyNodes(t, 3)
				replayKilledAt(t, s, targets, event)
				note := ""
				if event > 2 { // the check is over, and the mark is there
					note = "went on with a killed restore"
				}
				wantResumed(t, s, targets, note)
			})
		}
		group.Wait()
	})
	t.Run("what is loaded is kept", func(t *testing.T) { resumeKeeps(t, s) })
	t.Run("another plan begins anew", func(t *testing.T) { resumeOtherPlan(t, s) })
	t.Run("a node was restarted", func(t *testing.T) { resumeRestarted(t, s) })
	t.Run("only asleep", func(t *testing.T) { resumeAsleep(t, s) })
}

// replayKilledAt runs a replay that kills itself at an event.
func replayKilledAt(t *testing.T, s *source, targets []string, event int) {
	t.Helper()
	cmd := dyingRestore(t, s, "replay", event, strings.Join(targets, ","))
	output, _ := cmd.CombinedOutput()
	if !wasKilled(cmd) {
		t.Errorf("event %d: it was not killed: %s", event, output)
	}
}

// wantResumed goes on with a killed replay, to the end that it would have had.
func wantResumed(t *testing.T, s *source, targets []string, note string) {
	t.Helper()
	o := replayOptions(s.snapshot, targets, nil)
	o.Resume = true
	wantReplayed(t, s, targets, o, note)
}

func wantReplayed(t *testing.T, s *source, targets []string, o restore.Options, note string) {
	t.Helper()
	result, err := restore.Run(t.Context(), o)
	if err != nil {
		t.Errorf("%s: %v", note, err)
		return
	}
	if !result.Complete() || result.Comparison == nil || result.Keys != s.snapshot.Manifest.Keys() {
		t.Errorf("%s: %d keys, findings: %v %+v", note, result.Keys, result.Findings, result.Comparison)
	}
	if !strings.Contains(strings.Join(result.Notes, "\n"), note) {
		t.Errorf("%q is not among the notes: %v", note, result.Notes)
	}
	for _, shard := range result.Shards {
		if !slices.Equal(shard.Stores, []string{"here"}) || shard.Keys == 0 || shard.Bytes == 0 {
			t.Errorf("%s: shard %+v", note, shard)
		}
	}
	for _, addr := range targets {
		node := access().Open(addr)
		if answer, err := node.Do(t.Context(), "FUNCTION", "LIST"); err != nil || len(answer.([]any)) != 1 {
			t.Errorf("%s: %s has the functions %v, %v", note, addr, answer, err)
		}
		node.Close()
	}
	// Nobody's leavings: it has ended.
	left, err := s.snapshot.Abandoned(t.Context())
	if err != nil || slices.ContainsFunc(left, func(a catalog.Abandoned) bool {
		return slices.ContainsFunc(a.Targets, func(target catalog.Target) bool { return slices.Contains(targets, target.Address) })
	}) {
		t.Errorf("%s: abandoned are %v, %v", note, left, err)
	}
}

func resumeKeeps(t *testing.T, s *source) {
	targets := emptyNodes(t, 3)
	replayKilledAt(t, s, targets, whenLoaded)
	again := map[string]bool{}
	o := replayOptions(s.snapshot, targets, func(e progress.Event) {
		if e.Phase == "load" && e.Task != "restore" {
			again[e.Task] = true
		}
	})
	o.Resume = true
	wantReplayed(t, s, targets, o, "went on with")
	if len(again) != 1 {
		t.Errorf("loaded once more: %v; want one shard", again)
	}
}

func resumeOtherPlan(t *testing.T, s *source) {
	targets := emptyNodes(t, 3)
	replayKilledAt(t, s, targets, whenLoaded)
	o := replayOptions(s.snapshot, targets, nil)
	o.Resume, o.Layout = true, restore.Balanced(3)
	wantReplayed(t, s, targets, o, "began anew over what was left of a killed restore")
}

// resumeRestarted has a node that keeps its nodes.conf, and none of its keys, end
// after it was loaded.
func resumeRestarted(t *testing.T, s *source) {
	options := redisproc.Options{Dir: t.TempDir(), Password: password, Args: clusterArgs()}
	first := startNode(t, options)
	targets := append([]string{first.Addr()}, emptyNodes(t, 2)...)
	replayKilledAt(t, s, targets, whenLoaded)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	options.Port = first.Port()
	startNode(t, options)
	wantResumed(t, s, targets, "went on with")
}

// resumeAsleep has a replay sleep until another has gone on with it.
func resumeAsleep(t *testing.T, s *source) {
	targets := emptyNodes(t, 3)
	asleep, wake := make(chan struct{}), make(chan struct{})
	var once sync.Once
	sleeper := make(chan error, 1)
	go func() {
		_, err := restore.Run(t.Context(), replayOptions(s.snapshot, targets, func(e progress.Event) {
			if e.Phase == "load" && e.Keys > 0 && !e.Ended {
				once.Do(func() { close(asleep); <-wake })
			}
		}))
		sleeper <- err
	}()
	<-asleep
	wantResumed(t, s, targets, "went on with")
	close(wake)
	if err := <-sleeper; err == nil || !strings.Contains(err.Error(), "another process goes on with this restore") {
		t.Errorf("the sleeper ended with %v", err)
	}
	c, err := verify.CompareLive(t.Context(), verify.CompareOptions{Snapshot: s.snapshot, Access: access(), Seeds: targets})
	if err != nil || !c.Equal() {
		t.Errorf("the sleeper changed what was restored: %+v, %v", c, err)
	}
}
