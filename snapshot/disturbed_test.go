package snapshot_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// TestDisturbed lets a real failover, and a real resharding, happen inside a
// snapshot: there must be none afterwards.
func TestDisturbed(t *testing.T) {
	cases := map[string]func(t *testing.T, c *clustertest.Cluster){
		"failover": func(t *testing.T, c *clustertest.Cluster) {
			replica := c.Replicas()[1]
			order(t, c, replica, "CLUSTER", "FAILOVER", "TAKEOVER")
		},
		"resharding": func(t *testing.T, c *clustertest.Cluster) { // slot 16000 holds no key
			from, to := c.Primaries()[2], c.Primaries()[0]
			for _, node := range c.Primaries() {
				if node != from {
					order(t, c, node, "CLUSTER", "SETSLOT", 16000, "NODE", to.ID)
				}
			}
			order(t, c, from, "CLUSTER", "SETSLOT", 16000, "NODE", to.ID)
		},
	}
	for name, disturb := range cases {
		t.Run(name, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{Replicas: 3})
			store := storage.Named{Name: "here", Store: fs.Open(t.TempDir())}
			var once sync.Once
			_, err := snapshot.Take(t.Context(), snapshot.Options{
				Cluster: "prod", Seeds: c.Addrs(), Access: c.Access(), Stores: []storage.Named{store}, Collect: snapshot.CollectStream,
				// The first dump under way is inside the window for certain.
				Progress: func(e progress.Event) {
					if e.Phase == "collect" {
						once.Do(func() { disturb(t, c) })
					}
				},
			})
			if !errors.Is(err, snapshot.ErrDisturbed) {
				t.Errorf("got %v, want ErrDisturbed", err)
			}
			if left := held(t, store); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

// order gives a node a command.
func order(t *testing.T, c *clustertest.Cluster, node *clustertest.Node, args ...any) {
	t.Helper()
	client := c.Access().Open(node.Addr())
	defer client.Close()
	if _, err := client.Do(context.WithoutCancel(t.Context()), args...); err != nil {
		t.Errorf("%v on %s: %v", args, node.Addr(), err)
	}
}
