package part

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
)

// maxIndexed is of how many slots at most the index is asked: to digest all keys of
// more would cost what it saves.
const maxIndexed = 256

// errIndexed is what an index does not prove. The dump is then read as a whole, which
// says what is wrong.
var errIndexed = errors.New("the slot index does not prove it")

// readIndexed reads, from one store, no more of a dump than it takes to find all keys of
// a few slots, and proves these by the slot index: as many keys, of the digest that the
// snapshot recorded. The rest of the dump is neither checked nor always read: where each
// slot lies in one piece, nothing but these pieces is fetched.
func (s *source) readIndexed(ctx context.Context, shard manifest.Shard, store storage.Named, do func(*item) error) (err error) {
	slots := shard.Slots.Intersect(s.slots)
	if slots.Len() > maxIndexed || shard.SlotIndex.Object == "" {
		return errIndexed
	}
	left, err := s.expected(ctx, shard, store, slots)
	if err != nil || left.keys == 0 {
		return err
	}
	body, size, err := s.openSlots(ctx, shard, store, left)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	task := progress.Event{Task: "shard " + shard.Slots.String(), Phase: "read", Detail: store.Name, Total: size}
	var value bounded
	found := false
	reader := rdb.NewReader(body, rdb.Options{Size: task.Total, Capture: &value, Wanted: func(r *rdb.Record) bool {
		found = slots.Contains(r.Slot)
		return found
	}})
	for left.keys > 0 {
		value.Reset()
		found = false
		r, err := reader.Next()
		if err != nil {
			return err // the end too: it comes too early
		}
		if r.Kind != rdb.KindKey {
			continue
		}
		if task.Keys++; task.Keys%progressKeys == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			task.Done = reader.Offset()
			s.Progress.Emit(task)
		}
		if !found {
			continue
		}
		it := item{*r, value.Bytes(), reader.Header(), reader.Offset() - r.Offset}
		if err := left.take(&it); err != nil {
			return err
		}
		if s.wants(r, &s.slots) {
			if err := do(&it); err != nil {
				return err
			}
		}
	}
	task.Done, task.Ended = task.Total, true
	s.Progress.Emit(task)
	return left.proved()
}

// openSlots opens a dump, or its head and the pieces in which the slots' keys lie: what a
// reader of dumps takes for the beginning of one. It returns how many bytes there are.
func (s *source) openSlots(ctx context.Context, shard manifest.Shard, store storage.Named, left *remaining) (io.ReadCloser, int64, error) {
	copied := s.Snapshot.In(store)
	if pieces := left.pieces(); pieces != nil && shard.Dump.MaxDB == 0 { // no database was selected but the first
		parts, err := copied.OpenParts(ctx, shard.Dump.File)
		if err == nil {
			size := int64(rdb.HeaderBytes)
			readers := []io.Reader{io.NewSectionReader(parts, 0, size)}
			for _, piece := range pieces {
				readers = append(readers, io.NewSectionReader(parts, piece.Offset, piece.Bytes))
				size += piece.Bytes
			}
			return io.NopCloser(io.MultiReader(readers...)), size, nil
		}
		if !errors.Is(err, seal.ErrWhole) {
			return nil, 0, err
		}
	}
	body, err := copied.OpenUnsummed(ctx, shard.Dump.File)
	return body, shard.Dump.Content().Bytes, err
}

// bounded is a value that is small enough to be digested where it stands. One that
// nobody asked for may be larger than there is memory.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > defaultMemory {
		return 0, errIndexed
	}
	return b.Buffer.Write(p)
}

// remaining is what is left to be found of some slots.
type remaining struct {
	index    *manifest.SlotIndex
	slots    slot.Set
	keys     uint64
	payloads *rdb.Payloads
	sums     map[int]rdb.Digest
}

// expected is what a store's slot index says of some slots.
func (s *source) expected(ctx context.Context, shard manifest.Shard, store storage.Named, slots slot.Set) (left *remaining, err error) {
	body, err := s.Snapshot.In(store).Open(ctx, shard.SlotIndex)
	if err != nil {
		return nil, err
	}
	index, err := manifest.DecodeSlotIndex(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if index.DigestVersion != rdb.DigestVersion || index.Owned != shard.Slots {
		return nil, errIndexed
	}
	left = &remaining{index: index, slots: slots, payloads: rdb.NewPayloads(), sums: map[int]rdb.Digest{}}
	for n := range slots.All() {
		left.keys += uint64(index.Slots[n].Keys)
	}
	return left, nil
}

// pieces are where the slots' keys lie in the dump, as it goes; nil: not each slot's lie
// in one piece.
func (left *remaining) pieces() []manifest.SlotEntry {
	var pieces []manifest.SlotEntry
	for n := range left.slots.All() {
		entry := left.index.Slots[n]
		if entry.Keys > 0 && entry.Bytes == 0 {
			return nil
		}
		if entry.Bytes > 0 {
			pieces = append(pieces, entry)
		}
	}
	slices.SortFunc(pieces, func(a, b manifest.SlotEntry) int { return cmp.Compare(a.Offset, b.Offset) })
	return pieces
}

// take counts one key of the slots. A value that is not all there is of the key has no
// digest of its own.
func (left *remaining) take(it *item) error {
	if !it.Portable() {
		return errIndexed
	}
	r := it.Record
	if err := left.payloads.Digest(&r, it.payload()); err != nil {
		return err
	}
	left.keys--
	left.sums[r.Slot] = left.sums[r.Slot].Add(r.Digest)
	return nil
}

// proved tells whether all that was found is all there was.
func (left *remaining) proved() error {
	for n := range left.slots.All() {
		if have, want := left.sums[n], left.index.Slots[n].Digest; have != want {
			return fmt.Errorf("slot %d has the digest %s, its index says %s: %w", n, have, want, errIndexed)
		}
	}
	return nil
}
