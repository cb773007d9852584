package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/verify"
)

// TestReplay restores one snapshot again and again, for starting and loading a
// cluster is what takes time.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 45_000, Seed: 1}, func(c *clustertest.Cluster) {
		client := c.Client()
		if err := client.Set(t.Context(), "victim", "hello", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		large := bytes.Repeat([]byte("0123456789abcdef"), 40<<16) // 40 MiB
		if err := client.Set(t.Context(), "large string", large, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := client.RPush(t.Context(), "large list", large[:1<<20], large[:4<<20], "small").Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("with replicas", func(t *testing.T) { replayWhole(t, s) })
	t.Run("differences are named", func(t *testing.T) { compareDamage(t, s) })
	t.Run("cluster down for a moment", func(t *testing.T) { replayThroughOutage(t, s) })
	t.Run("cancel", func(t *testing.T) { replayCancelled(t, s) })
	t.Run("damaged stores", func(t *testing.T) { replayDamaged(t, s) })
}

func replayWhole(t *testing.T, s *source) {
	addrs := emptyNodes(t, 6)
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Replicas: restore.AllReplicas})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Complete() || result.Comparison == nil {
		t.Fatalf("findings: %v %+v", result.Findings, result.Comparison)
	}
	if want := s.snapshot.Manifest.Keys(); result.Keys != want || result.Comparison.Keys+result.Comparison.Expired != want || result.Comparison.Slots != 16384 {
		t.Errorf("%d keys sent, %d compared, %d expired, %d slots; want %d keys", result.Keys,
			result.Comparison.Keys, result.Comparison.Expired, result.Comparison.Slots, want)
	}
	restored := sameLayout(t, s.snapshot.Manifest, addrs, 3)
	sameValues(t, s.topology, restored)
	var phases []string
	for _, p := range result.Phases {
		phases = append(phases, p.Name)
		t.Logf("%-10s %s", p.Name, p.Elapsed)
	}
	if got := strings.Join(phases, " "); got != "check assign join load functions replicas compare" {
		t.Errorf("phases %s", got)
	}
	for _, shard := range result.Shards {
		if len(shard.Replicas) != 1 || !slices.Equal(shard.Stores, []string{"here"}) {
			t.Errorf("shard %s: primary %s, replicas %v, from %s", shard.Slots, shard.Primary, shard.Replicas, shard.Stores)
		}
		if libraries := do(t, shard.Primary, "FUNCTION", "LIST").([]any); len(libraries) != 1 {
			t.Errorf("%s has %d function libraries, want 1", shard.Primary, len(libraries))
		}
		for _, replica := range shard.Replicas {
			if a, b := do(t, shard.Primary, "DBSIZE"), do(t, replica, "DBSIZE"); a != b {
				t.Errorf("%s holds %v keys, its replica %v", shard.Primary, a, b)
			}
		}
	}
}

// compareDamage causes, on a restored cluster, each difference that a
// comparison claims to find.
func compareDamage(t *testing.T, s *source) {
	addrs := emptyNodes(t, 3)
	if _, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Access: access()}); err != nil {
		t.Fatal(err)
	}
	compare := func(t *testing.T) *verify.Comparison {
		t.Helper()
		c, err := verify.CompareLive(t.Context(), verify.CompareOptions{Snapshot: s.snapshot, Access: access(), Seeds: addrs[1:2]})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	restored, err := cluster.Discover(t.Context(), access(), addrs)
	if err != nil {
		t.Fatal(err)
	}
	owner := ownerOf(restored)
	const victim = "victim"
	at := owner(victim)
	expiry := do(t, at, "PEXPIRETIME", victim)
	restoreVictim := []any{"RESTORE", victim, expiry, do(t, at, "DUMP", victim), "ABSTTL", "REPLACE"}
	for _, c := range []struct {
		name, code, words string
		cause, mend       []any
	}{
		{"one key removed", "key-missing", `"victim"`, []any{"DEL", victim}, restoreVictim},
		{"one of another type", "key-type", `"victim"`, []any{"EVAL", "redis.call('DEL', KEYS[1]); return redis.call('RPUSH', KEYS[1], 'x')", 1, victim}, restoreVictim},
		{"one expiry lost", "key-expiry", `"victim"`, []any{"PERSIST", victim}, restoreVictim},
		{"one expiry changed", "key-expiry", `"victim"`, []any{"PEXPIREAT", victim, "4102444800000"}, restoreVictim},
		{"one value changed", "key-value", `"victim"`, []any{"SETRANGE", victim, 1, "a"}, restoreVictim},
		{"one key added", "key-unexpected", `"{victim}new"`, []any{"SET", "{victim}new", "x"}, []any{"DEL", "{victim}new"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			do(t, at, c.cause...)
			got := compare(t)
			if got.Equal() || !mentions(got, c.code, c.words) {
				t.Errorf("findings: %v", got.Findings)
			}
			do(t, at, c.mend...)
		})
	}
	if got := compare(t); !got.Equal() {
		t.Errorf("after mending: %v", got.Findings)
	}
	t.Run("proved by the slot index", func(t *testing.T) {
		// A dump is read only where the index does not prove what the cluster holds.
		for _, shard := range s.snapshot.Manifest.Shards {
			for store := range s.roots {
				s.damage(t, store, shard.Dump.Object)
				defer s.damage(t, store, shard.Dump.Object) // back
			}
		}
		got := compare(t)
		if !got.Equal() || got.Keys+got.Expired != s.snapshot.Manifest.Keys() || got.Digest == (rdb.Digest{}) {
			t.Errorf("%d keys, %d expired, %s: %v", got.Keys, got.Expired, got.Digest, got.Findings)
		}
		do(t, at, "SETRANGE", victim, 1, "a")
		options := verify.CompareOptions{Snapshot: s.snapshot, Access: access(), Seeds: addrs}
		if c, err := verify.CompareLive(t.Context(), options); err == nil || !strings.Contains(err.Error(), "store there: read dump of shard") {
			t.Errorf("what the index does not prove was compared with a damaged dump: %+v, %v", c, err)
		}
		do(t, at, restoreVictim...)
	})
	do(t, at, "FUNCTION", "FLUSH")
	if got := compare(t); got.Equal() || !mentions(got, "functions-differ", at) {
		t.Errorf("after FUNCTION FLUSH: %v", got.Findings)
	}
}

func mentions(c *verify.Comparison, code, words string) bool {
	for _, f := range c.Findings {
		if f.Code == code && strings.Contains(f.Subject+f.Detail, words) {
			return true
		}
	}
	return false
}

// replayCancelled stops a restore at each of its steps, and once in the middle
// of loading. The targets must be empty and alone again each time.
func replayCancelled(t *testing.T, s *source) {
	addrs := emptyNodes(t, 4)
	for _, phase := range []string{"check", "assign", "join", "load", "functions", "replicas", "compare", "mid-load"} {
		t.Run(phase, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := restore.Run(ctx, restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Replicas: restore.AllReplicas,
				Progress: func(e progress.Event) {
					if e.Task == "restore" && e.Phase == phase || phase == "mid-load" && e.Phase == "load" && e.Keys > 0 && !e.Ended {
						cancel()
					}
				}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want cancelled", err)
			}
			if phase != "check" && !strings.Contains(fmt.Sprint(err), "undone: 4 nodes are empty again") {
				t.Errorf("error %q does not say that it was undone", err)
			}
			requireEmpty(t, addrs)
		})
	}
	// And they are as good as new.
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Replicas: restore.AllReplicas})
	if err != nil || !result.Complete() {
		t.Fatalf("restore after the cancels: %v %+v", err, result)
	}
	sameLayout(t, s.snapshot.Manifest, addrs, 1)
}

// replayThroughOutage takes a slot away from a node while it is loaded, so that it
// finds the cluster down and refuses keys, and gives it back when it has refused one.
func replayThroughOutage(t *testing.T, s *source) {
	addrs := emptyNodes(t, 3)
	var once sync.Once
	var back sync.WaitGroup
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Progress: func(e progress.Event) {
		if e.Phase == "load" && e.Task == "shard 0-5460" && e.Keys > 0 && !e.Ended {
			once.Do(func() {
				do(t, addrs[0], "CLUSTER", "DELSLOTS", 0)
				back.Go(func() {
					clustertest.Eventually(t, time.Minute, func(context.Context) error {
						if !strings.Contains(do(t, addrs[0], "INFO", "errorstats").(string), "errorstat_CLUSTERDOWN") {
							return errors.New("it has refused no key yet")
						}
						return nil
					})
					do(t, addrs[0], "CLUSTER", "ADDSLOTS", 0)
				})
			})
		}
	}})
	back.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !result.Complete() || result.Keys != s.snapshot.Manifest.Keys() || !strings.Contains(fmt.Sprint(result.Notes), "loaded anew") {
		t.Errorf("%d keys, findings %v %v, notes %v", result.Keys, result.Findings, result.Comparison.Findings, result.Notes)
	}
}

// replayDamaged damages the first store's copy, then the other's too.
func replayDamaged(t *testing.T, s *source) {
	object := s.snapshot.Manifest.Shards[1].Dump.Object
	s.damage(t, 0, object)
	addrs := emptyNodes(t, 3)
	var mu sync.Mutex
	var undone bool
	o := restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Progress: func(e progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		undone = undone || e.Phase == "undo"
	}}
	result, err := restore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if result.Shards[1].Stores[0] != "there" || result.Shards[0].Stores[0] != "here" {
		t.Errorf("shards came from %s and %s", result.Shards[0].Stores, result.Shards[1].Stores)
	}
	// Comparing reads the snapshot again, and from the first store: it must
	// not call equal what it could not read.
	if result.Complete() || len(result.Findings) == 0 || result.Findings[0].Code != "store-failed" {
		t.Errorf("findings %v", result.Findings)
	}

	s.damage(t, 1, object)
	o.To = emptyNodes(t, 3)
	_, err = restore.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "undone: 3 nodes are empty again") || !undone {
		t.Errorf("both stores damaged: %v", err)
	}
	t.Log(err)
	requireEmpty(t, o.To)
}

// TestReplayExpiring restores keys that expire before, while and after they
// are restored. Whatever has expired is accounted for.
func TestReplayExpiring(t *testing.T) {
	t.Parallel()
	const short = 3 * time.Second
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 6000, Seed: 2, ExpiringShare: 0.6, ShortShare: 0.5, ShortTTL: short}, nil)
	loaded := s.snapshot.Manifest.Finished
	run := func(t *testing.T) *restore.Result {
		t.Helper()
		result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: emptyNodes(t, 2), Access: access()})
		if err != nil {
			t.Fatal(err)
		}
		if !result.Complete() {
			t.Fatalf("findings: %v %+v", result.Findings, result.Comparison)
		}
		return result
	}
	first := run(t)
	t.Logf("%d had expired when the first restore was compared", first.Comparison.Expired)
	clustertest.Eventually(t, time.Minute, func(context.Context) error {
		now := do(t, s.Addrs()[0], "TIME").([]any)
		if fmt.Sprint(now[0]) <= fmt.Sprint(loaded.Add(short).Unix()) {
			return errors.New("not all short keys have expired")
		}
		return nil
	})
	second := run(t)
	if short := uint64(s.stats.Short); second.Comparison.Expired == 0 || second.Comparison.Expired > short {
		t.Errorf("%d expired, want some and at most %d", second.Comparison.Expired, short)
	}
	if got := second.Comparison.Keys + second.Comparison.Expired; got != s.snapshot.Manifest.Keys() {
		t.Errorf("%d keys accounted for, want %d", got, s.snapshot.Manifest.Keys())
	}
}

// TestReplayTargetDies kills one of the nodes while it is loaded. What can be
// undone is; the error names what cannot.
func TestReplayTargetDies(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 30_000, Seed: 5}, nil)
	addrs := emptyNodes(t, 1)
	victim := startNode(t, redisproc.Options{Dir: t.TempDir(), Password: password, Args: clusterArgs()})
	var once sync.Once
	_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: []string{addrs[0], victim.Addr()}, Access: access(),
		Progress: func(e progress.Event) {
			if e.Phase == "load" && e.Keys > 0 {
				once.Do(func() { _ = victim.Kill() })
			}
		}})
	if err == nil || !strings.Contains(err.Error(), "undone on 1 of 2 nodes, not on "+victim.Addr()+": after") || len(hint.Of(err)) == 0 {
		t.Errorf("error %v", err)
	}
	t.Log(err, hint.Of(err))
	requireEmpty(t, addrs)
}
