package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// keepLocked keeps what a store has under a lock, though no rule wants it any
// more: it could only be deleted where it is not locked, and what is locked
// would cost as much as before, and be listed nowhere.
func (r *Repository) keepLocked(ctx context.Context, p *Plan) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for i := range p.Decisions {
		if d := &p.Decisions[i]; !d.Keep {
			group.Go(func() error {
				reason, err := r.lockOn(ctx, d.Cluster, d.ID)
				if reason != "" {
					d.Keep, d.Reasons = true, []string{reason}
				}
				return err
			})
		}
	}
	for i := range p.Orphans {
		if o := &p.Orphans[i]; !o.Keep {
			group.Go(func() error {
				reason, err := r.lockOn(ctx, o.Cluster, o.ID)
				if reason != "" {
					o.Keep, o.Reason = true, reason
				}
				return err
			})
		}
	}
	return group.Wait()
}

// lockOn says which store has a snapshot under a lock, and until when; "" where
// none has. All objects of a snapshot have the same date, so one is asked.
func (r *Repository) lockOn(ctx context.Context, cluster string, id manifest.ID) (string, error) {
	for _, store := range r.stores {
		object, err := store.Stat(ctx, ManifestName(cluster, id))
		if errors.Is(err, storage.ErrNotFound) {
			object, err = first(ctx, store, Folder(cluster, id))
		}
		if err != nil {
			return "", unasked(err)
		}
		if !object.LockedUntil.IsZero() {
			return fmt.Sprintf("locked in %s until %s", store.Name, human.Moment(object.LockedUntil)), nil
		}
	}
	return "", nil
}

// first is the first object below a prefix; the zero Object where there is none.
func first(ctx context.Context, store storage.Store, prefix string) (storage.Object, error) {
	for object, err := range store.List(ctx, prefix) {
		if err != nil {
			return object, err
		}
		object, err = store.Stat(ctx, object.Name)
		if errors.Is(err, storage.ErrNotFound) { // deleted meanwhile
			err = nil
		}
		return object, err
	}
	return storage.Object{}, nil
}
