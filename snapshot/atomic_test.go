//go:build servers

package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// TestAtomicMigration has Valkey 9 migrate slots atomically, before a snapshot
// begins and at any moment inside it: either there is none, or it holds every
// key once, by the topology that came of it. It needs a server that Debian's
// stable release has not: scripts/agree.sh runs it.
func TestAtomicMigration(t *testing.T) {
	binary := ""
	for _, s := range servertest.Servers(t) {
		if s.Engine == "valkey" && s.Version >= "9." {
			binary = s.Binary
		}
	}
	if binary == "" {
		t.Fatal("no Valkey 9 among the servers: scripts/agree.sh unpacks one")
	}
	a := &atomic{Cluster: clustertest.Start(t, clustertest.Options{Binary: binary, ExtraArgs: []string{"--enable-debug-command", "yes"}})}
	a.fill(t)
	t.Run("running", a.running)
	for _, phase := range []string{"wait", "save", "collect"} {
		t.Run("in "+phase, func(t *testing.T) { a.inside(t, phase) })
	}
}

// atomic is a cluster whose first slots go from its first primary to its last and
// back.
type atomic struct {
	*clustertest.Cluster
	keys  int
	there bool // the slots are at the last primary
}

const migrated = "0 1500"

// fill gives the slots that are migrated 64 MB, so that they take a while.
func (a *atomic) fill(t *testing.T) {
	t.Helper()
	client := a.Access().Open(a.Primaries()[0].Addr())
	defer client.Close()
	value := strings.Repeat("v", 16<<10)
	tag := 0
	for a.keys < 4000 {
		key := fmt.Sprintf("{%d}:key", tag)
		tag++
		if _, err := client.Do(t.Context(), "SET", key, value); err == nil {
			a.keys++
		} else if !cluster.IsCode(err, "MOVED") {
			t.Fatal(err)
		}
	}
}

// migrate begins to move the slots to the other of the two.
func (a *atomic) migrate(t *testing.T) {
	t.Helper()
	from, to := a.Primaries()[0], a.Primaries()[2]
	if a.there {
		from, to = to, from
	}
	args := []any{"CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"}
	for _, n := range strings.Fields(migrated) {
		args = append(args, n)
	}
	order(t, a.Cluster, from, append(args, "NODE", to.ID)...)
	a.there = !a.there
}

// settle waits until no migration runs any more, and the cluster agrees.
func (a *atomic) settle(t *testing.T) *cluster.Topology {
	t.Helper()
	var topology *cluster.Topology
	clustertest.Eventually(t, time.Minute, func(ctx context.Context) (err error) {
		topology, err = cluster.Discover(ctx, a.Access(), a.Addrs())
		return err
	})
	return topology
}

func (a *atomic) take(t *testing.T, progress progress.Func) (*snapshot.Result, storage.Named, error) {
	t.Helper()
	store := storage.Named{Name: "here", Store: fs.Open(t.TempDir())}
	r, err := snapshot.Take(t.Context(), snapshot.Options{
		Cluster: "prod", Seeds: a.Addrs(), Access: a.Access(), Stores: []storage.Named{store}, Build: "test", Progress: progress,
	})
	return r, store, err
}

// running is a migration that began before the snapshot.
func (a *atomic) running(t *testing.T) {
	// Its child is slow, so that it surely still runs.
	a.delay(t, 2000)
	a.migrate(t)
	clustertest.Eventually(t, time.Minute, func(context.Context) error {
		if info := fmt.Sprint(order(t, a.Cluster, a.Primaries()[0], "INFO")); !strings.Contains(info, "slot_migration_fork_in_progress:1") {
			return errors.New("it has not begun")
		}
		return nil
	})
	_, store, err := a.take(t, nil)
	if !errors.Is(err, hint.ErrRefused) || !strings.Contains(fmt.Sprint(err), "atomic slot migration") {
		t.Errorf("got %v, want a refusal that names the migration", err)
	}
	if left := held(t, store); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	a.delay(t, 0)
	a.settle(t)
}

func (a *atomic) delay(t *testing.T, microseconds int) {
	t.Helper()
	for _, node := range a.Primaries() {
		order(t, a.Cluster, node, "CONFIG", "SET", "rdb-key-save-delay", microseconds)
	}
}

// inside is a migration that begins in a phase of the first shard's dump.
func (a *atomic) inside(t *testing.T, phase string) {
	before := a.there
	var once sync.Once
	r, store, err := a.take(t, func(e progress.Event) {
		if e.Phase == phase {
			once.Do(func() { a.migrate(t) })
		}
	})
	if a.there == before {
		t.Fatalf("no phase %q was told of", phase)
	}
	topology := a.settle(t)
	if err != nil {
		t.Logf("no snapshot: %v", err)
		if left := held(t, store); len(left) > 0 || !errors.Is(err, snapshot.ErrDisturbed) && !errors.Is(err, hint.ErrRefused) {
			t.Errorf("%v; it left %v", err, left)
		}
		return
	}
	var keys uint64
	for i, s := range r.Manifest.Shards {
		keys += s.Dump.Keys
		if now := topology.Shards[i]; s.Slots != now.Slots || s.Primary != now.Primary.ID {
			t.Errorf("shard %s of %s; it is now %s of %s", s.Slots, s.Primary, now.Slots, now.Primary.ID)
		}
	}
	if keys != uint64(a.keys) {
		t.Errorf("%d keys in the snapshot, %d in the cluster", keys, a.keys)
	}
	t.Logf("a snapshot of %d keys; findings %v", keys, codesOf(r.Manifest.Findings))
}

func codesOf(findings []manifest.Finding) (codes []string) {
	for _, f := range findings {
		codes = append(codes, f.Code)
	}
	return codes
}
