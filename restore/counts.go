package restore

import (
	"context"
	"math"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// counts are how many keys a shard of the layout gets, and how many of them expire.
type counts struct {
	keys, expiring uint64
}

// countKeys adds up what the slot indexes say of the slots that each shard of a
// bundle gets. Of an index that no store has whole, or that says more than the
// manifest, the slots count as its average: a server makes room for as many keys
// as it is told of.
func (r *run) countKeys(ctx context.Context, b bundle) []counts {
	all := make([]counts, len(b.onto))
	for _, source := range b.from { // an index is near a megabyte: one at a time
		shard := r.manifest.Shards[source]
		index := r.openIndex(ctx, shard)
		for i, onto := range b.onto {
			slots := r.layout[onto].Intersect(shard.Slots)
			keys, expiring := sumOf(index, slots)
			if keys > shard.Dump.Keys || expiring > shard.Dump.Expiring || index == nil {
				part := float64(slots.Len()) / float64(shard.Slots.Len())
				keys = uint64(math.Round(float64(shard.Dump.Keys) * part))
				expiring = uint64(math.Round(float64(shard.Dump.Expiring) * part))
			}
			all[i].keys += keys
			all[i].expiring += expiring
		}
	}
	return all
}

// openIndex reads the slot index of a shard from the first store that has it
// whole; nil where none has.
func (r *run) openIndex(ctx context.Context, shard manifest.Shard) *manifest.SlotIndex {
	for _, store := range r.Snapshot.Stores() {
		if index, err := verify.OpenIndex(ctx, r.Snapshot.In(store), shard); err == nil {
			return index
		}
	}
	return nil
}

func sumOf(index *manifest.SlotIndex, slots slot.Set) (keys, expiring uint64) {
	if index == nil {
		return 0, 0
	}
	for n := range slots.All() {
		keys += uint64(index.Slots[n].Keys)
		expiring += uint64(index.Slots[n].Expiring)
	}
	return keys, expiring
}
