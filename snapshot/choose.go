package snapshot

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/slot"
)

// maxReplicaSilence is how long a replica may not have heard from its primary:
// the primary pings every 10 s (repl-ping-replica-period).
const maxReplicaSilence = 15 * time.Second

// Which nodes of a shard may give its dump.
const (
	ReplicasPrefer  = "prefer"  // the primary where no replica is fit
	ReplicasRequire = "require" // no primary, whatever that costs
	ReplicasNever   = "never"   // no replica
)

// choice is the node that will give a shard's dump, with all that is known of
// it, and which of the shard's nodes gave none so far.
type choice struct {
	shard  cluster.Shard
	source cluster.Member
	lag    int64  // bytes behind the primary
	why    string // for a person, where it is not the expected one
	try    int    // of this shard; 1 at first
	tried  map[string]int
}

func (c choice) chosen() Chosen {
	return Chosen{Slots: c.shard.Slots, Address: c.source.Addr, Role: c.source.Role, LagBytes: c.lag, Why: c.why}
}

// Chosen is the node that gives a shard's dump.
type Chosen struct {
	Slots    slot.Set
	Address  string
	Role     cluster.Role
	LagBytes int64  // behind its primary, for a replica
	Why      string // why it is this node though another was to be expected; else empty
	Way      string // of a plan: how its dump would be had, as a snapshot's manifest names it; else empty
}

// String is the node for a person: "10.0.1.13:6379 (replica, 12 bytes behind)".
func (c Chosen) String() string {
	text := string(c.Role)
	if c.LagBytes > 0 {
		text += fmt.Sprintf(", %d bytes behind", c.LagBytes)
	}
	if c.Why != "" {
		text += ": " + c.Why
	}
	return fmt.Sprintf("%s (%s)", c.Address, text)
}

// choose picks for each shard that owns slots the healthy replica that is
// least behind, else the primary.
func choose(topology *cluster.Topology, o Options) ([]choice, error) {
	var choices []choice
	for _, shard := range topology.Shards {
		if shard.Slots.Len() == 0 {
			continue // a primary without slots holds no keys
		}
		fit, err := candidates(shard, o)
		if err != nil {
			return nil, err
		}
		fit[0].try = 1
		choices = append(choices, fit[0])
	}
	return choices, nil
}

// candidates are the nodes that may give a shard's dump, the best first: there
// is at least one.
func candidates(shard cluster.Shard, o Options) ([]choice, error) {
	primary := choice{shard: shard, source: shard.Primary}
	if o.Replicas == ReplicasNever {
		return []choice{primary}, nil
	}
	var fit []choice
	for _, replica := range shard.Replicas {
		// The two offsets are read one after the other, so a replica in step
		// can look ahead.
		lag := max(0, shard.Primary.Offset-replica.Offset)
		if reason := unfit(replica, lag, o.MaxLag); reason != "" {
			primary.why = fmt.Sprintf("replica %s %s", replica.Addr, reason)
			continue
		}
		fit = append(fit, choice{shard: shard, source: replica, lag: lag})
	}
	slices.SortFunc(fit, func(a, b choice) int {
		return cmp.Or(cmp.Compare(a.lag, b.lag), cmp.Compare(a.source.ID, b.source.ID))
	})
	if o.Replicas != ReplicasRequire {
		fit = append(fit, primary)
	}
	if len(fit) == 0 {
		return nil, hint.Refuse(fmt.Errorf("shard %s: no replica can give its dump: %s", shard.Slots, cmp.Or(primary.why, "it has none")),
			"mend the replica, let it be further behind (--max-lag), or let primaries give dumps too: --replicas prefer")
	}
	if o.Collect == CollectAgent {
		return withAgents(fit, o.Agents), nil
	}
	return fit, nil
}

// withAgents are those of some nodes that an agent is beside, and the first says
// which better one is not taken for want of one. Where there is none they stay
// as they are: what is missing is named when they are asked.
func withAgents(fit []choice, agents map[string]Agent) []choice {
	var with []choice
	for _, c := range fit {
		if agents[c.source.Addr] != nil {
			with = append(with, c)
		}
	}
	if len(with) == 0 {
		return fit
	}
	if passed := fit[0].source; passed.ID != with[0].source.ID {
		with[0].why = fmt.Sprintf("%s %s has no agent", passed.Role, passed.Addr)
	}
	return with
}

// next is the node for another try: the first one once more, unless that is
// known to be in vain, then the one that was tried least, the best first.
func (c choice) next(fit []choice, inVain bool) choice {
	tried := maps.Clone(c.tried)
	if tried == nil {
		tried = map[string]int{}
	}
	tried[c.source.ID]++
	at := slices.IndexFunc(fit, func(f choice) bool { return f.source.ID == c.source.ID })
	if at < 0 || inVain || c.try > 1 {
		at = 0
		for i, f := range fit {
			if tried[f.source.ID] < tried[fit[at].source.ID] {
				at = i
			}
		}
	}
	next := fit[at]
	next.try, next.tried = c.try+1, tried
	return next
}

// unfit says why a replica cannot give the dump; "" where it can.
func unfit(replica cluster.Member, lag, maxLag int64) string {
	switch {
	case !replica.Reachable:
		return "cannot be reached"
	case replica.Loading:
		return "is loading"
	case replica.SyncInProgress:
		return "is in a full sync"
	case !replica.LinkUp:
		return "has lost its primary"
	case replica.LastIO > maxReplicaSilence:
		return fmt.Sprintf("has not heard from its primary for %s", replica.LastIO)
	case lag > maxLag:
		return fmt.Sprintf("is %d bytes behind", lag)
	}
	return ""
}
