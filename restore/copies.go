package restore

import (
	"context"
	"errors"
	"fmt"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"golang.org/x/sync/errgroup"
)

// sourceError marks what went wrong on the side of the store: another store's
// copy may be better.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// copies chooses, for each shard of the snapshot, the store that it is read from:
// the first whose copy has not turned out bad.
type copies struct {
	*run
	verb     string          // what is done, for errors
	failures map[int][]error // by shard, one for each store that it was tried from
}

// shardError is a sourceError of one shard's.
type shardError struct {
	error
	shard int
}

func (e shardError) Unwrap() error { return e.error }

// fromAnyStore reads some of the snapshot's shards, those whose copy turns out bad
// from the next store that has them, until all are whole. again brings back what
// try has done so far. That a store's copy was bad is a finding even when another's
// is good.
func (r *run) fromAnyStore(ctx context.Context, verb string, try func(context.Context, *copies) error, again func() error) error {
	c := &copies{run: r, verb: verb, failures: map[int][]error{}}
	for {
		err := try(ctx, c)
		var bad shardError
		switch {
		case err == nil:
			for shard, failures := range c.failures {
				for _, failure := range failures {
					r.note("store-failed", "error", "shard "+r.manifest.Shards[shard].Slots.String(), failure.Error())
				}
			}
			return nil
		case ctx.Err() != nil || !errors.As(err, &bad):
			return err
		}
		if c.failures[bad.shard] = append(c.failures[bad.shard], bad); len(c.failures[bad.shard]) == len(r.Snapshot.Stores()) {
			return hint.Add(c.of(bad.shard, objections(c.failures[bad.shard])), "This snapshot cannot be restored as it is stored: slotark verify says what is damaged, slotark list which other snapshots there are.")
		}
		if err := again(); err != nil {
			return c.of(bad.shard, objections(append(c.failures[bad.shard], err)))
		}
	}
}

// of says which shard an error is of.
func (c *copies) of(shard int, err error) error {
	return fmt.Errorf("%s shard %s: %w", c.verb, c.manifest.Shards[shard].Slots, err)
}

// each does something with each of some shards, as many at once as the restore may.
func (c *copies) each(ctx context.Context, shards []int, do func(ctx context.Context, shard int, copied *catalog.Snapshot) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, shard := range shards {
		group.Go(func() error {
			select {
			case c.room <- struct{}{}:
				defer func() { <-c.room }()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			store := c.Snapshot.Stores()[len(c.failures[shard])]
			c.stores[shard] = store.Name
			err := do(ctx, shard, c.Snapshot.In(store))
			switch {
			case err == nil || ctx.Err() != nil:
				return err
			case errors.As(err, new(sourceError)):
				return shardError{fmt.Errorf("store %s: %w", store.Name, err), shard}
			}
			return c.of(shard, err)
		})
	}
	return group.Wait()
}
