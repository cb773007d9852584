package snapshot_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// TestDisturbed lets a real failover, and a real resharding, happen inside a
// snapshot: what changed is taken again, and where there is no try left, there
// is no snapshot.
func TestDisturbed(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, c *clustertest.Cluster){
		"failover": func(t *testing.T, c *clustertest.Cluster) {
			replica := c.Replicas()[1]
			order(t, c, replica, "CLUSTER", "FAILOVER", "TAKEOVER")
		},
		"resharding": func(t *testing.T, c *clustertest.Cluster) { // slot 16000 holds no key
			move(t, c, 16000, c.Primaries()[2], c.Primaries()[0])
		},
	}
	for name, disturb := range cases {
		for how, tries := range map[string]int{"one try": 1, "tries": 0} {
			t.Run(name+", "+how, func(t *testing.T) { disturbed(t, tries, disturb) })
		}
	}
}

func disturbed(t *testing.T, tries int, disturb func(*testing.T, *clustertest.Cluster)) {
	c := clustertest.Start(t, clustertest.Options{Replicas: 3})
	store := storage.Named{Name: "here", Store: fs.Open(t.TempDir())}
	var once sync.Once
	r, err := snapshot.Take(t.Context(), snapshot.Options{
		Cluster: "prod", Seeds: c.Addrs(), Access: c.Access(), Stores: []storage.Named{store}, Collect: snapshot.CollectStream, Tries: tries, Build: "test",
		// The first dump under way is inside the window for certain.
		Progress: func(e progress.Event) {
			if e.Phase == "collect" {
				once.Do(func() { disturb(t, c) })
			}
		},
	})
	left := held(t, store)
	if tries == 1 {
		if !errors.Is(err, snapshot.ErrDisturbed) || len(left) > 0 {
			t.Errorf("got %v, want ErrDisturbed; it left %v", err, left)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	want := 1 + len(r.Manifest.Files())
	for i, s := range r.Manifest.Shards {
		if now := topology.Shards[i]; s.Slots != now.Slots || s.Primary != now.Primary.ID || s.ConfigEpoch != now.Primary.ConfigEpoch {
			t.Errorf("shard %s of %s, epoch %d: it is now %s of %s, epoch %d", s.Slots, s.Primary, s.ConfigEpoch, now.Slots, now.Primary.ID, now.Primary.ConfigEpoch)
		}
	}
	if len(left) != want {
		t.Errorf("what was taken twice is there twice: %v", left)
	}
	if !slices.ContainsFunc(r.Manifest.Findings, func(f manifest.Finding) bool { return f.Code == "retried" }) {
		t.Errorf("no finding says that it was tried again: %v", r.Manifest.Findings)
	}
}

// move moves a slot without keys as redis-cli does it: the node that imports it
// takes a new epoch when it becomes the owner, so that all others believe it.
func move(t *testing.T, c *clustertest.Cluster, slot int, from, to *clustertest.Node) {
	t.Helper()
	order(t, c, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.ID)
	order(t, c, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.ID)
	order(t, c, to, "CLUSTER", "SETSLOT", slot, "NODE", to.ID)
	order(t, c, from, "CLUSTER", "SETSLOT", slot, "NODE", to.ID)
}

// order gives a node a command and returns its answer.
func order(t *testing.T, c *clustertest.Cluster, node *clustertest.Node, args ...any) any {
	t.Helper()
	client := c.Access().Open(node.Addr())
	defer client.Close()
	reply, err := client.Do(context.WithoutCancel(t.Context()), args...)
	if err != nil {
		t.Errorf("%v on %s: %v", args, node.Addr(), err)
	}
	return reply
}
