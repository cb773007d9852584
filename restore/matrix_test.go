package restore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/verify"
	"golang.org/x/sync/errgroup"
)

// way is one way to restore a cluster: onto as many shards as the options say, with
// spares as replicas. It returns the addresses of all nodes, which run.
type way struct {
	name    string
	restore func(t *testing.T, d *divided, o restore.Options) (*restore.Result, []string)
}

var ways = []way{
	{"replay", replayed},
	{"seed", seeded},
	{"agents", throughAgents},
}

// spares are how many nodes a restored cluster has beside its primaries.
const spares = 2

// TestMatrix restores one snapshot in every way, onto the same, fewer and more
// shards, from dumps and from append-only files. Each time the restored cluster holds
// what the snapshot does, by the digests of every slot of its own dumps, with the
// libraries of functions on each primary and with replicas that have it all.
func TestMatrix(t *testing.T) {
	t.Parallel()
	d := newDivided(t, "")
	for _, way := range ways {
		for _, layout := range []struct {
			name string
			want []slot.Set // nil: the snapshot's
		}{{"same", nil}, {"fewer", restore.Balanced(2)}, {"more", restore.Balanced(5)}} {
			for from, aof := range map[string]bool{"RDB": false, "AOF": true} {
				t.Run(fmt.Sprintf("%s, %s shards, %s", way.name, layout.name, from), func(t *testing.T) {
					t.Parallel()
					o := d.options(layout.want)
					o.AOF = aof
					d.wantWhole(t, way, o)
				})
			}
		}
	}
}

// shardsOf is how many shards options make.
func (d *divided) shardsOf(o restore.Options) int {
	if len(o.Layout) > 0 {
		return len(o.Layout)
	}
	return len(d.snapshot.Manifest.Shards)
}

// replayed restores by sending commands to running nodes.
func replayed(t *testing.T, d *divided, o restore.Options) (*restore.Result, []string) {
	t.Helper()
	o.To = d.nodes(t, d.shardsOf(o)+spares)
	result, err := restore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if result.Comparison == nil || !result.Comparison.Equal() {
		t.Errorf("comparison %+v", result.Comparison)
	}
	return result, o.To
}

// seeded restores by files, and starts servers with them as it is said.
func seeded(t *testing.T, d *divided, o restore.Options) (*restore.Result, []string) {
	t.Helper()
	o.ToDir, o.At = filepath.Join(t.TempDir(), "new"), freeAddrs(t, d.shardsOf(o)+spares)
	result, err := restore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	persistence := []string{"--appendonly", "no"}
	if o.AOF {
		persistence = []string{"--appendonly", "yes", "--aof-load-truncated", "no"}
	}
	var group errgroup.Group
	for _, f := range result.Folders {
		if !strings.Contains(f.Start, strings.Join(persistence, " ")) {
			t.Errorf("%s is started with %s", f.Path, f.Start)
		}
		_, port, _ := net.SplitHostPort(f.Address)
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() error {
			p, err := redisproc.Start(t.Context(), redisproc.Options{Binary: d.binary, Dir: f.Path, Port: number, Password: password, Args: slices.Concat(clusterArgs(), persistence, d.args)})
			if err == nil {
				t.Cleanup(func() { _ = p.Kill() })
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return result, o.At
}

// wantWhole restores in some way, and looks at what came of it.
func (d *divided) wantWhole(t *testing.T, way way, o restore.Options) {
	t.Helper()
	result, addrs := way.restore(t, d, o)
	if len(result.Findings) > 0 || result.Keys != d.snapshot.Manifest.Keys() {
		t.Errorf("%d keys of %d, findings %v", result.Keys, d.snapshot.Manifest.Keys(), result.Findings)
	}
	d.wantSame(t, addrs, len(o.Layout) > 0)
	for i, shard := range result.Shards {
		libraries := fmt.Sprint(do(t, shard.Primary, "FUNCTION", "LIST"))
		if !strings.Contains(libraries, "stock") || !strings.Contains(libraries, "long") || strings.Contains(libraries, "wrong") || strings.Contains(libraries, "slotark_demo") {
			t.Errorf("%s has the libraries %s", shard.Primary, libraries)
		}
		want := d.snapshot.Manifest.Shards[min(i, 2)].Slots
		if len(o.Layout) > 0 {
			want = o.Layout[i]
		}
		if shard.Slots != want || shard.Keys == 0 || shard.Bytes == 0 {
			t.Errorf("told of a shard: %+v", shard)
		}
	}
}

// wantSame holds a cluster against the snapshot, slot by slot, and its replicas
// against their primaries.
func (d *divided) wantSame(t *testing.T, addrs []string, anyLayout bool) {
	t.Helper()
	clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
		topology, err := cluster.Discover(ctx, access(), addrs)
		if err != nil {
			return err
		}
		replicas := 0
		for _, shard := range topology.Shards {
			for _, r := range shard.Replicas {
				replicas++
				if own, primary := do(t, r.Addr, "DBSIZE"), do(t, shard.Primary.Addr, "DBSIZE"); !r.LinkUp || own != primary {
					return fmt.Errorf("%s has %v keys of %v", r.Addr, own, primary)
				}
			}
		}
		if replicas != spares {
			return errors.New("not every spare node is a replica")
		}
		return nil
	})
	c, err := verify.CompareLive(t.Context(), verify.CompareOptions{Snapshot: d.snapshot, Access: access(), Seeds: addrs, AnyLayout: anyLayout})
	if err != nil || !c.Equal() || c.Slots != slot.Count || c.Keys+c.Expired != d.snapshot.Manifest.Keys() {
		t.Errorf("%v: %+v", err, c)
	}
}
