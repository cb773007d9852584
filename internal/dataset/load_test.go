package dataset_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

func load(t *testing.T, c *clustertest.Cluster, o dataset.Options) *dataset.Stats {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	stats, err := dataset.Load(t.Context(), c.Access(), topology, o)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// ask runs a command on every primary and returns the integers it answers.
func ask(t *testing.T, c *clustertest.Cluster, args ...any) (total int64) {
	t.Helper()
	for _, n := range c.Primaries() {
		node := c.Access().Open(n.Addr())
		defer func() { _ = node.Close() }()
		n, err := node.Int(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

func TestLoadHundredThousandKeys(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Password: "secret"})
	stats := load(t, c, dataset.Options{Keys: 100_000, Seed: 1})
	t.Logf("%d keys, %d bytes in %s: %v", stats.Keys, stats.Bytes, stats.Elapsed.Round(time.Millisecond), stats.Types)
	if n := ask(t, c, "DBSIZE"); n != 100_000 || stats.Keys != 100_000 || stats.Functions != 3 {
		t.Errorf("%d keys in the cluster, %+v", n, stats)
	}
	if share := float64(stats.Expiring) / 100_000; share < 0.28 || share > 0.32 || stats.Short != 0 {
		t.Errorf("%d expire, %d of them soon", stats.Expiring, stats.Short)
	}
}

// Every kind is there, is of the type it says, and has the encoding it is named
// after, as this server names it.
func TestEveryKindIsThere(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Primaries: 1})
	kinds := dataset.Kinds()
	stats := load(t, c, dataset.Options{Keys: len(kinds), Seed: 7, ExpiringShare: -1})
	for _, kind := range kinds {
		if stats.Kinds[kind] != 1 {
			t.Errorf("%d keys of kind %s", stats.Kinds[kind], kind)
		}
	}
	node := c.Access().Open(c.Addrs()[0])
	defer func() { _ = node.Close() }()
	got := map[string]int{}
	for _, name := range keys(t, node) {
		typ, err := node.Text(t.Context(), "TYPE", name)
		if err != nil {
			t.Fatal(err)
		}
		encoding, err := node.Text(t.Context(), "OBJECT", "ENCODING", name)
		if err != nil {
			t.Fatal(err)
		}
		got[typ+" "+encoding]++
	}
	want := []string{
		"string int", "string embstr", "string raw", "list quicklist", "set intset", "set hashtable",
		"zset listpack", "zset skiplist", "hash listpack", "hash hashtable", "stream stream",
	}
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("no key is a %s: %v", w, got)
		}
	}
	if functions, err := node.Do(t.Context(), "FUNCTION", "LIST"); err != nil || len(functions.([]any)) != 1 {
		t.Errorf("functions: %v, %v", functions, err)
	}
}

// keys are all keys of a node, sorted.
func keys(t *testing.T, node *cluster.Node) []string {
	t.Helper()
	reply, err := node.Do(t.Context(), "KEYS", "*")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range reply.([]any) {
		names = append(names, name.(string))
	}
	slices.Sort(names)
	return names
}

// contents are all keys with a digest of their values and whether they expire,
// as the server sees them. DEBUG DIGEST-VALUE is independent of encodings.
func contents(t *testing.T, c *clustertest.Cluster) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, n := range c.Primaries() {
		node := c.Access().Open(n.Addr())
		defer func() { _ = node.Close() }()
		for _, name := range keys(t, node) {
			replies, err := node.Pipeline(t.Context(), [][]any{{"DEBUG", "DIGEST-VALUE", name}, {"PTTL", name}, {"TYPE", name}})
			if err != nil {
				t.Fatal(err)
			}
			digest, ttl := replies[0], replies[1].(int64)
			if replies[2] == "stream" {
				digest = "" // the server puts no stream's content into its digest
			}
			// A minute's grain: the two loads are not at the same instant.
			all[name] = fmt.Sprint(digest, " expires ", ttl >= 0, " ", replies[2])
		}
	}
	return all
}

// Equal seeds give equal keys, whatever the cluster's shape; others do not.
func TestSeed(t *testing.T) {
	o := dataset.Options{Keys: 2000, Seed: 3}
	debug := []string{"--enable-debug-command", "yes"}
	three := clustertest.Start(t, clustertest.Options{Password: "x", ExtraArgs: debug})
	one := clustertest.Start(t, clustertest.Options{Primaries: 1, ExtraArgs: debug})
	first, second := load(t, three, o), load(t, one, o)
	if diff := cmp.Diff(first.Kinds, second.Kinds); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(contents(t, three), contents(t, one)); diff != "" {
		t.Error(diff)
	}
	other := clustertest.Start(t, clustertest.Options{Primaries: 1, ExtraArgs: debug})
	o.Seed = 4
	load(t, other, o)
	if cmp.Equal(contents(t, one), contents(t, other)) {
		t.Error("two seeds gave the same keys")
	}
}

// Keys with a short expiry are gone soon, the others are not.
func TestShortTTL(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	stats := load(t, c, dataset.Options{Keys: 1000, Seed: 5, ExpiringShare: 0.5, ShortShare: 0.5, ShortTTL: 500 * time.Millisecond})
	if stats.Short < 150 || stats.Short > 350 || stats.Expiring <= stats.Short {
		t.Fatalf("%+v", stats)
	}
	clustertest.Eventually(t, 20*time.Second, func(context.Context) error {
		if n := ask(t, c, "DBSIZE"); n != int64(1000-stats.Short) {
			return fmt.Errorf("%d keys", n)
		}
		return nil
	})
}

// A refusal in the middle of the pipeline ends it, and is what is reported.
func TestLoadRefused(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{ExtraArgs: []string{"--maxmemory", "4mb"}})
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	_, err = dataset.Load(t.Context(), c.Access(), topology, dataset.Options{Keys: 50_000})
	if !cluster.IsCode(err, "OOM") || !strings.Contains(err.Error(), "load keys into 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dataset.Load(ctx, c.Access(), topology, dataset.Options{Keys: 1000}); err == nil {
		t.Error("a cancelled load succeeded")
	}
}
