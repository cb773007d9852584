package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
)

// DiffOptions says which two snapshots are compared.
type DiffOptions struct {
	From, To *catalog.Snapshot // the older one and the newer one, as a rule; of one cluster or of two
	Progress progress.Func
}

// Diff is what became of one snapshot's keys in another.
type Diff struct {
	Slots    slot.Set // whose keys differ
	Unnamed  slot.Set // of Slots: those with more keys than memory is given to naming them
	FromKeys uint64   // in all slots
	ToKeys   uint64
	Changes  []Change // in the slots that are not in Unnamed; kinds of which there are none are left out
	Elapsed  time.Duration
}

// Change is one kind of difference.
type Change struct {
	Kind  string // "added", "removed", "value", "type", "expiry"
	Slots slot.Set
	Keys  uint64
	Names []string // of the first of them, quoted and cut
}

// diffSide is one of the two snapshots.
type diffSide struct {
	snapshot *catalog.Snapshot
	counts   [slot.Count]uint64
	digests  [slot.Count]rdb.Digest
	digested bool // by the definition of this build
	keys     uint64
}

// DiffSnapshots compares two snapshots: by their slot indexes first, so that of what
// is the same in both nothing more is read; then key by key in the slots that differ.
func DiffSnapshots(ctx context.Context, o DiffOptions) (*Diff, error) {
	started := clock.Now()
	from, to := &diffSide{snapshot: o.From}, &diffSide{snapshot: o.To}
	for _, side := range []*diffSide{from, to} {
		if err := side.readIndexes(ctx); err != nil {
			return nil, err
		}
	}
	d := &Diff{FromKeys: from.keys, ToKeys: to.keys}
	for n := range slot.Count {
		if from.counts[n] != to.counts[n] || from.digests[n] != to.digests[n] || from.counts[n] > 0 && !(from.digested && to.digested) {
			d.Slots.Add(n)
		}
	}
	chosen := affordableOf(d.Slots, func(n int) uint64 { return from.counts[n] + to.counts[n] })
	was, err := from.hold(ctx, chosen, o.Progress)
	if err != nil {
		return nil, err
	}
	is, err := to.hold(ctx, chosen, o.Progress)
	if err != nil {
		return nil, err
	}
	d.Unnamed = d.Slots.Minus(chosen)
	d.judge(was, is)
	if !from.digested || !to.digested { // the slots were only suspected
		d.Slots = d.Unnamed
		for _, change := range d.Changes {
			d.Slots = d.Slots.Union(change.Slots)
		}
	}
	d.Elapsed = clock.Since(started)
	return d, nil
}

// readIndexes reads what each slot holds.
func (s *diffSide) readIndexes(ctx context.Context) error {
	s.digested = true
	for _, shard := range s.snapshot.Manifest.Shards {
		err := inAnyStore(ctx, s.snapshot, func(copied *catalog.Snapshot) error {
			index, err := OpenIndex(ctx, copied, shard)
			if err != nil {
				return err
			}
			s.digested = s.digested && index.DigestVersion == rdb.DigestVersion
			for n := range shard.Slots.All() {
				s.counts[n], s.digests[n] = uint64(index.Slots[n].Keys), index.Slots[n].Digest
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, count := range s.counts {
		s.keys += count
	}
	return nil
}

// hold takes the keys of some slots into memory.
func (s *diffSide) hold(ctx context.Context, chosen slot.Set, report progress.Func) (map[mark]held, error) {
	all := map[mark]held{}
	for _, shard := range s.snapshot.Manifest.Shards {
		wanted := shard.Slots.Intersect(chosen)
		if wanted.Len() == 0 {
			continue
		}
		var found map[mark]held
		err := inAnyStore(ctx, s.snapshot, func(copied *catalog.Snapshot) (err error) {
			found = map[mark]held{} // what a damaged copy gave is forgotten
			body, err := copied.Open(ctx, shard.Dump.File)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, body.Close()) }()
			task := progress.Event{Task: "shard " + shard.Slots.String(), Phase: "compare", Detail: string(s.snapshot.Manifest.ID), Total: shard.Dump.Content().Bytes}
			return holdKeys(ctx, body, wanted, found, task, report)
		})
		if err != nil {
			return nil, fmt.Errorf("read shard %s of %s: %w", shard.Slots, s.snapshot.Manifest.ID, err)
		}
		maps.Copy(all, found)
	}
	return all, nil
}

// holdKeys reads one dump.
func holdKeys(ctx context.Context, body io.Reader, wanted slot.Set, into map[mark]held, task progress.Event, report progress.Func) error {
	var marks marker
	reader := rdb.NewReader(body, rdb.Options{Size: task.Total, Digest: true})
	for {
		r, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			task.Done, task.Ended = task.Total, true
			report.Emit(task)
			return ctx.Err()
		case err != nil:
			return err
		case r.Kind != rdb.KindKey:
			continue
		}
		if task.Keys++; task.Keys%progressKeys == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			task.Done = reader.Offset()
			report.Emit(task)
		}
		if wanted.Contains(r.Slot) {
			into[marks.name(r)] = held{marks.item(r), r.Digest, r.Family, expiry(r), r.Slot, quoteKey(r.Key)}
		}
	}
}

// judge says of each key what became of it.
func (d *Diff) judge(was, is map[mark]held) {
	kinds := map[string][]held{}
	for name, now := range is {
		before, found := was[name]
		kind := ""
		switch {
		case !found:
			kind = "added"
		case before.family != now.family:
			kind = "type"
		case before.value == now.value:
			continue
		case before.item != now.item:
			kind = "expiry"
		default:
			kind = "value"
		}
		kinds[kind] = append(kinds[kind], now)
	}
	for name, before := range was {
		if _, found := is[name]; !found {
			kinds["removed"] = append(kinds["removed"], before)
		}
	}
	for _, kind := range []string{"added", "removed", "value", "type", "expiry"} {
		keys := kinds[kind]
		if len(keys) == 0 {
			continue
		}
		slices.SortFunc(keys, func(a, b held) int {
			return cmp.Or(cmp.Compare(a.slot, b.slot), strings.Compare(a.name, b.name))
		})
		var all difference
		for _, key := range keys {
			all.add(key.slot, key.name)
		}
		d.Changes = append(d.Changes, Change{kind, all.slots, all.keys, all.names})
	}
}
