package restore_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
)

// TestZones restores onto four machines in two zones: primaries in both, and each
// replica in the other zone than its primary. With one zone less it says that it could
// not be.
func TestZones(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 500, Seed: 3}, nil)
	zones := map[string]string{}
	var addrs []string
	for n, zone := range []string{"a", "a", "b", "b"} {
		host := fmt.Sprintf("127.0.0.%d", n+1)
		zones[host] = zone
		addrs = append(addrs, startNode(t, redisproc.Options{Dir: t.TempDir(), Host: host, Announce: redisproc.Announce{Host: host}, Password: password, Args: clusterArgs()}).Addr())
	}
	o := restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Replicas: restore.AllReplicas, Zones: zones}
	plan, err := restore.MakePlan(t.Context(), o)
	if err != nil || strings.Contains(fmt.Sprint(plan.Notes), "no placement") {
		t.Fatalf("%v %+v", err, plan)
	}
	result, err := restore.Run(t.Context(), o)
	if err != nil || !result.Complete() {
		t.Fatalf("%v %+v", err, result)
	}
	topology, err := cluster.Discover(t.Context(), access(), addrs)
	if err != nil {
		t.Fatal(err)
	}
	zoneOf := func(addr string) string {
		host, _, _ := net.SplitHostPort(addr)
		return zones[host]
	}
	primaries := map[string]bool{}
	for _, shard := range topology.Shards {
		primaries[zoneOf(shard.Primary.Addr)] = true
		if len(shard.Replicas) != 1 || zoneOf(shard.Primary.Addr) == zoneOf(shard.Replicas[0].Addr) {
			t.Errorf("%s has %v", shard.Primary.Addr, shard.Replicas)
		}
	}
	if len(primaries) != 2 {
		t.Errorf("primaries are in zones %v", primaries)
	}
	o.Zones = map[string]string{"127.0.0.1": "a", "127.0.0.2": "a", "127.0.0.3": "a"}
	o.Replacing = restore.Replacing{Name: "prod"}
	if plan, err = restore.MakePlan(t.Context(), o); err != nil || !strings.Contains(fmt.Sprint(plan.Notes), "1 shard has nodes in one zone") || !strings.Contains(fmt.Sprint(plan.Notes), "no zone is given for 127.0.0.4") {
		t.Errorf("%v %+v", err, plan)
	}
}
