package restore

import (
	"context"
	"encoding/json"
	"fmt"

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
		work, err := r.work()
		if err != nil {
			return err
		}
		claim, err := r.Snapshot.Claim(ctx, work)
		if err != nil {
			return err
		}
		r.claim = claim
		over := r.taken // our mark has all of it
		if r.before != nil {
			over = append(over, *r.before)
		}
		for _, killed := range over {
			if err := r.Snapshot.Forget(ctx, killed); err != nil {
				return err
			}
		}
		if claim.Warning != "" {
			r.outcome.Notes = append(r.outcome.Notes, "warning: "+claim.Warning)
		}
		return nil
	}
}

// work is what the mark says for whoever has to go on with this restore.
func (r *run) work() (catalog.Work, error) {
	var work catalog.Work
	for _, t := range r.targets {
		work.Targets = append(work.Targets, catalog.Target{Address: t.addr(), RunID: t.runID, NodeID: t.id, Held: t.held.any()})
	}
	for _, entry := range r.kept {
		text, err := json.Marshal(entry)
		if err != nil {
			return work, fmt.Errorf("encode what was done: %w", err)
		}
		work.Done = append(work.Done, text)
	}
	var err error
	work.Plan, err = r.planID()
	return work, err
}

// release ends the claim, if it came to one. Where no store takes the end of
// it, it ends by its age: the restore is as good.
func (r *run) release(ctx context.Context) {
	if r.claim == nil || r.leftAsIs {
		return
	}
	if err := r.claim.Release(ctx); err != nil {
		r.outcome.Notes = append(r.outcome.Notes, "a prune will keep the snapshot for another day, because no store took the mark that this restore has ended")
	}
}
