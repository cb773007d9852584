package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/cluster"
)

const (
	// attachLimit bounds one replica's first sync, and attachRate what each
	// byte of its shard adds: a full sync is slower than that only when
	// something is wrong.
	attachLimit = 2 * time.Minute
	attachRate  = 10 << 20 // bytes a second
)

// attachReplicas makes replicas of the nodes that are left, one at a time. One
// that does not follow is a finding: its primary serves all the same.
func (r *run) attachReplicas(ctx context.Context) error {
	for _, t := range r.targets {
		if t.primary {
			continue
		}
		primary := r.targets[t.shard]
		if err := r.attach(ctx, t, primary); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.note("replica-not-attached", "error", t.addr(), fmt.Sprintf("does not follow %s: %s", primary.addr(), err))
			continue
		}
		t.attached = true
	}
	// What is handed over is a cluster that every node finds whole, and whose
	// replicas every node knows for what they are: that goes by gossip, which
	// takes up to half the cluster-node-timeout.
	err := wait(ctx, joinLimit, func(ctx context.Context) (string, error) {
		if missing, err := r.notJoined(ctx, true); missing != "" || err != nil {
			return missing, err
		}
		return r.notKnown(ctx)
	})
	if err != nil && ctx.Err() == nil {
		r.note("not-whole", "error", "cluster", err.Error())
		return nil
	}
	return err
}

// notKnown says which node takes a replica for something else, "" when none
// does. A replica that could not be attached is no longer expected to be one.
func (r *run) notKnown(ctx context.Context) (string, error) {
	for _, t := range r.targets {
		text, err := t.node.Text(ctx, "CLUSTER", "NODES")
		if err != nil {
			return "", err
		}
		lines, err := cluster.ParseNodes(text)
		if err != nil {
			return "", fmt.Errorf("CLUSTER NODES of %s: %w", t.addr(), err)
		}
		seen := map[string]cluster.NodeLine{}
		for _, line := range lines {
			seen[line.ID] = line
		}
		for _, replica := range r.targets {
			if line := seen[replica.id]; replica.attached && line.PrimaryID != r.targets[replica.shard].id {
				return fmt.Sprintf("%s does not know yet that %s is a replica of %s", t.addr(), replica.addr(), r.targets[replica.shard].addr()), nil
			}
		}
	}
	return "", nil
}

// attach makes a node a replica and waits until it has what its primary has.
func (r *run) attach(ctx context.Context, t, primary *target) error {
	limit := attachLimit + time.Duration(r.memoryOf(t.shard)/attachRate)*time.Second
	told := false
	return wait(ctx, limit, func(ctx context.Context) (string, error) {
		if !told {
			if missing, err := replicate(ctx, t, primary); missing != "" || err != nil {
				return missing, err
			}
			told = true
		}
		return notFollowing(ctx, t, primary)
	})
}

// replicate tells a node to follow a primary, and says what it lacks to be told, "" when
// it was. One that follows it already is not told: a killed restore may have done so,
// or this one without an answer, and to say so again would have it copy all anew. One
// without slots counts nodes that it still shakes hands with among those it knows, and
// would refuse to follow them.
func replicate(ctx context.Context, t, primary *target) (string, error) {
	text, err := t.node.Text(ctx, "CLUSTER", "NODES")
	if err != nil {
		return "", err
	}
	lines, err := cluster.ParseNodes(text)
	if err != nil {
		return "", fmt.Errorf("CLUSTER NODES of %s: %w", t.addr(), err)
	}
	switch {
	case slices.ContainsFunc(lines, func(n cluster.NodeLine) bool { return n.Has("myself") && n.PrimaryID == primary.id }):
		return "", nil
	case !slices.ContainsFunc(lines, func(n cluster.NodeLine) bool { return n.ID == primary.id }):
		return "it does not know its primary yet", nil
	}
	_, err = t.node.Do(ctx, "CLUSTER", "REPLICATE", primary.id)
	return "", err
}

// notFollowing says what a replica still lacks, "" when it has all that its
// primary had when it was asked.
func notFollowing(ctx context.Context, t, primary *target) (string, error) {
	ahead, err := primary.node.Info(ctx, "replication")
	if err != nil {
		return "", err
	}
	info, err := t.node.Info(ctx, "replication")
	switch {
	case err != nil && strings.Contains(err.Error(), "LOADING"):
		return "it is loading", nil
	case err != nil:
		return "", err
	case info.Text("role") != "slave":
		return "it is no replica yet", nil
	case info.Text("master_link_status") != "up":
		return "its link to the primary is " + info.Text("master_link_status"), nil
	case info.Int("master_sync_in_progress") != 0:
		return "its first sync is under way", nil
	case info.Int("slave_repl_offset") < ahead.Int("master_repl_offset"):
		return "it is behind its primary", nil
	}
	return "", nil
}
