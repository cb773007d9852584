package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"golang.org/x/sync/errgroup"
)

// libraries are the hashes of a dump's function libraries, sorted.
type libraries [][sha256.Size]byte

// progressKeys is after how many keys a reader says how far it is.
const progressKeys = 1 << 14

func (c *comparing) eachPrimary(ctx context.Context, do func(context.Context, int) error) error {
	return c.each(ctx, len(c.primaries), do)
}

func (c *comparing) eachShard(ctx context.Context, do func(context.Context, int) error) error {
	return c.each(ctx, len(c.Snapshot.Manifest.Shards), do)
}

func (c *comparing) each(ctx context.Context, n int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.Parallel)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// visitor is what a dump's reader meets.
type visitor struct {
	key      func(*rdb.Record) error
	function func(code []byte) // nil: passed over
	task     progress.Event
}

// sumLive adds up what a primary holds.
func (c *comparing) sumLive(ctx context.Context, p int) error {
	primary := c.primaries[p]
	strays := 0
	return c.readLive(ctx, primary, visitor{
		key: func(r *rdb.Record) error {
			// A key outside the primary's slots is nobody's to find; it would
			// also be another goroutine's slot.
			if !primary.Slots.Contains(r.Slot) {
				if strays++; strays == 1 {
					c.report(codeSlotOwner, fmt.Sprintf("slot %d", r.Slot),
						fmt.Sprintf("%s holds the key %s there, but does not own the slot", primary.Primary.Addr, quoteKey(r.Key)))
				}
				return nil
			}
			c.liveEncodings[p].Count(r)
			c.live[r.Slot].add(r, c.cutoff[r.Slot])
			return nil
		},
		function: c.liveFunctions[p].collector(&c.liveFunctions[p]),
	})
}

// sumSaved adds up what a shard's dump holds, as the first store has it whose
// copy is whole; or knows it by the slot index, where the cluster holds just that.
func (c *comparing) sumSaved(ctx context.Context, s int) error {
	if c.provedByIndex(s) && c.takeIndex(ctx, s) == nil {
		return nil
	}
	shard := c.Snapshot.Manifest.Shards[s]
	return c.fromAnyStore(ctx, func(copied *catalog.Snapshot) error {
		for n := range shard.Slots.All() {
			c.saved[n] = tally{} // what a damaged copy gave
		}
		c.from[s] = copied
		return c.readSaved(ctx, s, visitor{
			key: func(r *rdb.Record) error {
				if !shard.Slots.Contains(r.Slot) {
					return fmt.Errorf("key %s is in slot %d, which the shard does not own", quoteKey(r.Key), r.Slot)
				}
				t := &c.saved[r.Slot]
				t.add(r, c.cutoff[r.Slot])
				if expiresBy(r, c.counted[r.Slot]) {
					t.gone++
				}
				return nil
			},
			function: c.savedFunctions[s].collector(&c.savedFunctions[s]),
		})
	})
}

// fromAnyStore tries the snapshot as each store has it, until one serves.
func (c *comparing) fromAnyStore(ctx context.Context, try func(*catalog.Snapshot) error) error {
	return inAnyStore(ctx, c.Snapshot, try)
}

func (libraries) collector(into *libraries) func([]byte) {
	*into = nil
	return func(code []byte) { *into = append(*into, sha256.Sum256(code)) }
}

// readLive streams a primary's dump and sets the cutoff of its slots.
func (c *comparing) readLive(ctx context.Context, primary cluster.Shard, v visitor) (err error) {
	addr := primary.Primary.Addr
	v.task = progress.Event{Task: "shard " + primary.Slots.String(), Phase: "compare", Detail: "the dump of " + addr}
	source, err := collect.Stream(ctx, c.Access, addr, collect.StreamOptions{Clock: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	for n := range primary.Slots.All() {
		c.cutoff[n] = source.ForkedBy.UnixMilli()
	}
	if err := c.read(ctx, source, source.Size, v); err != nil {
		return fmt.Errorf("read dump of %s: %w", addr, err)
	}
	return nil
}

// readSaved reads a shard's dump from the store that sumSaved settled on.
func (c *comparing) readSaved(ctx context.Context, s int, v visitor) (err error) {
	shard := c.Snapshot.Manifest.Shards[s]
	v.task = progress.Event{Task: "shard " + shard.Slots.String(), Phase: "compare", Detail: "the snapshot"}
	body, err := c.from[s].Open(ctx, shard.Dump.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := c.read(ctx, body, shard.Dump.Content().Bytes, v); err != nil {
		return fmt.Errorf("read dump of shard %s: %w", shard.Slots, err)
	}
	return nil
}

// read passes over one dump. It looks at ctx now and then, for a store's body
// need not know of it.
func (c *comparing) read(ctx context.Context, src io.Reader, size int64, v visitor) error {
	v.task.Total = max(0, size)
	reader := rdb.NewReader(src, rdb.Options{Size: size, Digest: true})
	for {
		r, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			v.task.Done, v.task.Ended = reader.Offset(), true
			c.Progress.Emit(v.task)
			return ctx.Err()
		case err != nil:
			return err
		case r.Kind == rdb.KindFunction && v.function != nil:
			v.function(r.Value)
		case r.Kind == rdb.KindKey:
			if err := v.key(r); err != nil {
				return err
			}
			if v.task.Keys++; v.task.Keys%progressKeys == 0 {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				v.task.Done = reader.Offset()
				c.Progress.Emit(v.task)
			}
		}
	}
}

// compareFunctions finds primaries with other function libraries than the shards of
// the snapshot have that their slots come from.
func (c *comparing) compareFunctions() {
	order := func(a, b [sha256.Size]byte) int { return slices.Compare(a[:], b[:]) }
	for p, primary := range c.primaries {
		var saved libraries
		moved := false
		for s, shard := range c.Snapshot.Manifest.Shards {
			if shard.Slots.Intersect(primary.Slots).Len() > 0 {
				saved = append(saved, c.savedFunctions[s]...)
				moved = moved || shard.Slots != primary.Slots
			}
		}
		if moved && !c.AnyLayout {
			continue // reported as a moved slot
		}
		slices.SortFunc(saved, order)
		saved = slices.Compact(saved)
		live := c.liveFunctions[p]
		slices.SortFunc(live, order)
		if !slices.Equal(saved, live) {
			c.report(codeFunctions, "shard "+primary.Slots.String(), fmt.Sprintf(
				"%s has not the function libraries of the snapshot (%d there, %d here)", primary.Primary.Addr, len(saved), len(live)))
		}
	}
}
