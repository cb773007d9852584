package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// divided is a snapshot, in two stores, of a cluster of three shards, whose
// append-only files hold all that makes them hard to deal out by slot.
type divided struct {
	*sets
	binary   string   // of all servers; "" is the machine's own
	args     []string // of all servers, beside the usual ones
	snapshot *catalog.Snapshot
	source   *source // to damage the first store
}

// library is one of functions, of a name and with a function of that name.
func library(name, result string) string {
	return fmt.Sprintf("#!lua name=%s\nredis.register_function('%s_f', function() return %s end)", name, name, result)
}

func newDivided(t *testing.T, binary string) *divided {
	t.Helper()
	c := clustertest.Start(t, clustertest.Options{Binary: binary, Password: password, ExtraArgs: []string{"--appendonly", "yes", "--aof-timestamp-enabled", "yes"}})
	d := &divided{sets: &sets{Cluster: c}, binary: binary}
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	fill := func(keys int, seed uint64) {
		if _, err := dataset.Load(t.Context(), c.Access(), topology, dataset.Options{Keys: keys, Seed: seed}); err != nil {
			t.Fatal(err)
		}
	}
	fill(1_000, 71)
	// One shard has increments alone, one a base that is a dump, of which everything
	// goes, one a base of commands.
	d.rewrite(t, c.Addrs()[1])
	do(t, c.Addrs()[2], "CONFIG", "SET", "aof-use-rdb-preamble", "no")
	d.script(t, c.Nodes[0], "redis.call('SET', KEYS[1], 1) redis.call('FLUSHALL', 'ASYNC') redis.call('SET', KEYS[2], 1) redis.call('DEL', KEYS[2])")
	do(t, c.Addrs()[1], "flushdb", "sync")
	do(t, c.Addrs()[2], "FLUSHALL")
	fill(1_500, 72)
	d.rewrite(t, c.Addrs()[2])
	for i, n := range c.Primaries() {
		d.libraries(t, n, i)
		d.script(t, n, "redis.call('LPUSH', KEYS[2], redis.call('INCRBY', KEYS[1], 5), KEYS[2])")
		d.past(t, n)
	}
	d.take(t)
	return d
}

// take takes the snapshot, of a cluster that is written to, into two stores.
func (d *divided) take(t *testing.T) {
	t.Helper()
	var roots []string
	var stores []storage.Named
	for _, name := range []string{"here", "there"} {
		roots = append(roots, t.TempDir())
		stores = append(stores, storage.Named{Name: name, Store: fs.Open(roots[len(roots)-1])})
	}
	stop := d.write(t)
	_, err := snapshot.Take(t.Context(), snapshot.Options{Cluster: "prod", Seeds: d.Addrs(), Access: d.Access(), Stores: stores, AOF: true, Build: "test"})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	if d.snapshot, err = repository.Find(t.Context(), "prod", catalog.Latest); err != nil {
		t.Fatal(err)
	}
	d.source = &source{snapshot: d.snapshot, roots: roots}
}

// script runs one on two keys of a node that are in different slots: a server
// writes what it does as one transaction.
func (d *divided) script(t *testing.T, n *clustertest.Node, code string) {
	t.Helper()
	code = strings.NewReplacer("KEYS[1]", "'"+keyIn(n, "one")+"'", "KEYS[2]", "'"+keyIn(n, "another")+"'").Replace(code)
	do(t, n.Addr(), "EVAL", code, 0)
}

// libraries leaves the same two libraries on each node, by another way on each.
func (d *divided) libraries(t *testing.T, n *clustertest.Node, way int) {
	t.Helper()
	load := func(code string) { do(t, n.Addr(), "FUNCTION", "LOAD", "REPLACE", code) }
	long := library("long", "'"+strings.Repeat("x", 100_000)+"'") // longer than what is kept of an argument
	switch way {
	case 0:
		load(library("stock", "1"))
		load(library("wrong", "2"))
		load(long)
		do(t, n.Addr(), "FUNCTION", "DELETE", "wrong")
		do(t, n.Addr(), "FUNCTION", "DELETE", "slotark_demo")
	case 1:
		load(library("wrong", "3"))
		do(t, n.Addr(), "FUNCTION", "FLUSH", "SYNC")
		load(library("stock", "0"))
		load(library("stock", "1"))
		load(long)
	default:
		payload := do(t, d.Addrs()[0], "FUNCTION", "DUMP").(string)
		do(t, n.Addr(), "FUNCTION", "RESTORE", payload, "FLUSH")
	}
	if fields := do(t, n.Addr(), "COMMAND", "INFO", "HPEXPIRE").([]any); fields[0] != nil {
		hash := keyIn(n, "fields")
		do(t, n.Addr(), "HSET", hash, "a", 1, "b", 2)
		do(t, n.Addr(), "HPEXPIRE", hash, 3_600_000, "FIELDS", 1, "a")
	}
}

// rewrite has nodes begin their files anew.
func (d *divided) rewrite(t *testing.T, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		do(t, addr, "BGREWRITEAOF")
		node := d.Access().Open(addr)
		defer node.Close()
		clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
			info, err := node.Info(ctx, "persistence")
			if err == nil && (info.Int("aof_rewrite_in_progress") != 0 || info.Int("aof_rewrite_scheduled") != 0) {
				err = errors.New("a rewrite is running")
			}
			return err
		})
	}
}

// write writes to all nodes, until it is told to stop.
func (d *divided) write(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	client := d.Client()
	wait.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("written:%d", i%300)
			err := errors.Join(client.Incr(ctx, key).Err(), client.PExpire(ctx, key, time.Hour).Err(), client.RPush(ctx, key+"l", i).Err())
			if err != nil && ctx.Err() == nil {
				t.Errorf("write: %v", err)
				return
			}
			<-time.After(2 * time.Millisecond)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	t.Cleanup(stop)
	return stop
}

// nodes starts empty ones of the snapshot's own server.
func (d *divided) nodes(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		addrs = append(addrs, startNode(t, redisproc.Options{Binary: d.binary, Dir: t.TempDir(), Password: password, Args: append(clusterArgs(), d.args...)}).Addr())
	}
	return addrs
}

// options restore the snapshot's sets onto other shards.
func (d *divided) options(layout []slot.Set) restore.Options {
	return restore.Options{Snapshot: d.snapshot, Access: access(), AOF: true, Layout: layout, Replicas: restore.AllReplicas}
}

var uneven = []slot.Set{
	slot.SetOf(slot.Range{First: 0, Last: 99}, slot.Range{First: 16000, Last: 16383}),
	slot.SetOf(slot.Range{First: 100, Last: 4999}),
	slot.SetOf(slot.Range{First: 5000, Last: 15999}),
}

// TestDividedSets restores append-only files onto shards of other slots, and from
// damaged copies. Fewer shards and more are rows of [TestMatrix].
func TestDividedSets(t *testing.T) {
	t.Parallel()
	d := newDivided(t, "")
	for i, s := range d.snapshot.Manifest.Shards {
		files := s.AOF.Files
		if base := files[0].Kind == "base" && (files[0].DumpBytes > 0) == (i == 1); !s.AOF.Aligned || i > 0 && !base {
			t.Fatalf("shard %d: %+v", i, s.AOF)
		}
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) { d.wantWhole(t, way, d.options(uneven)) })
	}
	t.Run("killed", d.killedSets)
	t.Run("damaged", d.damagedSets)
}

// damagedSets has one store's copy of an increment, then both, be damaged.
func (d *divided) damagedSets(t *testing.T) {
	files := d.snapshot.Manifest.Shards[1].AOF.Files
	object := files[len(files)-1].Object
	layout := restore.Balanced(2)
	d.source.damage(t, 0, object)
	for _, way := range ways {
		result, addrs := way.restore(t, d, d.options(layout))
		d.wantSame(t, addrs, true)
		if len(result.Findings) != 1 || result.Findings[0].Code != "store-failed" || !slices.Contains(result.Shards[1].Stores, "there") || result.Keys != d.snapshot.Manifest.Keys() {
			t.Errorf("findings %v, from %s", result.Findings, result.Shards[1].Stores)
		}
	}
	d.source.damage(t, 1, object)
	o := d.options(layout)
	o.To = d.nodes(t, 2)
	if _, err := restore.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "load shard "+d.snapshot.Manifest.Shards[1].Slots.String()) {
		t.Errorf("got %v", err)
	}
	requireEmpty(t, o.To)
	o = d.options(layout)
	o.ToDir, o.At = filepath.Join(t.TempDir(), "new"), freeAddrs(t, 2)
	if _, err := restore.Run(t.Context(), o); err == nil {
		t.Error("files that are damaged in both stores were seeded")
	}
	if _, err := os.Stat(o.ToDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}
