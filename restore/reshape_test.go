package restore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
)

// TestReshape restores a snapshot of three shards onto fewer and more, by replay and
// by seed, with one store's copy damaged in the middle of it.
func TestReshape(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 20_000, Seed: 7}, func(c *clustertest.Cluster) {
		if err := c.Client().Set(t.Context(), "large", strings.Repeat("0123456789abcdef", 5<<16), time.Hour).Err(); err != nil { // 5 MiB
			t.Fatal(err)
		}
	})

	two := []slot.Set{uneven[0], uneven[1].Union(uneven[2])}
	t.Run("replay onto two", func(t *testing.T) { replayReshaped(t, s, emptyNodes(t, 3), two) })
	t.Run("seed on two", func(t *testing.T) {
		result := seedReshaped(t, s, freeAddrs(t, 3), two)
		for _, f := range result.Folders[:2] {
			if announced, held := countsOf(t, f); announced != held {
				t.Errorf("%s announces %v keys, of which expire, and holds %v", f.Path, announced, held)
			}
		}
	})
	t.Run("no addresses", func(t *testing.T) {
		o := restore.Options{Snapshot: s.snapshot, ToDir: filepath.Join(t.TempDir(), "new"), Layout: restore.Balanced(2), Access: access(), Replicas: restore.AllReplicas}
		if _, err := restore.Run(t.Context(), o); !errors.Is(err, hint.ErrRefused) || !strings.Contains(fmt.Sprint(hint.Of(err)), "--at") {
			t.Errorf("got %v, hints %v", err, hint.Of(err))
		}
	})
	damaged := s.snapshot.Manifest.Shards[1].Dump.Object
	s.damage(t, 0, damaged)
	t.Run("replay onto five", func(t *testing.T) { replayReshaped(t, s, emptyNodes(t, 5), restore.Balanced(5)) })
	t.Run("seed on four", func(t *testing.T) {
		o := restore.Options{Snapshot: s.snapshot, ToDir: filepath.Join(t.TempDir(), "new"), At: freeAddrs(t, 4), Layout: restore.Balanced(4), Access: access()}
		result, err := restore.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		wantFallback(t, s, result)
	})
	t.Run("no index", func(t *testing.T) {
		for store := range s.roots {
			s.damage(t, store, s.snapshot.Manifest.Shards[2].SlotIndex.Object)
		}
		o := restore.Options{Snapshot: s.snapshot, ToDir: filepath.Join(t.TempDir(), "new"), At: freeAddrs(t, 4), Layout: restore.Balanced(4), Access: access()}
		result, err := restore.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		announced, held := countsOf(t, result.Folders[3])
		if off := float64(announced[0]) / float64(held[0]); announced == held || off < 0.8 || off > 1.2 {
			t.Errorf("without an index %v are announced of %v", announced, held)
		}
	})
	s.damage(t, 1, damaged)
	t.Run("both stores damaged", func(t *testing.T) {
		addrs := emptyNodes(t, 2)
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Layout: restore.Balanced(2), Access: access()})
		if err == nil || !strings.Contains(err.Error(), "load shard "+s.snapshot.Manifest.Shards[1].Slots.String()) {
			t.Errorf("got %v", err)
		}
		requireEmpty(t, addrs)
		dir := filepath.Join(t.TempDir(), "new")
		_, err = restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: dir, At: freeAddrs(t, 2), Layout: restore.Balanced(2), Access: access()})
		if err == nil {
			t.Error("a dump that is damaged in both stores was seeded")
		}
		requireEntries(t, filepath.Dir(dir))
	})
}

func replayReshaped(t *testing.T, s *source, addrs []string, layout []slot.Set) {
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Layout: layout, Access: access(), Replicas: restore.AllReplicas})
	if err != nil {
		t.Fatal(err)
	}
	if c := result.Comparison; c == nil || c.Keys+c.Expired != s.snapshot.Manifest.Keys() || c.Slots != slot.Count {
		t.Fatalf("compared %+v", c)
	}
	wantReshaped(t, s, addrs, layout, result)
	if len(layout) == 5 { // one store was damaged, and the comparison reads the snapshot again
		wantFallback(t, s, result)
	} else if !result.Complete() {
		t.Errorf("findings %v %v", result.Findings, result.Comparison.Findings)
	}
}

func seedReshaped(t *testing.T, s *source, at []string, layout []slot.Set) *restore.Result {
	result := seedAndStart(t, s, at, layout...)
	wantReshaped(t, s, at, layout, result)
	return result
}

// countsOf reads how many keys a seeded dump announces, and how many of them
// expire; and how many there are.
func countsOf(t *testing.T, f restore.Folder) (announced, held [2]uint64) {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join(f.Path, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	for r := rdb.NewReader(bytes.NewReader(dump), rdb.Options{Size: int64(len(dump))}); ; {
		rec, err := r.Next()
		switch {
		case err == io.EOF:
			return announced, held
		case err != nil:
			t.Fatal(err)
		case rec.Kind == rdb.KindResizeDB:
			announced = [2]uint64{rec.Keys, rec.Expiring}
		case rec.Kind == rdb.KindKey:
			if held[0]++; rec.HasExpiry {
				held[1]++
			}
		}
	}
}

// wantFallback checks that the damaged copy is a finding, and the data whole.
func wantFallback(t *testing.T, s *source, result *restore.Result) {
	t.Helper()
	if result.Keys != s.snapshot.Manifest.Keys() || len(result.Findings) != 1 || result.Findings[0].Code != "store-failed" {
		t.Errorf("%d keys, findings %v", result.Keys, result.Findings)
	}
	if got := fmt.Sprint(result.Shards[1].Stores); !strings.Contains(got, "there") {
		t.Errorf("a shard that was damaged here came from %s", got)
	}
}

// wantReshaped checks who owns what, and every value by the servers' own digests.
func wantReshaped(t *testing.T, s *source, seeds []string, layout []slot.Set, result *restore.Result) {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), access(), seeds)
	if err != nil {
		t.Fatal(err)
	}
	found := map[slot.Set]bool{}
	for _, shard := range topology.Shards {
		found[shard.Slots] = true
	}
	var keys uint64
	for i, slots := range layout {
		if !found[slots] || result.Shards[i].Slots != slots || result.Shards[i].Keys == 0 || result.Shards[i].Bytes == 0 {
			t.Errorf("nobody owns %s, or it is told wrong: %+v", slots, result.Shards[i])
		}
		keys += result.Shards[i].Keys
		if libraries := do(t, result.Shards[i].Primary, "FUNCTION", "LIST").([]any); len(libraries) != 1 {
			t.Errorf("%s has %d function libraries, want 1", result.Shards[i].Primary, len(libraries))
		}
	}
	if keys != s.snapshot.Manifest.Keys() || result.Keys != keys || len(topology.Shards) != len(layout) {
		t.Errorf("%d keys in %d shards, told are %d", keys, len(topology.Shards), result.Keys)
	}
	for _, shard := range s.topology.Shards {
		if err := sameKeys(t.Context(), shard.Primary.Addr, ownerOf(topology)); err != nil {
			t.Error(err)
		}
	}
}
