package restore_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
)

// oddStreams are streams that take more than XADD: without entries, with deleted ones,
// with groups whose entries wait.
func oddStreams(c *clustertest.Cluster, t *testing.T) {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	at := func(key string, args ...any) { t.Helper(); do(t, ownerOf(topology)(key), args...) }
	at("odd:empty", "XGROUP", "CREATE", "odd:empty", "g", "0", "MKSTREAM")
	at("odd:emptied", "XADD", "odd:emptied", "5-1", "a", "b")
	at("odd:emptied", "XDEL", "odd:emptied", "5-1")
	for n := range 300 {
		at("odd:many", "XADD", "odd:many", fmt.Sprintf("%d-7", n+1), "field", strings.Repeat("v", n), "\x00", "\xff")
	}
	at("odd:many", "XDEL", "odd:many", "250-7", "300-7")
	at("odd:many", "XGROUP", "CREATE", "odd:many", "readers", "0")
	at("odd:many", "XGROUP", "CREATE", "odd:many", "idle", "17-7")
	at("odd:many", "XREADGROUP", "GROUP", "readers", "one", "COUNT", 40, "STREAMS", "odd:many", ">")
	at("odd:many", "XREADGROUP", "GROUP", "readers", "two", "COUNT", 10, "STREAMS", "odd:many", ">")
	at("odd:many", "XACK", "odd:many", "readers", "3-7")
	at("odd:many", "XGROUP", "CREATECONSUMER", "odd:many", "readers", "nothing")
	at("odd:large", "SET", "odd:large", strings.Repeat("0123456789abcdef", 1<<17))
	at("odd:list", "RPUSH", "odd:list", "small", strings.Repeat("x", 300<<10), "", "last")
	at("odd:scores", "ZADD", "odd:scores", "-inf", "a", "+inf", "b", "0.1", "c", "1e-300", "d", "12345678901234567", "")
	at("odd:hash", "HSET", "odd:hash", "f", strings.Repeat("y", 200<<10), strings.Repeat("g", 100<<10), "", "", "z")
	at("odd:expires", "SET", "odd:expires", "x", "PXAT", 4102444800123)
}

// TestLogical sends values as commands, onto other shards too, for a server that would
// not read the dumps by what the manifest says.
func TestLogical(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 3_000, Seed: 3, ExpiringShare: 0.3}, func(c *clustertest.Cluster) { oddStreams(c, t) })
	for i := range s.snapshot.Manifest.Shards {
		s.snapshot.Manifest.Shards[i].Dump.RDBVersion = 12
	}
	o := restore.Options{Snapshot: s.snapshot, To: emptyNodes(t, 2), Access: access()}
	_, err := restore.Run(t.Context(), o)
	requireRefusal(t, err, "does not read what Redis 7.4 wrote")
	if !strings.Contains(fmt.Sprint(hint.Of(err)), "--logical") {
		t.Errorf("hints %q", hint.Of(err))
	}
	requireEmpty(t, o.To)
	o.Logical = true
	result, err := restore.Run(t.Context(), o)
	if err != nil || !result.Complete() || result.Keys != s.snapshot.Manifest.Keys() {
		t.Fatalf("%v %+v %+v", err, result, result.Comparison)
	}
	sameValues(t, s.topology, sameLayout(t, s.snapshot.Manifest, o.To, 0))
	o.To, o.Layout = emptyNodes(t, 3), restore.Balanced(3)
	if result, err = restore.Run(t.Context(), o); err != nil || !result.Complete() || !result.Comparison.Equal() {
		t.Fatalf("onto three: %v %+v", err, result)
	}
}

// TestLogicalRefuses finds what no command can make before anything is changed.
func TestLogicalRefuses(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 100, Seed: 3}, func(c *clustertest.Cluster) {
		addr := c.Addrs()[0]
		do(t, addr, "XADD", "lost", "1-1", "a", "b")
		do(t, addr, "XADD", "lost", "2-1", "a", "b")
		do(t, addr, "XGROUP", "CREATE", "lost", "g", "0")
		do(t, addr, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "lost", ">")
		do(t, addr, "XDEL", "lost", "1-1")
	})
	o := restore.Options{Snapshot: s.snapshot, To: emptyNodes(t, 1), Access: access(), Logical: true}
	_, err := restore.Run(t.Context(), o)
	requireRefusal(t, err, "1 key with a pending entry whose stream has it no longer")
	s.dump = func(cluster.Shard, []byte) []byte {
		var dump bytes.Buffer
		w := rdb.NewWriter(&dump, rdb.Header{Engine: "redis", Version: 10})
		for _, key := range []string{"doc:1", "doc:2"} {
			w.Key(&rdb.Record{Kind: rdb.KindKey, Key: []byte(key), Slot: slot.Of([]byte(key)), Type: typeModule, Family: rdb.Module})
			if _, err := w.Write(moduleValue("ReJSON-RL")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return dump.Bytes()
	}
	o.Snapshot = s.again(t).snapshot
	_, err = restore.Run(t.Context(), o)
	requireRefusal(t, err, "2 keys with a module's value")
	requireEmpty(t, o.To)
}
