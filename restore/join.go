package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"golang.org/x/sync/errgroup"
)

// eachTarget does something on all nodes at once, within a bound.
func (r *run) eachTarget(ctx context.Context, do func(context.Context, int, *target) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxAsked)
	for i, t := range r.targets {
		group.Go(func() error { return do(ctx, i, t) })
	}
	return group.Wait()
}

// assign gives every node an epoch of its own and every primary its slots.
func (r *run) assign(ctx context.Context) error {
	return r.eachTarget(ctx, func(ctx context.Context, i int, t *target) error {
		var has targetState // nothing, when it was found empty
		if r.before != nil {
			var err error
			if has, err = r.stateOf(ctx, i, t); err != nil {
				return err
			}
		}
		if !has.hasEpoch {
			if _, err := t.node.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
				return err
			}
		}
		if !t.primary || has.slots {
			return nil
		}
		_, err := t.node.Do(ctx, r.addSlots(t)...)
		return err
	})
}

// assigned tells whether every node has its epoch and its slots.
func (r *run) assigned(ctx context.Context) (bool, error) {
	has := make([]bool, len(r.targets))
	err := r.eachTarget(ctx, func(ctx context.Context, i int, t *target) error {
		state, err := r.stateOf(ctx, i, t)
		// A replica that is attached shows its primary's epoch.
		has[i] = state.slots && (state.hasEpoch || state.self.PrimaryID != "")
		return err
	})
	return !slices.Contains(has, false), err
}

// addSlots is one command for all slots: either all are taken or none.
func (r *run) addSlots(t *target) []any {
	slots := r.layout[t.shard]
	if version, _ := parseRelease(t.version); !version.atLeast(7, 0) {
		args := []any{"CLUSTER", "ADDSLOTS"}
		for n := range slots.All() {
			args = append(args, n)
		}
		return args
	}
	args := []any{"CLUSTER", "ADDSLOTSRANGE"}
	for _, part := range slots.Ranges() {
		args = append(args, part.First, part.Last)
	}
	return args
}

const (
	// maxPairwise is up to how many nodes every node is introduced to every
	// other. It spares the rounds of gossip in which they would hear of each
	// other; in larger clusters it would cost more than it saves.
	maxPairwise = 32
	// joinLimit bounds the wait for a whole cluster, and joinEach what each
	// node adds to it.
	joinLimit = 30 * time.Second
	joinEach  = 200 * time.Millisecond
	// introduceEvery is when nodes that are not joined yet are introduced once more: one
	// that answers no handshake for its cluster-node-timeout is forgotten again.
	introduceEvery = 8 * time.Second
)

// join introduces the nodes to each other and waits until every primary finds
// the cluster whole. That takes a fresh primary its cluster-node-timeout, at
// least half a second and at most five: until it owned slots it counted itself
// among a minority, and returns from there with a delay (clusterUpdateState in
// cluster_legacy.c). A node without slots begins to count later still, and
// stops counting when it becomes a replica; so it is not waited for here.
func (r *run) join(ctx context.Context) error {
	limit := joinLimit + time.Duration(len(r.targets))*joinEach
	var introduced time.Time
	err := wait(ctx, limit, func(ctx context.Context) (string, error) {
		if clock.Since(introduced) > introduceEvery {
			if err := r.introduce(ctx); err != nil {
				return "", err
			}
			introduced = clock.Now()
		}
		return r.notJoined(ctx, false)
	})
	if err != nil {
		return hint.Add(fmt.Errorf("join the nodes: %w", err),
			"The nodes must reach each other at the addresses they announce, on their port and on their bus port (port + 10000 unless it is set).")
	}
	return nil
}

// introduce has nodes meet. To those who know each other it does nothing.
func (r *run) introduce(ctx context.Context) error {
	introducing := r.targets[:1]
	if len(r.targets) <= maxPairwise {
		introducing = r.targets
	}
	for i, t := range introducing {
		for _, other := range r.targets[i+1:] {
			if err := meet(ctx, t, other); err != nil {
				return err
			}
		}
	}
	return nil
}

func meet(ctx context.Context, t, other *target) error {
	host, port, busPort, err := other.meeting(ctx)
	if err != nil {
		return fmt.Errorf("introduce %s: %w", other.addr(), err)
	}
	args := []any{"CLUSTER", "MEET", host, port}
	if busPort != port+busOffset {
		args = append(args, busPort)
	}
	_, err = t.node.Do(ctx, args...)
	return err
}

// joined tells whether all nodes know each other and find the cluster whole.
func (r *run) joined(ctx context.Context) (bool, error) {
	missing, err := r.notJoined(ctx, false)
	return missing == "", err
}

// notJoined says which node does not see the whole cluster yet, "" when all
// do: of those without slots only how many nodes they know, unless all is set.
func (r *run) notJoined(ctx context.Context, all bool) (string, error) {
	for _, t := range r.targets {
		state, err := t.node.Text(ctx, "CLUSTER", "INFO")
		if err != nil {
			return "", err
		}
		info := cluster.ParseInfo(state)
		if known := info.Int("cluster_known_nodes"); known != int64(len(r.targets)) {
			return fmt.Sprintf("%s knows %d of %d nodes", t.addr(), known, len(r.targets)), nil
		}
		if (t.primary || all) && info.Text("cluster_state") != "ok" {
			return fmt.Sprintf("%s finds the cluster in state %q", t.addr(), info.Text("cluster_state")), nil
		}
	}
	return "", nil
}
