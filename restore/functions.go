package restore

import (
	"context"
	"fmt"

	"github.com/slotark/slotark/internal/hint"
)

// loadFunctions gives every primary the libraries of the dumps that its keys came
// from: the server does not spread them over a cluster.
func (r *run) loadFunctions(ctx context.Context) error {
	return r.eachTarget(ctx, func(ctx context.Context, _ int, t *target) error {
		if !t.primary {
			return nil
		}
		for _, source := range r.sourcesOf(t.shard) {
			for _, code := range r.code[source] {
				if _, err := t.node.Do(ctx, "FUNCTION", "LOAD", "REPLACE", code); err != nil {
					return hint.Add(fmt.Errorf("load a function library of shard %s: %w", r.manifest.Shards[source].Slots, err),
						"The node must offer the engine that the library is written for, as the snapshot's own nodes did.")
				}
			}
		}
		return nil
	})
}
