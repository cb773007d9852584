package snapshot

import (
	"cmp"
	"context"
	"net"
	"slices"
	"sync"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/snapshot/collect"
)

// When nodes fork.
const (
	ForksApart     = "apart"     // one at a time on each machine, so many in the cluster
	ForksStaggered = "staggered" // one at a time in the whole cluster
	ForksTogether  = "together"  // all at once, those on one machine too
)

// turns lets nodes fork in turn. Two children on one machine can take twice its
// memory, and what they write comes on top of its other work.
type turns struct {
	access  *cluster.Access
	cluster chan struct{} // holds one for each fork under way
	meeting *meeting      // of ForksTogether; else nil

	mu       sync.Mutex
	machines map[string]chan struct{}
}

// newTurns makes the turns for the shards of one snapshot.
func newTurns(o Options, shards int) *turns {
	t := &turns{access: o.Access, machines: map[string]chan struct{}{}}
	switch o.Forks {
	case ForksTogether:
		t.meeting = newMeeting(shards)
	case ForksStaggered:
		t.cluster = make(chan struct{}, 1)
	default:
		t.cluster = make(chan struct{}, o.Parallel)
	}
	return t
}

// of is the turn of a shard's node at an address.
func (t *turns) of(shard, addr string) Turn {
	if t.meeting != nil {
		return func(ctx context.Context, _ string) (func(), error) {
			// A child of somebody else would hold the fork up after all have met.
			if err := collect.AwaitIdle(ctx, t.access, addr); err != nil {
				return nil, Retryable(err)
			}
			return func() {}, t.meeting.arrive(ctx, shard)
		}
	}
	return func(ctx context.Context, machine string) (func(), error) {
		// The machine first: who waits for it keeps nobody elsewhere waiting. In
		// one order, so that nobody waits for who waits for him.
		names := []string{machineOf(t.access, addr)}
		if machine != "" && machine != names[0] {
			names = append(names, machine)
		}
		slices.Sort(names)
		var held []chan struct{}
		end := func() {
			for _, place := range slices.Backward(held) {
				<-place
			}
		}
		for _, place := range append(t.places(names), t.cluster) {
			select {
			case place <- struct{}{}:
				held = append(held, place)
			case <-ctx.Done():
				end()
				return nil, context.Cause(ctx)
			}
		}
		return end, nil
	}
}

// places are those of machines, each of which holds one.
func (t *turns) places(names []string) []chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	places := make([]chan struct{}, 0, len(names)+1)
	for _, name := range names {
		if t.machines[name] == nil {
			t.machines[name] = make(chan struct{}, 1)
		}
		places = append(places, t.machines[name])
	}
	return places
}

// thisMachine stands for every address of the machine that this runs on.
const thisMachine = "localhost"

// machineOf names the machine that a node runs on, as far as it is seen from
// here: by the host that is dialed for it. Nodes behind one forwarding host are
// taken to run on one machine: that costs time, the contrary memory.
func machineOf(access *cluster.Access, addr string) string {
	if access.Local(addr) {
		return thisMachine
	}
	host, _, err := net.SplitHostPort(cmp.Or(access.NAT[addr], addr))
	if err != nil {
		return addr
	}
	return host
}

// meeting holds who arrives until all shards have, for the first time. Later
// on it holds nobody.
type meeting struct {
	mu      sync.Mutex
	awaited int
	arrived map[string]bool
	all     chan struct{}
}

func newMeeting(shards int) *meeting {
	return &meeting{awaited: shards, arrived: map[string]bool{}, all: make(chan struct{})}
}

func (m *meeting) arrive(ctx context.Context, shard string) error {
	m.mu.Lock()
	if !m.arrived[shard] {
		m.arrived[shard] = true
		if len(m.arrived) == m.awaited {
			close(m.all)
		}
	}
	m.mu.Unlock()
	select {
	case <-m.all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
