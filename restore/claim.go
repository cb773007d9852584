package restore

import (
	"context"

	"github.com/slotark/slotark/snapshot/catalog"
)

// thenClaim says, when a check has found nothing against the restore, that the
// snapshot is being read, and looks that no prune was faster. From then on
// until release none deletes it.
func (r *run) thenClaim(check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := check(ctx); err != nil {
			return err
		}
		var onto []catalog.Target
		for _, t := range r.targets {
			onto = append(onto, catalog.Target{Address: t.addr(), RunID: t.runID})
		}
		claim, err := r.Snapshot.Claim(ctx, onto...)
		if err != nil {
			return err
		}
		r.claim = claim
		if claim.Warning != "" {
			r.outcome.Notes = append(r.outcome.Notes, "warning: "+claim.Warning)
		}
		return nil
	}
}

// release ends the claim, if it came to one. Where no store takes the end of
// it, it ends by its age: the restore is as good.
func (r *run) release(ctx context.Context) {
	if r.claim == nil {
		return
	}
	if err := r.claim.Release(ctx); err != nil {
		r.outcome.Notes = append(r.outcome.Notes, "a prune will keep the snapshot for another day, because no store took the mark that this restore has ended")
	}
}
