package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

const (
	// maxNamed is how many keys of one kind a finding names.
	maxNamed = 10
	// maxHeld bounds the keys that naming keeps in memory, about 200 bytes each.
	maxHeld = 200_000
)

// codeUnproved is no finding: values that differ and may be the same.
const codeUnproved = "unproved"

// held is a key of the cluster that waits for the snapshot's.
type held struct {
	item   mark
	value  rdb.Digest
	family rdb.Family
	expiry int64
	slot   int
	name   string // quoted and cut
}

// difference collects the keys of one kind of finding.
type difference struct {
	slots slot.Set
	keys  uint64
	names []string
}

func (d *difference) add(n int, name string) {
	d.slots.Add(n)
	d.keys++
	if len(d.names) < maxNamed {
		d.names = append(d.names, name)
	}
}

// name reads the slots that differ once more from both sides and says which
// keys make the difference. It is bounded: where the slots hold too many keys,
// the smallest are taken, and the rest are reported as slots.
func (c *comparing) name(ctx context.Context, differing slot.Set) error {
	if differing.Len() == 0 {
		return nil
	}
	chosen := c.affordable(differing)
	kinds := map[string]*difference{codeMissing: {}, codeUnexpected: {}, codeExpiry: {}, codeType: {}, codeValue: {}, codeUnproved: {}}
	live := map[mark]held{}
	if err := c.holdLive(ctx, chosen, live); err != nil {
		return err
	}
	if err := c.meetSaved(ctx, chosen, live, kinds); err != nil {
		return err
	}
	c.leftOver(live, kinds)

	c.unproved = kinds[codeUnproved].keys
	named := kinds[codeUnproved].slots
	for _, kind := range []struct{ code, words string }{
		{codeMissing, "of the snapshot missing from the cluster"},
		{codeUnexpected, "in the cluster that the snapshot does not hold"},
		{codeExpiry, "with another expiry than in the snapshot"},
		{codeType, "of another type than in the snapshot"},
		{codeValue, "with another value than in the snapshot"},
	} {
		if d := kinds[kind.code]; d.keys > 0 {
			named = named.Union(d.slots)
			c.report(kind.code, slotsText(d.slots), d.sentence(kind.words))
		}
	}
	if rest := differing.Minus(named); rest.Len() > 0 {
		first := rest.Ranges()[0].First
		c.report(codeSlotDiffer, slotsText(rest), fmt.Sprintf("their keys are not those of the snapshot; slot %d holds %d, the snapshot %d",
			first, c.live[first].keys, c.saved[first].keys))
	}
	return nil
}

// sentence reads `3 keys of the snapshot missing from the cluster: "a", "b", "c"`.
func (d *difference) sentence(words string) string {
	noun := "keys"
	if d.keys == 1 {
		noun = "key"
	}
	text := fmt.Sprintf("%d %s %s: %s", d.keys, noun, words, strings.Join(d.names, ", "))
	if more := d.keys - uint64(len(d.names)); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// affordable picks the slots with the fewest keys within what may be held.
func (c *comparing) affordable(differing slot.Set) slot.Set {
	return affordableOf(differing, func(n int) uint64 { return c.live[n].keys + c.live[n].expired })
}

func affordableOf(differing slot.Set, keys func(n int) uint64) slot.Set {
	slots := slices.Collect(differing.All())
	slices.SortStableFunc(slots, func(a, b int) int { return cmp.Compare(keys(a), keys(b)) })
	var chosen slot.Set
	var total uint64
	for _, n := range slots {
		if total += keys(n); total > maxHeld {
			break
		}
		chosen.Add(n)
	}
	return chosen
}

// holdLive takes the chosen slots' keys from the cluster into memory. One
// primary after the other: this is for the rare case that something is wrong.
func (c *comparing) holdLive(ctx context.Context, chosen slot.Set, live map[mark]held) error {
	var marks marker
	for _, p := range c.primaries {
		if p.Slots.Intersect(chosen).Len() == 0 {
			continue
		}
		err := c.readLive(ctx, p, visitor{key: func(r *rdb.Record) error {
			// The sums bounded what is held; should somebody write meanwhile,
			// the bound still holds.
			if chosen.Contains(r.Slot) && p.Slots.Contains(r.Slot) && len(live) < 2*maxHeld {
				live[marks.name(r)] = held{marks.item(r), r.Digest, r.Family, expiry(r), r.Slot, quoteKey(r.Key)}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// meetSaved reads the chosen slots' keys from the snapshot and takes out of
// live what it finds there.
func (c *comparing) meetSaved(ctx context.Context, chosen slot.Set, live map[mark]held, kinds map[string]*difference) error {
	var marks marker
	for s, shard := range c.Snapshot.Manifest.Shards {
		if shard.Slots.Intersect(chosen).Len() == 0 {
			continue
		}
		err := c.readSaved(ctx, s, visitor{key: func(r *rdb.Record) error {
			if !chosen.Contains(r.Slot) {
				return nil
			}
			name := marks.name(r)
			other, found := live[name]
			delete(live, name)
			switch {
			case !found && !expiresBy(r, c.cutoff[r.Slot]):
				kinds[codeMissing].add(r.Slot, quoteKey(r.Key))
			case !found || other.item == marks.item(r) && other.value == r.Digest:
			case other.item == marks.item(r) && provable(r):
				kinds[codeValue].add(r.Slot, quoteKey(r.Key))
			case other.item == marks.item(r):
				kinds[codeUnproved].add(r.Slot, quoteKey(r.Key))
			case other.family != r.Family:
				kinds[codeType].add(r.Slot, quoteKey(r.Key))
			default:
				kinds[codeExpiry].add(r.Slot, quoteKey(r.Key))
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// leftOver reports what the snapshot did not ask for, in a stable order.
func (c *comparing) leftOver(live map[mark]held, kinds map[string]*difference) {
	var rest []held
	for _, h := range live {
		if h.expiry == never || h.expiry > c.cutoff[h.slot] {
			rest = append(rest, h)
		}
	}
	slices.SortFunc(rest, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), strings.Compare(a.name, b.name))
	})
	for _, h := range rest {
		kinds[codeUnexpected].add(h.slot, h.name)
	}
}
