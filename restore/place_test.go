package restore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

func describe(places []place) string {
	var parts []string
	for _, p := range places {
		role := "r"
		if p.primary {
			role = "p"
		}
		parts = append(parts, fmt.Sprintf("%s=%s%d", p.addr(), role, p.shard))
	}
	return strings.Join(parts, " ")
}

func TestDistribute(t *testing.T) {
	for _, c := range []struct {
		name, given, want string
		shards, replicas  int
		spread            bool
	}{
		{"one host keeps its order", "h:1 h:2 h:3 h:4 h:5", "h:1=p0 h:2=p1 h:3=p2 h:4=r0 h:5=r1", 3, AllReplicas, true},
		{"primaries on different hosts", "a:1 a:2 b:1 b:2", "a:1=p0 b:1=p1 a:2=r1 b:2=r0", 2, AllReplicas, true},
		{"as given, replicas elsewhere", "a:1 b:1 a:2 b:2", "a:1=p0 b:1=p1 a:2=r1 b:2=r0", 2, AllReplicas, false},
		{"in turn before elsewhere", "a:1 b:1 b:2 b:3", "a:1=p0 b:1=p1 b:2=r0 b:3=r1", 2, AllReplicas, false},
		{"two replicas each", "a:1 b:1 c:1 c:2 d:1 d:2", "a:1=p0 b:1=p1 c:1=r0 c:2=r1 d:1=r0 d:2=r1", 2, AllReplicas, false},
		{"fewer replicas than addresses", "a:1 b:1 c:1 d:1", "a:1=p0 b:1=p1 c:1=r0", 2, 1, true},
		{"no replicas", "a:1 b:1 c:1", "a:1=p0 b:1=p1", 2, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			places, err := parsePlaces(strings.Fields(c.given))
			if err != nil {
				t.Fatal(err)
			}
			if c.spread {
				places = spread(places)
			}
			if got := describe(distribute(places, c.shards, c.replicas)); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

// TestApart holds placements against all there are: with the same primaries none has
// fewer nodes of a shard on one host, nor of these fewer in one zone.
func TestApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	better, clashing := 0, 0
	for range 600 {
		shards, hosts, zones := 1+rng.IntN(3), 1+rng.IntN(5), 1+rng.IntN(3)
		left := rng.IntN(7)
		replicas := left - rng.IntN(left/2+1)
		var given []place
		for i := range shards + left {
			host := rng.IntN(hosts)
			given = append(given, place{host: fmt.Sprint("h", host), zone: fmt.Sprint("z", host%zones), port: 1 + i})
		}
		given = spread(given)
		placed := distribute(given, shards, replicas)
		got, want := priceOf(placed, shards), cheapest(given, shards, replicas)
		if got != want || len(placed) != shards+replicas {
			t.Fatalf("%v: %s costs %v, there is one of %v", given, describe(placed), got, want)
		}
		used := map[int]bool{}
		for i, p := range placed {
			if used[p.port] || p.primary != (i < shards) || p.shard >= shards || i < shards && p.shard != i {
				t.Fatalf("%s", describe(placed))
			}
			used[p.port] = true
		}
		for i := range given {
			given[i].rank, given[i].primary = i, i < shards
		}
		if dealt := priceOf(inTurn(given[:shards+replicas], shards), shards); got.compare(dealt) < 0 {
			better++
		}
		if got[sameHosts]+got[sameZones] > 0 {
			clashing++
		}
	}
	if better < 10 || clashing < 100 {
		t.Errorf("%d of them are better than dealt out in turn, %d have nodes together", better, clashing)
	}
}

// cheapest tries every way of giving the addresses that are left to shards or to none.
func cheapest(given []place, shards, replicas int) price {
	var best *price
	var try func(at, used int, placed []place)
	try = func(at, used int, placed []place) {
		if at == len(given) {
			if p := priceOf(placed, shards); used == replicas && (best == nil || p.compare(*best) < 0) {
				best = &p
			}
			return
		}
		p := given[at]
		p.rank, p.primary = at, at < shards
		if p.primary {
			p.shard = at
			try(at+1, used, append(placed, p))
			return
		}
		try(at+1, used, placed)
		for s := range shards {
			p.shard = s
			try(at+1, used+1, append(slices.Clone(placed), p))
		}
	}
	try(0, 0, nil)
	return *best
}

func TestParsePlaces(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1:6379":       "10.0.0.1:6379@16379",
		"10.0.0.1:6379@20000": "10.0.0.1:6379@20000",
		"[::1]:7001":          "[::1]:7001@17001",
		"redis-0.local:7001":  "redis-0.local:7001@17001",
		"10.0.0.1:60000@1":    "10.0.0.1:60000@1",
	} {
		p, err := parsePlace(text)
		if got := fmt.Sprintf("%s@%d", p.addr(), p.busPort); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "h", ":1", "h:0", "h:65536", "h:x", "h:1@", "h:1@0", "h:60000", "::1:7001"} {
		if p, err := parsePlace(text); err == nil {
			t.Errorf("%q: %+v, want an error", text, p)
		}
	}
	if _, err := parsePlaces([]string{"h:1", "h:2", "h:1"}); err == nil {
		t.Error("one address twice: no error")
	}
}

func TestOriginalPlaces(t *testing.T) {
	node := func(id, address, primary string) manifest.Node {
		n := manifest.Node{ID: id, Address: address, Role: "primary", Primary: primary}
		if primary != "" {
			n.Role = "replica"
		}
		return n
	}
	m := &manifest.Manifest{
		Topology: manifest.Topology{Nodes: []manifest.Node{
			node("p0", "a:1", ""), node("x", "a:2", "p0"), node("y", "a:3", "p0"), node("p1", "b:1", ""), node("z", "b:2", "p1"),
		}},
		Shards: []manifest.Shard{
			{Primary: "p0", Slots: slot.SetOf(slot.Range{First: 0, Last: 1})},
			{Primary: "p1", Slots: slot.SetOf(slot.Range{First: 2, Last: 16383})},
		},
	}
	for replicas, want := range map[int]string{
		AllReplicas: "a:1=p0 b:1=p1 a:2=r0 b:2=r1 a:3=r0",
		0:           "a:1=p0 b:1=p1",
		2:           "a:1=p0 b:1=p1 a:2=r0 b:2=r1",
	} {
		places, err := originalPlaces(m, replicas)
		if got := describe(places); err != nil || got != want {
			t.Errorf("%d replicas: %s, %v; want %s", replicas, got, err, want)
		}
	}
	if _, err := originalPlaces(m, 4); err == nil {
		t.Error("4 replicas of a snapshot of 3: no error")
	}
}

func TestReadable(t *testing.T) {
	for _, c := range []struct {
		engine, version string
		reads, refuses  []int
	}{
		{"redis", "6.2.14", []int{6, 9}, []int{10, 80}},
		{"redis", "7.0.15", []int{9, 10}, []int{11, 80}},
		{"redis", "7.2.4", []int{11}, []int{12, 80}},
		{"redis", "7.4.0", []int{12}, []int{13, 80}},
		{"redis", "8.4.2", []int{12}, []int{13, 80}},
		{"redis", "8.6.0", []int{13}, []int{14}},
		{"redis", "8.8.1", []int{14}, []int{15}},
		{"redis", "8.10.0", []int{15}, []int{16, 80}},
		{"redis", "9.0.0", []int{15}, []int{80}},
		{"valkey", "7.2.5", []int{11}, []int{12, 80}},
		{"valkey", "8.1.0", []int{10, 11}, []int{12, 80}},
		{"valkey", "9.1.0", []int{10, 11, 80}, []int{12, 79, 81}},
		{"valkey", "9.2.0", []int{11, 80, 81}, []int{12, 82}},
		{"redis", "", nil, []int{9}},
	} {
		for _, rdb := range c.reads {
			if !readable(c.engine, c.version, rdb) {
				t.Errorf("%s %s: RDB %d is refused", c.engine, c.version, rdb)
			}
		}
		for _, rdb := range c.refuses {
			if readable(c.engine, c.version, rdb) {
				t.Errorf("%s %s: RDB %d is taken", c.engine, c.version, rdb)
			}
		}
	}
}

func TestQuoteKey(t *testing.T) {
	if got := quoteKey([]byte(strings.Repeat("k", 100))); got != `"`+strings.Repeat("k", 64)+`"…` {
		t.Error(got)
	}
	if got := quoteKey([]byte("a\x00\n")); got != `"a\x00\n"` {
		t.Error(got)
	}
}
