package restore_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/verify"
	"golang.org/x/sync/errgroup"
)

func TestSeed(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Replicas: 3}, dataset.Options{Keys: 20_000, Seed: 4}, nil)
	before := s.topology
	t.Run("cancel", func(t *testing.T) { seedCancelled(t, s) })
	t.Run("at other addresses", func(t *testing.T) {
		at := freeAddrs(t, 5)
		result := seedAndStart(t, s, at)
		restored := sameLayout(t, s.snapshot.Manifest, at, 2)
		sameValues(t, before, restored)
		if got := restored.Shards[0].Primary.Addr; got != at[0] {
			t.Errorf("the first shard's primary is %s, want %s", got, at[0])
		}
		if !slices.ContainsFunc(result.Notes, func(note string) bool { return strings.Contains(note, "appendonly no") }) {
			t.Errorf("notes say nothing of appendonly: %v", result.Notes)
		}
	})
	t.Run("at the addresses of the dead source", func(t *testing.T) {
		addrs := s.Addrs()
		s.Kill()
		seedAndStart(t, s, nil)
		restored := sameLayout(t, s.snapshot.Manifest, addrs, 3)
		for i, shard := range restored.Shards {
			if shard.Primary.Addr != before.Shards[i].Primary.Addr || shard.Replicas[0].Addr != before.Shards[i].Replicas[0].Addr {
				t.Errorf("shard %s is at %s and %s, was at %s and %s", shard.Slots, shard.Primary.Addr, shard.Replicas[0].Addr,
					before.Shards[i].Primary.Addr, before.Shards[i].Replicas[0].Addr)
			}
		}
	})
	t.Run("damaged stores", func(t *testing.T) { seedDamaged(t, s) })
}

// seedAndStart seeds folders, starts the nodes on them, and compares.
func seedAndStart(t *testing.T, s *source, at []string, layout ...slot.Set) *restore.Result {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "new")
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: dir, At: at, Layout: layout, Access: access(), Replicas: restore.AllReplicas})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Complete() || result.Keys != s.snapshot.Manifest.Keys() {
		t.Fatalf("%d keys, findings %v", result.Keys, result.Findings)
	}
	var group errgroup.Group
	var seeds []string
	for _, f := range result.Folders {
		checkNodesConf(t, f)
		_, port, err := net.SplitHostPort(f.Address)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, f.Address)
		group.Go(func() error {
			p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: f.Path, Port: number, Password: password, Args: clusterArgs()})
			if err == nil {
				t.Cleanup(func() { _ = p.Kill() })
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
		topology, err := cluster.Discover(ctx, access(), seeds)
		if err != nil {
			return err
		}
		for _, shard := range topology.Shards {
			for _, r := range shard.Replicas {
				if !r.LinkUp {
					return errors.New(r.Addr + " is not linked")
				}
			}
		}
		return nil
	})
	comparison, err := verify.CompareLive(t.Context(), verify.CompareOptions{Snapshot: s.snapshot, Access: access(), Seeds: seeds, AnyLayout: len(layout) > 0})
	if err != nil {
		t.Fatal(err)
	}
	if !comparison.Equal() {
		t.Fatalf("findings: %v", comparison.Findings)
	}
	return result
}

// checkNodesConf reads a generated nodes.conf back.
func checkNodesConf(t *testing.T, f restore.Folder) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.Path, "nodes.conf"))
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := cluster.ParseNodes(string(text))
	if err != nil {
		t.Fatal(err)
	}
	selves := slices.DeleteFunc(nodes, func(n cluster.NodeLine) bool { return !n.Has("myself") })
	if len(selves) != 1 || selves[0].Addr() != f.Address || (selves[0].Role() == cluster.RolePrimary) != f.Primary {
		t.Errorf("%s: %d nodes are myself: %+v", f.Path, len(selves), selves)
	}
	info, err := os.Stat(filepath.Join(f.Path, "dump.rdb"))
	if (err == nil) != f.Primary {
		t.Errorf("%s: dump.rdb: %v, primary: %v", f.Path, err, f.Primary)
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		t.Errorf("%s: mode %s", f.Path, info.Mode())
	}
}

func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", n)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, port := range ports {
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return addrs
}

// seedCancelled stops a seed at each step: nothing may remain.
func seedCancelled(t *testing.T, s *source) {
	for _, phase := range []string{"check", "seed", "name", "mid-seed"} {
		t.Run(phase, func(t *testing.T) {
			parent := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := restore.Run(ctx, restore.Options{Snapshot: s.snapshot, ToDir: filepath.Join(parent, "new"), At: freeAddrs(t, 3), Access: access(),
				Progress: func(e progress.Event) {
					if e.Task == "restore" && e.Phase == phase || phase == "mid-seed" && e.Phase == "seed" && e.Task != "restore" {
						cancel()
					}
				}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want cancelled", err)
			}
			requireEntries(t, parent)
		})
	}
}

func seedDamaged(t *testing.T, s *source) {
	object := s.snapshot.Manifest.Shards[2].Dump.Object
	s.damage(t, 0, object)
	dir := t.TempDir()
	o := restore.Options{Snapshot: s.snapshot, ToDir: dir, At: freeAddrs(t, 3), Access: access()}
	result, err := restore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Findings) != 1 || result.Findings[0].Code != "store-failed" || result.Shards[2].Stores[0] != "there" {
		t.Errorf("findings %v, shard 2 from %s", result.Findings, result.Shards[2].Stores)
	}
	s.damage(t, 1, object)
	o.ToDir = filepath.Join(t.TempDir(), "new")
	_, err = restore.Run(t.Context(), o)
	if err == nil {
		t.Fatal("a dump that is damaged in both stores was seeded")
	}
	t.Log(err)
	requireEntries(t, filepath.Dir(o.ToDir))
}
