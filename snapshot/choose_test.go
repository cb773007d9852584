package snapshot

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/slot"
)

// noAgent is named and never asked.
type noAgent struct{ Agent }

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
		refused  string
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
		"one with an agent": {replicas: []cluster.Member{replica("a", nil), replica("b", func(m *cluster.Member) { m.Offset = 990 })},
			options: Options{Collect: CollectAgent, Agents: map[string]Agent{"b": noAgent{}}}, want: "b", lag: 10, why: "replica a has no agent"},
		"the primary has the agent": {replicas: []cluster.Member{replica("a", nil)}, options: Options{Collect: CollectAgent, Agents: map[string]Agent{"primary": noAgent{}}},
			want: "primary", why: "replica a has no agent"},
		"nobody has an agent":       {replicas: []cluster.Member{replica("a", nil)}, options: Options{Collect: CollectAgent}, want: "a"},
		"auto needs no agent":       {replicas: []cluster.Member{replica("a", nil), replica("b", nil)}, options: Options{Agents: map[string]Agent{"b": noAgent{}}}, want: "a"},
		"primaries are asked for":   {replicas: []cluster.Member{replica("a", nil)}, options: Options{Replicas: ReplicasNever}, want: "primary"},
		"replicas alone":            {replicas: []cluster.Member{replica("a", nil)}, options: Options{Replicas: ReplicasRequire}, want: "a"},
		"replicas alone, and none":  {options: Options{Replicas: ReplicasRequire}, refused: "it has none"},
		"replicas alone, and unfit": {replicas: []cluster.Member{replica("a", func(m *cluster.Member) { m.Loading = true })}, options: Options{Replicas: ReplicasRequire}, refused: "replica a is loading"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.options.MaxLag = 100
			topology := &cluster.Topology{Shards: []cluster.Shard{
				{Slots: slot.Full(), Primary: cluster.Member{ID: "primary", Addr: "primary", Role: cluster.RolePrimary, Offset: 1000}, Replicas: c.replicas},
				{Primary: cluster.Member{ID: "without slots", Role: cluster.RolePrimary}},
			}}
			chosen, err := choose(topology, c.options.withDefaults())
			if c.refused != "" {
				if !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v, want a refusal that says %q", err, c.refused)
				}
				return
			}
			if err != nil || len(chosen) != 1 {
				t.Fatalf("%d nodes chosen, want one: a primary without slots has nothing to give", len(chosen))
			}
			got := chosen[0]
			if got.source.ID != c.want || got.lag != c.lag || got.why != c.why {
				t.Errorf("chose %s, %d bytes behind, because %q; want %s, %d, %q", got.source.ID, got.lag, got.why, c.want, c.lag, c.why)
			}
		})
	}
}

// TestNext is which node is asked at each try.
func TestNext(t *testing.T) {
	of := func(ids ...string) (fit []choice) {
		for _, id := range ids {
			fit = append(fit, choice{source: cluster.Member{ID: id}})
		}
		return fit
	}
	always := func(fit []choice) func(int) []choice { return func(int) []choice { return fit } }
	cases := map[string]struct {
		fit    func(try int) []choice
		inVain bool
		want   []string
	}{
		"the same again, then each other, then from the front": {fit: always(of("a", "b", "p")), want: []string{"a", "a", "b", "p", "b", "p", "a"}},
		"one that could not save is not asked twice in a row":  {fit: always(of("a", "p")), inVain: true, want: []string{"a", "p", "a", "p"}},
		"one that could not save, and there is no other":       {fit: always(of("p")), inVain: true, want: []string{"p", "p", "p"}},
		"one that is not fit any more":                         {fit: func(try int) []choice { return of("a", "b", "p")[min(try-1, 1):] }, want: []string{"a", "b", "p", "b"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			next := c.fit(1)[0]
			next.try = 1
			got := []string{next.source.ID}
			for len(got) < len(c.want) {
				next = next.next(c.fit(next.try+1), c.inVain)
				got = append(got, next.source.ID)
				if next.try != len(got) {
					t.Errorf("try %d is counted as %d", len(got), next.try)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("asked %v, want %v", got, c.want)
			}
		})
	}
}
