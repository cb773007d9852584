package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot"
)

// slowSave makes a save of a plant's shard, of some hundred keys, last for far
// longer than it takes to notice it: microseconds for each key.
const slowSave = 15_000

// TestProduction has what happens to clusters in production happen to one under
// writes, in the middle of a snapshot. Each ends in a right snapshot, or in a
// clear error and nothing in the store.
func TestProduction(t *testing.T) {
	t.Parallel()
	p := newPlant(t, clustertest.Options{Replicas: 3})
	fromPrimaries := func(way string) snapshot.Options {
		return snapshot.Options{Collect: way, Replicas: snapshot.ReplicasNever}
	}
	t.Run("a primary killed during its save", func(t *testing.T) {
		shards := p.shards(t)
		primary := p.node(t, shards[1].Primary.ID)
		order(t, p.Cluster, primary, "CONFIG", "SET", "rdb-key-save-delay", slowSave)
		done := p.whenSaving(t, primary, func() { signal(t, primary, syscall.SIGKILL); <-primary.Proc.Done() })
		r, err := p.take(t, shards, trial{options: fromPrimaries(snapshot.CollectBgsave)})
		done()
		if err != nil {
			t.Fatal(err)
		}
		wantRetried(t, r, primary.Addr())
		if got := r.Manifest.Shards[1]; got.Primary != shards[1].Replicas[0].ID || got.Source.Node != got.Primary {
			t.Errorf("shard %s is of %s, taken from %s", got.Slots, got.Primary, got.Source.Node)
		}
		p.Restart(t, primary)
	})
	t.Run("a failover during collection", func(t *testing.T) {
		shards := p.shards(t)
		replica := p.node(t, shards[0].Replicas[0].ID)
		r, err := p.take(t, shards, trial{options: fromPrimaries(snapshot.CollectStream), putting: func() {
			order(t, p.Cluster, replica, "CLUSTER", "FAILOVER")
			p.awaitRole(t, replica, "master")
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Manifest.Shards[0]; got.Primary != replica.ID {
			t.Errorf("shard %s is of %s, want %s", got.Slots, got.Primary, replica.ID)
		}
		wantRetried(t, r, shards[0].Primary.Addr)
	})
	t.Run("a failover by kill during collection", func(t *testing.T) {
		shards := p.shards(t)
		primary := p.node(t, shards[2].Primary.ID)
		r, err := p.take(t, shards, trial{options: fromPrimaries(snapshot.CollectStream), putting: func() {
			signal(t, primary, syscall.SIGKILL)
			<-primary.Proc.Done()
		}})
		if err != nil {
			t.Fatal(err)
		}
		wantRetried(t, r, primary.Addr())
		if got := r.Manifest.Shards[2]; got.Primary != shards[2].Replicas[0].ID {
			t.Errorf("shard %s is of %s", got.Slots, got.Primary)
		}
		p.Restart(t, primary)
	})
	t.Run("slots migrated during it", func(t *testing.T) {
		shards := p.shards(t)
		key := ""
		for i := 0; key == "" || !shards[1].Slots.Contains(slot.Of([]byte(key))); i++ {
			key = fmt.Sprintf("fixed:%d", i)
		}
		n := slot.Of([]byte(key))
		r, err := p.take(t, shards, trial{options: fromPrimaries(snapshot.CollectStream), putting: func() {
			p.migrate(t, n, p.node(t, shards[1].Primary.ID), p.node(t, shards[0].Primary.ID))
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Manifest.Shards[0].Slots.Contains(n) || r.Manifest.Shards[1].Slots.Contains(n) {
			t.Errorf("slot %d is not where it went", n)
		}
		wantRetried(t, r, "had slots")
	})
	t.Run("a replica paused during its save", func(t *testing.T) {
		shards := p.shards(t)
		replica := p.node(t, shards[0].Replicas[0].ID)
		order(t, p.Cluster, replica, "CONFIG", "SET", "rdb-key-save-delay", slowSave)
		access := p.Access()
		access.Timeout = 2 * time.Second
		done := p.whenSaving(t, replica, func() { signal(t, replica, syscall.SIGSTOP) })
		r, err := p.take(t, shards, trial{
			options: snapshot.Options{Collect: snapshot.CollectBgsave, Access: access, Silence: 3 * time.Second},
			after:   func() { signal(t, replica, syscall.SIGCONT) },
		})
		done()
		if err != nil {
			t.Fatal(err)
		}
		wantRetried(t, r, replica.Addr())
		if got := r.Manifest.Shards[0].Source; got.Role != "primary" {
			t.Errorf("its dump is of %+v", got)
		}
		order(t, p.Cluster, replica, "CONFIG", "SET", "rdb-key-save-delay", 0)
	})
	t.Run("forks apart", func(t *testing.T) {
		shards := p.shards(t)
		var primaries []*clustertest.Node
		for _, s := range shards {
			primaries = append(primaries, p.node(t, s.Primary.ID))
			order(t, p.Cluster, primaries[len(primaries)-1], "CONFIG", "SET", "rdb-key-save-delay", 1200)
		}
		watched := p.watchSaves(t, primaries)
		r, err := p.take(t, shards, trial{options: fromPrimaries(snapshot.CollectBgsave)})
		if saved, together := watched(); len(saved) != len(primaries) || len(together) > 0 {
			t.Errorf("seen to save were %v, two at once %v", saved, together)
		}
		for _, n := range primaries {
			order(t, p.Cluster, n, "CONFIG", "SET", "rdb-key-save-delay", 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		wantNotRetried(t, r)
	})
	t.Run("all forks together", func(t *testing.T) {
		shards := p.shards(t)
		for _, bound := range []time.Duration{time.Nanosecond, time.Minute} {
			r, err := p.take(t, shards, trial{options: snapshot.Options{Collect: snapshot.CollectBgsave, Forks: snapshot.ForksTogether, Parallel: 1, MaxSkew: bound}})
			if err != nil {
				t.Fatal(err)
			}
			codes := map[string]bool{}
			for _, f := range r.Manifest.Findings {
				codes[f.Code] = true
			}
			if far := bound == time.Nanosecond; !codes["shared-host"] || codes["skew"] != far || r.Faulty() != far {
				t.Errorf("forked within %s, with a bound of %s: %v", r.Manifest.Skew(), bound, r.Manifest.Findings)
			}
		}
	})
	t.Run("saves of somebody else", func(t *testing.T) {
		shards := p.shards(t)
		ctx, cancel := context.WithCancel(t.Context())
		var others sync.WaitGroup
		for _, n := range p.Nodes {
			node := p.Access().Open(n.Addr())
			others.Go(func() {
				defer node.Close()
				tick := time.NewTicker(500 * time.Millisecond)
				defer tick.Stop()
				for ctx.Err() == nil {
					_, _ = node.Do(ctx, "BGSAVE") // refused where there is one: that is the trouble
					<-tick.C
				}
			})
		}
		r, err := p.take(t, shards, trial{options: snapshot.Options{Collect: snapshot.CollectBgsave}})
		cancel()
		others.Wait()
		if err != nil {
			t.Fatal(err)
		}
		wantNotRetried(t, r)
	})
	t.Run("a rewrite that begins in the middle", func(t *testing.T) {
		shards := p.shards(t)
		for _, s := range shards {
			order(t, p.Cluster, p.node(t, s.Primary.ID), "CONFIG", "SET", "rdb-key-save-delay", 600)
		}
		r, err := p.take(t, shards, trial{options: fromPrimaries(snapshot.CollectBgsave), saving: func() {
			for _, s := range shards {
				order(t, p.Cluster, p.node(t, s.Primary.ID), "BGREWRITEAOF")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shards {
			order(t, p.Cluster, p.node(t, s.Primary.ID), "CONFIG", "SET", "rdb-key-save-delay", 0)
		}
		wantNotRetried(t, r)
	})
	t.Run("another password on one node", func(t *testing.T) {
		shards := p.shards(t)
		replica := p.node(t, shards[2].Replicas[0].ID)
		_, err := p.take(t, shards, trial{
			options: snapshot.Options{Collect: snapshot.CollectBgsave},
			before:  func() { order(t, p.Cluster, replica, "CONFIG", "SET", "requirepass", "another") },
			after: func() {
				access := p.Access()
				access.Password = "another"
				node := access.Open(replica.Addr())
				defer node.Close()
				if _, err := node.Do(t.Context(), "CONFIG", "SET", "requirepass", ""); err != nil {
					t.Error(err)
				}
			},
		})
		if !errors.Is(err, cluster.ErrAuth) || !strings.Contains(err.Error(), replica.Addr()) {
			t.Errorf("got %v, want an ErrAuth that names %s", err, replica.Addr())
		}
	})
}
