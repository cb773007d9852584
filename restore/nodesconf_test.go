package restore

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/slot"
)

var update = flag.Bool("update", false, "write the golden files")

func exampleNodes() []confNode {
	id := func(c string) string { return strings.Repeat(c, 40) }
	at := func(ip string, port, bus, shard int, primary bool) place {
		return place{host: ip, ip: netip.MustParseAddr(ip), port: port, busPort: bus, shard: shard, primary: primary}
	}
	return []confNode{
		{place: at("10.0.0.1", 6379, 16379, 0, true), id: id("a"), epoch: 1, slots: slot.SetOf(slot.Range{First: 0, Last: 5460}, slot.Range{First: 5462, Last: 5462})},
		{place: at("10.0.0.2", 6379, 16380, 1, true), id: id("b"), epoch: 2, slots: slot.SetOf(slot.Range{First: 5461, Last: 5461}, slot.Range{First: 5463, Last: 16383})},
		{place: at("fd00::7", 7001, 17001, 1, false), id: id("c")},
	}
}

func TestNodesConfGolden(t *testing.T) {
	nodes := exampleNodes()
	for self, name := range []string{"primary.conf", "other.conf", "replica.conf"} {
		got := formatNodesConf(nodes, self)
		path := filepath.Join("testdata", "nodes-"+name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
}

// TestNodesConfParsed reads the text back as the rest of the program does.
func TestNodesConfParsed(t *testing.T) {
	nodes := exampleNodes()
	for self := range nodes {
		parsed, err := cluster.ParseNodes(formatNodesConf(nodes, self))
		if err != nil {
			t.Fatal(err)
		}
		if len(parsed) != len(nodes) {
			t.Fatalf("%d nodes, want %d", len(parsed), len(nodes))
		}
		epochs := map[uint64]bool{}
		for i, n := range parsed {
			want := nodes[i]
			if n.ID != want.id || n.Addr() != want.addr() || n.BusPort != want.busPort || n.Slots != want.slots || len(n.Aux) > 0 {
				t.Errorf("node %d: %+v, want %+v", i, n, want)
			}
			if n.Has("myself") != (i == self) || (n.Role() == cluster.RolePrimary) != want.primary {
				t.Errorf("node %d as seen by %d has flags %v", i, self, n.Flags)
			}
			if want.primary && (epochs[n.ConfigEpoch] || n.ConfigEpoch == 0) {
				t.Errorf("node %d shares its epoch %d", i, n.ConfigEpoch)
			}
			if want.primary {
				epochs[n.ConfigEpoch] = true
			} else if n.PrimaryID != nodes[want.shard].id {
				t.Errorf("node %d follows %s", i, n.PrimaryID)
			}
		}
	}
}

func TestNewNodeID(t *testing.T) {
	a, b := newNodeID(), newNodeID()
	if len(a) != 40 || a == b || strings.Trim(a, "0123456789abcdef") != "" {
		t.Errorf("ids %q and %q", a, b)
	}
}
