package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/slotark/slotark/snapshot/catalog"
)

// inAnyStore tries a snapshot as each store has it, until one serves.
func inAnyStore(ctx context.Context, s *catalog.Snapshot, try func(*catalog.Snapshot) error) error {
	var failures []error
	for _, store := range s.Stores() {
		err := try(s.In(store))
		if err == nil || ctx.Err() != nil {
			return err
		}
		failures = append(failures, fmt.Errorf("store %s: %w", store.Name, err))
	}
	if len(failures) == 1 {
		return failures[0]
	}
	return errors.Join(failures...)
}
