package restore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
)

// TestReplaceFails stops a restore that replaces a cluster at each of its steps.
// Until the cluster was emptied it is what it was; from then on the error says
// that what it held is gone, and the nodes are empty.
func TestReplaceFails(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 3}, nil)
	old := clustertest.Start(t, clustertest.Options{Primaries: 3, Replicas: 3, Password: password})
	keys := func() (total int64) {
		for _, n := range old.Primaries() {
			total += do(t, n.Addr(), "DBSIZE").(int64)
		}
		return total
	}
	node := old.Access().Open(old.Addrs()[0])
	defer node.Close()
	for n := range 100 {
		_, _ = node.Do(t.Context(), "SET", fmt.Sprint("old:", n), "x") // of its own slots
	}
	held := keys()
	o := restore.Options{Snapshot: s.snapshot, To: old.Addrs(), Access: access(), Replicas: restore.AllReplicas, Replacing: restore.Replacing{Name: "prod"}}
	stopAt := func(phase string) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stopped := o
		stopped.Progress = func(e progress.Event) {
			if e.Task == "restore" && e.Phase == phase {
				cancel()
			}
		}
		_, err := restore.Run(ctx, stopped)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped at %s: %v", phase, err)
		}
		return err
	}
	for _, phase := range []string{"check", "empty"} {
		if err := stopAt(phase); strings.Contains(err.Error(), "gone") || phase == "empty" && !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("stopped at %s: %v", phase, err)
		}
		if now := keys(); now != held || held == 0 {
			t.Fatalf("stopped at %s, the cluster holds %d keys, had %d", phase, now, held)
		}
	}
	// Until all can be emptied none is.
	unwilling := old.Replicas()[0].Addr()
	refused := o
	refused.Progress = func(e progress.Event) {
		if e.Task == "restore" && e.Phase == "empty" {
			do(t, unwilling, "ACL", "SETUSER", "default", "-client|kill")
		}
	}
	_, err := restore.Run(t.Context(), refused)
	do(t, unwilling, "ACL", "SETUSER", "default", "+@all")
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || keys() != held {
		t.Errorf("one that refuses: %v, %d keys", err, keys())
	}
	refused.Progress = nil
	do(t, unwilling, "ACL", "SETUSER", "default", "-cluster|reset")
	_, err = restore.Run(t.Context(), refused)
	do(t, unwilling, "ACL", "SETUSER", "default", "+@all")
	requireRefusal(t, err, unwilling+" would not be emptied")
	if keys() != held {
		t.Errorf("one that would refuse: %d keys", keys())
	}

	if err := stopAt("assign"); !strings.Contains(err.Error(), fmt.Sprintf("what the nodes held before is gone: %d keys on 6 nodes", held)) || !strings.Contains(err.Error(), "6 nodes are empty again") {
		t.Errorf("stopped after it was emptied: %v", err)
	}
	requireEmpty(t, old.Addrs())
	var result *restore.Result
	result, err = restore.Run(t.Context(), o) // the nodes are empty: nothing is lost any more
	if err != nil || !result.Complete() || slices.ContainsFunc(result.Notes, func(n string) bool { return strings.Contains(n, "held before is gone") }) {
		t.Fatalf("%v %+v", err, result)
	}
	// Over itself, with replicas that go back to being replicas.
	if result, err = restore.Run(t.Context(), o); err != nil || !result.Complete() {
		t.Fatalf("%v %+v", err, result)
	}
	sameLayout(t, s.snapshot.Manifest, old.Addrs(), 3)

	// A cluster of which a target is left out, or has no place, is not halved.
	left := o
	left.Replicas = 2
	_, err = restore.Run(t.Context(), left)
	requireRefusal(t, err, "belongs to a cluster with "+old.Addrs()[5]+", which is not among the targets")
	left = o
	left.To = old.Addrs()[:3]
	_, err = restore.Run(t.Context(), left)
	requireRefusal(t, err, "which are not among the targets")
	if hints := strings.Join(hint.Of(err), " "); !strings.Contains(hints, "CLUSTER FORGET") {
		t.Errorf("hints %q", hints)
	}
}

// TestReplaceResumed resumes a restore that was to replace a cluster and was
// killed before it had emptied it: --resume alone does not do that for it.
func TestReplaceResumed(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 200, Seed: 3}, nil)
	old := clustertest.Start(t, clustertest.Options{Primaries: 1, Password: password})
	do(t, old.Addrs()[0], "SET", "precious", "x")
	o := restore.Options{Snapshot: s.snapshot, To: old.Addrs(), Access: access(), Replacing: restore.Replacing{Name: "prod"}}
	if err := restore.MarkBegun(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	o.Resume, o.Replacing = true, restore.Replacing{}
	_, err := restore.Run(t.Context(), o)
	requireRefusal(t, err, "was to replace what they held")
	if do(t, old.Addrs()[0], "GET", "precious") != "x" {
		t.Error("what the node held is gone")
	}
	o.Replacing.Name = "prod"
	result, err := restore.Run(t.Context(), o)
	if err != nil || !result.Complete() || result.Keys != s.snapshot.Manifest.Keys() {
		t.Fatalf("%v %+v", err, result)
	}
	if do(t, old.Addrs()[0], "EXISTS", "precious") != int64(0) {
		t.Error("what the node held is still there")
	}
}
