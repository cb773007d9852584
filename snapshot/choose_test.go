package snapshot

import (
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/slot"
)

func TestChoose(t *testing.T) {
	replica := func(id string, change func(*cluster.Member)) cluster.Member {
		m := cluster.Member{ID: id, Addr: id, Role: cluster.RoleReplica, Reachable: true, LinkUp: true, Offset: 1000}
		if change != nil {
			change(&m)
		}
		return m
	}
	cases := map[string]struct {
		replicas []cluster.Member
		options  Options
		want     string
		lag      int64
		why      string
	}{
		"no replica":                {want: "primary"},
		"a replica in step":         {replicas: []cluster.Member{replica("a", nil)}, want: "a"},
		"the one least behind":      {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Offset = 900 }), replica("b", func(m *cluster.Member) { m.Offset = 990 })}, want: "b", lag: 10},
		"always the same of two":    {replicas: []cluster.Member{replica("b", nil), replica("a", nil)}, want: "a"},
		"one that looks ahead":      {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Offset = 1005 })}, want: "a"},
		"at the limit":              {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Offset = 900 })}, want: "a", lag: 100},
		"past the limit":            {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Offset = 899 })}, want: "primary", why: "replica a is 101 bytes behind"},
		"not reachable":             {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Reachable = false })}, want: "primary", why: "replica a cannot be reached"},
		"loading":                   {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Loading = true })}, want: "primary", why: "replica a is loading"},
		"in a full sync":            {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.SyncInProgress = true })}, want: "primary", why: "replica a is in a full sync"},
		"without its primary":       {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.LinkUp = false })}, want: "primary", why: "replica a has lost its primary"},
		"long silent":               {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.LastIO = 16 * time.Second })}, want: "primary", why: "replica a has not heard from its primary for 16s"},
		"a fit one beside an unfit": {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.LinkUp = false }), replica("b", nil)}, want: "b"},
		"primaries are asked for":   {replicas: []cluster.Member{replica("a", nil)}, options: Options{Primary: true}, want: "primary"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.options.MaxLag = 100
			topology := &cluster.Topology{Shards: []cluster.Shard{
				{Slots: slot.Full(), Primary: cluster.Member{ID: "primary", Addr: "primary", Role: cluster.RolePrimary, Offset: 1000}, Replicas: c.replicas},
				{Primary: cluster.Member{ID: "without slots", Role: cluster.RolePrimary}},
			}}
			chosen := choose(topology, c.options)
			if len(chosen) != 1 {
				t.Fatalf("%d nodes chosen, want one: a primary without slots has nothing to give", len(chosen))
			}
			got := chosen[0]
			if got.source.ID != c.want || got.lag != c.lag || got.why != c.why {
				t.Errorf("chose %s, %d bytes behind, because %q; want %s, %d, %q", got.source.ID, got.lag, got.why, c.want, c.lag, c.why)
			}
		})
	}
}
