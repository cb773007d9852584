package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Allow is what an agent may be asked for: what its own settings have.
type Allow struct {
	Cluster string        // the one cluster it captures for
	Nodes   []string      // announced addresses of the nodes that it may capture
	Stores  []string      // names of its stores, the primary first
	Seal    manifest.Seal // what it seals to
}

const (
	// oldest and early bound how far the time in a snapshot's id may be from now.
	oldest = 24 * time.Hour
	early  = 10 * time.Minute
)

// forbid is a refusal that says what is wrong, and what to do about it.
func forbid(advice, format string, args ...any) error {
	return hint.Refuse(fmt.Errorf("%w: %s", ErrForbidden, fmt.Sprintf(format, args...)), advice)
}

// checkNode refuses a node that is not the agent's to look at.
func (a Allow) checkNode(cluster, node string) error {
	if cluster != a.Cluster {
		return forbid("give both the same cluster.name", "cluster %q, it captures for %q", cluster, a.Cluster)
	}
	if !slices.Contains(a.Nodes, node) {
		return forbid("name it in the agent's own cluster.nodes, if the agent is to capture it", "node %q, it captures %s", node, listed(a.Nodes))
	}
	return nil
}

// check refuses an order that is not allowed.
func (a Allow) check(o snapshot.Order, now time.Time) error {
	if err := a.checkNode(o.Cluster, o.Source.Addr); err != nil {
		return err
	}
	id, err := manifest.ParseID(string(o.Snapshot))
	if err != nil {
		return forbid("take the snapshot with slotark", "%v", err)
	}
	if age := now.Sub(id.Time()); age > oldest || age < -early {
		return forbid("set the clocks of both machines: an agent writes only into snapshots of now",
			"snapshot %s is not of now, which is %s", id, now.UTC().Format(time.RFC3339))
	}
	if o.Shard.Slots.Len() == 0 || o.Attempt < 0 {
		return forbid("take the snapshot with slotark", "a shard without slots")
	}
	if !slices.Equal(o.Stores, a.Stores) {
		return forbid("give both the same repository, in the same order; ?name= in a store's URL gives it a name",
			"stores %s, it has %s", listed(o.Stores), listed(a.Stores))
	}
	if !sameSeal(o.Seal, a.Seal) {
		return forbid("give both the same repository.seal", "sealing by %s, it seals by %s", sealed(o.Seal), sealed(a.Seal))
	}
	if o.Mirroring.Require < 0 || o.Mirroring.Require > len(a.Stores) {
		return forbid("give a number of stores", "%d of %d stores", o.Mirroring.Require, len(a.Stores))
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func sameSeal(a, b manifest.Seal) bool {
	sorted := func(r []string) []string { return slices.Sorted(slices.Values(r)) }
	return a.Compression == b.Compression && a.Encryption == b.Encryption && slices.Equal(sorted(a.Recipients), sorted(b.Recipients))
}

func sealed(s manifest.Seal) string {
	text := s.Compression + " and " + s.Encryption
	if len(s.Recipients) > 0 {
		text += " to " + strings.Join(s.Recipients, ", ")
	}
	return text
}
