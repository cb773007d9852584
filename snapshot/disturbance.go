package snapshot

import (
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/rdb"
)

// disturbance says what changed about a shard, and about the node that gave its
// dump, since the shard's choice was made; "" if nothing did.
func (c choice) disturbance(after *cluster.Topology) string {
	was := c.shard.Primary
	at := slices.IndexFunc(after.Shards, func(s cluster.Shard) bool { return s.Primary.ID == was.ID })
	if at < 0 {
		return fmt.Sprintf("%s is no primary any more (a failover)", was.Addr)
	}
	shard := after.Shards[at]
	switch is := shard.Primary; {
	case shard.Slots != c.shard.Slots:
		return fmt.Sprintf("%s had slots %s and has %s now", was.Addr, c.shard.Slots, shard.Slots)
	case is.ConfigEpoch != was.ConfigEpoch:
		return fmt.Sprintf("%s went from config epoch %d to %d", was.Addr, was.ConfigEpoch, is.ConfigEpoch)
	case is.RunID != was.RunID:
		return fmt.Sprintf("%s was restarted", was.Addr)
	// A primary without replicas takes a new replication id with its first
	// one, which is what a dump over the wire asks for.
	case hasLinked(c.shard) && is.ReplID != was.ReplID:
		return fmt.Sprintf("%s has another replication id than before", was.Addr)
	}
	if c.source.ID == was.ID {
		return ""
	}
	at = slices.IndexFunc(shard.Replicas, func(r cluster.Member) bool { return r.ID == c.source.ID })
	if at < 0 {
		return fmt.Sprintf("%s is no replica of %s any more", c.source.Addr, was.Addr)
	}
	// One that has died since has given its dump before.
	switch is := shard.Replicas[at]; {
	case is.Reachable && is.RunID != c.source.RunID:
		return fmt.Sprintf("%s was restarted", c.source.Addr)
	case is.Reachable && is.ReplID != c.source.ReplID:
		return fmt.Sprintf("%s has another replication id than before", c.source.Addr)
	}
	return ""
}

// hasLinked tells whether a shard has a replica that follows its primary.
func hasLinked(s cluster.Shard) bool {
	return slices.ContainsFunc(s.Replicas, func(r cluster.Member) bool { return r.LinkUp })
}

// atRest finds a dump that was made while slots were on their way to its node
// by an atomic migration. The owner of the slots is the same before and after
// the save then, and may be so to the end, so the dump alone can tell: Redis 8.4
// names the task in AUX cluster-asm-task, Valkey 9 writes SLOT_IMPORT and the
// keys that have come so far.
func atRest(report *rdb.Report) error {
	switch task := report.Aux["cluster-asm-task"]; {
	case report.Imports.Len() > 0:
		return fmt.Errorf("%w: slots %s were being migrated to the node when it saved", ErrDisturbed, report.Imports)
	case task != "":
		return fmt.Errorf("%w: slots were being migrated to the node when it saved (task %.80q)", ErrDisturbed, task)
	}
	return nil
}
