package restore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/verify"
)

// loadFunctions gives every primary the libraries of the shards that its keys came
// from: the server does not spread them over a cluster.
func (r *run) loadFunctions(ctx context.Context) error {
	if err := r.readLibraries(ctx); err != nil {
		return err
	}
	return r.eachTarget(ctx, func(ctx context.Context, _ int, t *target) error {
		if !t.primary {
			return nil
		}
		for _, code := range r.librariesOf(t.shard) {
			if _, err := t.node.Do(ctx, "FUNCTION", "LOAD", "REPLACE", code); err != nil {
				return hint.Add(fmt.Errorf("load the function library %s on %s: %w", quoteKey([]byte(libraryName(code))), t.addr(), err),
					"The node must offer the engine that the library is written for, as the snapshot's own nodes did.")
			}
		}
		return nil
	})
}

// readLibraries reads the libraries of shards that were loaded before a restore was
// killed. In their dumps they stand before the keys (rdbSaveRio in rdb.c).
func (r *run) readLibraries(ctx context.Context) error {
	var missing []int
	for i, s := range r.manifest.Shards {
		if (!r.AOF || s.AOF.Aligned) && s.Dump.Functions > 0 && len(r.code[i]) == 0 {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return r.fromAnyStore(ctx, "read the functions of",
		func(ctx context.Context, c *copies) error {
			return c.each(ctx, missing, func(ctx context.Context, shard int, copied *catalog.Snapshot) error {
				return r.readHead(ctx, shard, copied)
			})
		},
		func() error { return nil })
}

// readHead reads the libraries of one dump.
func (r *run) readHead(ctx context.Context, shard int, copied *catalog.Snapshot) error {
	r.code[shard] = nil
	_, err := verify.ReadLibraries(ctx, copied, shard, func(code []byte) {
		r.code[shard] = append(r.code[shard], bytes.Clone(code))
	})
	if err != nil {
		return sourceError{err}
	}
	return nil
}
