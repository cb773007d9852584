package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// count asks every primary for its keys in each of its slots, and reads what
// the snapshot's slot indexes promise.
func (c *comparing) count(ctx context.Context) error {
	if err := c.eachPrimary(ctx, c.countPrimary); err != nil {
		return err
	}
	return c.eachShard(ctx, c.readIndex)
}

func (c *comparing) countPrimary(ctx context.Context, p int) error {
	primary := c.primaries[p]
	node := c.Access.Open(primary.Primary.Addr)
	defer node.Close()
	slots := slices.Collect(primary.Slots.All())
	total := make([]int64, len(slots))
	for db := range c.maxDB() + 1 {
		counts, err := node.CountKeysInSlotsOf(ctx, db, slots)
		if err != nil {
			return err
		}
		for i, n := range counts {
			total[i] += n
		}
	}
	// The clock after the count: a key that expires later than this was
	// certainly still there.
	now, err := node.Time(ctx)
	if err != nil {
		return err
	}
	for i, n := range slots {
		c.counts[n], c.counted[n] = total[i], now.UnixMilli()
	}
	return nil
}

// maxDB is the highest database in which the snapshot has keys.
func (c *comparing) maxDB() int {
	highest := 0
	for _, s := range c.Snapshot.Manifest.Shards {
		highest = max(highest, s.Dump.MaxDB)
	}
	return highest
}

func (c *comparing) readIndex(ctx context.Context, s int) error {
	return c.fromAnyStore(ctx, func(copied *catalog.Snapshot) error { return c.readIndexIn(ctx, copied, s) })
}

func (c *comparing) readIndexIn(ctx context.Context, copied *catalog.Snapshot, s int) error {
	index, err := OpenIndex(ctx, copied, c.Snapshot.Manifest.Shards[s])
	if err != nil {
		return err
	}
	for n := range index.Owned.All() {
		c.indexed[n] = int64(index.Slots[n].Keys)
		if c.digests[n] = nil; index.DigestVersion == rdb.DigestVersion {
			c.digests[n] = &index.Slots[n].Digest
		}
	}
	return nil
}

// OpenIndex reads the slot index of a shard.
func OpenIndex(ctx context.Context, copied *catalog.Snapshot, shard manifest.Shard) (*manifest.SlotIndex, error) {
	body, err := copied.Open(ctx, shard.SlotIndex)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	index, err := manifest.DecodeSlotIndex(body)
	if err != nil {
		return nil, fmt.Errorf("shard %s: %w", shard.Slots, err)
	}
	if index.Owned != shard.Slots {
		return nil, fmt.Errorf("shard %s: its slot index is of slots %s", shard.Slots, index.Owned)
	}
	return index, nil
}

// miscounted returns the slots in which a primary counted what cannot be: more
// keys than were saved, or fewer than had not expired by then.
func (c *comparing) miscounted() (tooMany, tooFew slot.Set) {
	for n := range c.Snapshot.Manifest.Slots().All() {
		switch most := c.indexed[n]; {
		case c.counts[n] > most:
			tooMany.Add(n)
		case c.counts[n] < most-int64(c.saved[n].gone):
			tooFew.Add(n)
		}
	}
	return tooMany, tooFew
}

// ownerOf names the primary that owns a slot, for a person.
func (c *comparing) ownerOf(n int) string {
	at := slices.IndexFunc(c.primaries, func(p cluster.Shard) bool { return p.Slots.Contains(n) })
	if at < 0 {
		return "nobody"
	}
	return c.primaries[at].Primary.Addr
}
