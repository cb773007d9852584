package restore

import (
	"context"

	"github.com/slotark/slotark/verify"
)

// compare holds every slot and key against the snapshot. What differs is the
// comparison's to report; that it could not be made is a finding.
func (r *run) compare(ctx context.Context) error {
	if why := r.notComparable(); len(why) > 0 {
		r.note("not-compared", "warning", "cluster", why[0])
		return nil
	}
	var seeds []string
	for _, t := range r.targets {
		seeds = append(seeds, t.given)
	}
	comparison, err := verify.CompareLive(ctx, verify.CompareOptions{
		Snapshot: r.Snapshot, Access: r.Access, Seeds: seeds, AnyLayout: r.reshaped(), Now: r.Now, Progress: r.Progress,
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.note("not-compared", "error", "cluster", "the restored cluster could not be compared with the snapshot: "+err.Error())
		return nil
	}
	r.outcome.Comparison = comparison
	return nil
}
