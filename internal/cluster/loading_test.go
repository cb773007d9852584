package cluster_test

import (
	"context"
	"errors"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// A replica in a full sync answers nothing but INFO. That is a warning: its
// primary is as good as ever.
func TestDiscoverLoadingReplica(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Replicas: 1, ExtraArgs: []string{
		"--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024",
	}})
	if _, err := dataset.Load(t.Context(), c.Access(), discover(t, c), dataset.Options{Keys: 5000}); err != nil {
		t.Fatal(err)
	}
	replica := c.Replicas()[0]
	do(t, c, replica, "CONFIG", "SET", "key-load-delay", 5000) // microseconds
	do(t, c, c.Primaries()[0], "DEBUG", "CHANGE-REPL-ID")
	do(t, c, c.Primaries()[0], "CLIENT", "KILL", "TYPE", "replica")
	clustertest.Eventually(t, settled, func(ctx context.Context) error {
		topology, err := cluster.Discover(ctx, c.Access(), c.Addrs()[:1])
		if err != nil {
			return err
		}
		member := topology.Shards[0].Replicas[0]
		if !member.Loading || !member.Reachable || len(topology.Warnings) == 0 || topology.Warnings[0].Code != cluster.CodeReplicaLoading {
			return errors.New("not loading yet")
		}
		return nil
	})
	// As a seed it cannot serve, and says why; the next seed does.
	_, err := cluster.Discover(t.Context(), c.Access(), []string{replica.Addr()})
	if !cluster.IsCode(err, "LOADING") {
		t.Errorf("asked while loading: %v", err)
	}
	if _, err := cluster.Discover(t.Context(), c.Access(), []string{replica.Addr(), c.Addrs()[0]}); err != nil {
		t.Error(err)
	}
}
