package restore

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/slot"
)

// Balanced divides all slots among n shards, as redis-cli --cluster create does.
func Balanced(n int) []slot.Set {
	layout := make([]slot.Set, n)
	each, first := float64(slot.Count)/float64(n), 0
	for i := range layout {
		last := int(math.Round(float64(i+1)*each)) - 1
		layout[i] = slot.SetOf(slot.Range{First: first, Last: last})
		first = last + 1
	}
	return layout
}

// bundle is shards of the snapshot, and shards of the restored cluster, that share
// slots with no others: the smallest unit that can be loaded again without loading
// another. In the snapshot's own layout each is one shard on either side.
type bundle struct {
	from []int // positions in the manifest's shards
	onto []int // positions in the layout
}

// same tells whether a shard comes out as it went in.
func (r *run) same(b bundle) bool {
	return len(b.from) == 1 && r.unchanged(b.from[0])
}

// unchanged tells whether a shard of the snapshot comes out as it went in.
func (r *run) unchanged(shard int) bool {
	return slices.ContainsFunc(r.layout, func(slots slot.Set) bool { return slots == r.manifest.Shards[shard].Slots })
}

// bundles finds the bundles of the layout.
func (r *run) bundles() []bundle {
	var all []bundle
	taken := make([]bool, len(r.layout))
	for start := range r.layout {
		if taken[start] {
			continue
		}
		taken[start] = true
		b := bundle{onto: []int{start}}
		slots := r.layout[start]
		for grown := true; grown; {
			grown = false
			for i, s := range r.manifest.Shards {
				if s.Slots.Intersect(slots).Len() > 0 && !slices.Contains(b.from, i) {
					b.from, slots, grown = append(b.from, i), slots.Union(s.Slots), true
				}
			}
			for i, owned := range r.layout {
				if !taken[i] && owned.Intersect(slots).Len() > 0 {
					taken[i] = true
					b.onto, slots, grown = append(b.onto, i), slots.Union(owned), true
				}
			}
		}
		slices.Sort(b.from)
		all = append(all, b)
	}
	return all
}

// reshaped tells whether the layout is another than the snapshot's.
func (r *run) reshaped() bool {
	return slices.ContainsFunc(r.bundles(), func(b bundle) bool { return !r.same(b) })
}

// sourcesOf are the snapshot's shards that hold slots of one of the layout's.
func (r *run) sourcesOf(shard int) []int {
	var sources []int
	for i, s := range r.manifest.Shards {
		if s.Slots.Intersect(r.layout[shard]).Len() > 0 {
			sources = append(sources, i)
		}
	}
	return sources
}

// memoryOf is about how much memory a shard of the layout will need: of each shard
// that it comes from as much as it gets of its slots.
func (r *run) memoryOf(shard int) int64 {
	var total float64
	for _, i := range r.sourcesOf(shard) {
		source := r.manifest.Shards[i]
		total += float64(source.Dump.UsedMemory) * float64(source.Slots.Intersect(r.layout[shard]).Len()) / float64(source.Slots.Len())
	}
	return int64(total)
}

// maxDB is the highest database in which a shard of the layout may have keys.
func (r *run) maxDB(shard int) int {
	highest := 0
	for _, i := range r.sourcesOf(shard) {
		highest = max(highest, r.manifest.Shards[i].Dump.MaxDB)
	}
	return highest
}

// checkLayout refuses a layout that does not hold each slot of the snapshot once.
func (r *run) checkLayout() error {
	const advice = "give every slot to one shard: --shards N divides them evenly"
	var all slot.Set
	for _, slots := range r.layout {
		if slots.Len() == 0 {
			return hint.Refuse(errors.New("a shard without slots in the layout"), advice)
		}
		if twice := all.Intersect(slots); twice.Len() > 0 {
			return hint.Refuse(fmt.Errorf("slots %s are given to two shards", twice), advice)
		}
		all = all.Union(slots)
	}
	if missing := r.manifest.Slots().Minus(all); missing.Len() > 0 {
		return hint.Refuse(fmt.Errorf("slots %s are given to no shard", missing), advice)
	}
	if more := all.Minus(r.manifest.Slots()); more.Len() > 0 {
		return hint.Refuse(fmt.Errorf("the snapshot does not hold slots %s", more), "leave them out")
	}
	return nil
}
