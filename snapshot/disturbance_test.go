package snapshot

import (
	"errors"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// TestDisturbance causes each change that makes a dump not count, and those that
// do no harm to it.
func TestDisturbance(t *testing.T) {
	half, rest := slot.SetOf(slot.Range{First: 0, Last: 8191}), slot.SetOf(slot.Range{First: 8192, Last: 16383})
	topology := func() *cluster.Topology {
		member := func(id string, role cluster.Role, primary string) cluster.Member {
			return cluster.Member{ID: id, Addr: id, Role: role, PrimaryID: primary, ConfigEpoch: 3, Reachable: true, LinkUp: role == cluster.RoleReplica, RunID: "run " + id, ReplID: "stream"}
		}
		return &cluster.Topology{Shards: []cluster.Shard{
			{Slots: half, Primary: member("p", cluster.RolePrimary, ""), Replicas: []cluster.Member{member("r", cluster.RoleReplica, "p"), member("s", cluster.RoleReplica, "p")}},
			{Slots: rest, Primary: member("q", cluster.RolePrimary, "")},
		}}
	}
	cases := map[string]struct {
		change  func(t *cluster.Topology)
		primary bool // the primary gave the dump, and not replica r
		want    string
	}{
		"nothing":                  {func(*cluster.Topology) {}, false, ""},
		"another shard's business": {func(t *cluster.Topology) { t.Shards[1].Primary.ID, t.Shards[1].Primary.ConfigEpoch = "x", 9 }, false, ""},
		"a failover": {func(t *cluster.Topology) {
			t.Shards[0].Primary, t.Shards[0].Replicas[0] = t.Shards[0].Replicas[0], t.Shards[0].Primary
		}, false, "no primary any more"},
		"a failover and back":           {func(t *cluster.Topology) { t.Shards[0].Primary.ConfigEpoch = 5 }, false, "from config epoch 3 to 5"},
		"a slot that went":              {func(t *cluster.Topology) { t.Shards[0].Slots = half.Minus(slot.SetOf(slot.Range{First: 7, Last: 7})) }, false, "had slots 0-8191 and has 0-6,8-8191"},
		"a slot that came":              {func(t *cluster.Topology) { t.Shards[0].Slots.Add(9000) }, false, "has 0-8191,9000 now"},
		"a primary that was restarted":  {func(t *cluster.Topology) { t.Shards[0].Primary.RunID = "another" }, true, "p was restarted"},
		"another stream":                {func(t *cluster.Topology) { t.Shards[0].Primary.ReplID = "another" }, true, "p has another replication id"},
		"a source that was restarted":   {func(t *cluster.Topology) { t.Shards[0].Replicas[0].RunID = "another" }, false, "r was restarted"},
		"a source of another stream":    {func(t *cluster.Topology) { t.Shards[0].Replicas[0].ReplID = "another" }, false, "r has another replication id"},
		"a source that follows another": {func(t *cluster.Topology) { t.Shards[0].Replicas = t.Shards[0].Replicas[1:] }, false, "r is no replica of p any more"},
		"a source that has died since": {func(t *cluster.Topology) {
			t.Shards[0].Replicas[0] = cluster.Member{ID: "r", Addr: "r", Role: cluster.RoleReplica, PrimaryID: "p"}
		}, false, ""},
		"a replica that gave no dump": {func(t *cluster.Topology) { t.Shards[0].Replicas = t.Shards[0].Replicas[:1] }, false, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before, after := topology(), topology()
			chosen := choice{shard: before.Shards[0], source: before.Shards[0].Replicas[0]}
			if c.primary {
				chosen.source = before.Shards[0].Primary
			}
			c.change(after)
			got := chosen.disturbance(after)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	// A primary that has no replica takes a new id with its first one: we are it.
	lone := topology()
	chosen := choice{shard: lone.Shards[1], source: lone.Shards[1].Primary}
	after := topology()
	after.Shards[1].Primary.ReplID = "another"
	if got := chosen.disturbance(after); got != "" {
		t.Errorf("a primary that met its first replica: %s", got)
	}
}

// TestAtRest: a dump says itself that slots were on their way to its node.
func TestAtRest(t *testing.T) {
	cases := map[string]struct {
		report rdb.Report
		says   string
	}{
		"at rest":            {rdb.Report{Aux: map[string]string{"redis-ver": "8.4.0", "cluster-asm-task": ""}}, ""},
		"Redis 8.4's task":   {rdb.Report{Aux: map[string]string{"cluster-asm-task": "0-99 of another"}}, "0-99 of another"},
		"Valkey 9's imports": {rdb.Report{Imports: slot.SetOf(slot.Range{First: 5, Last: 9})}, "slots 5-9 were being migrated"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := atRest(&c.report)
			if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, ErrDisturbed) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
