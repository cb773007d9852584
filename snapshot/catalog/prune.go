package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// Removal is what became of one snapshot, or orphan, that was to go.
type Removal struct {
	Cluster string
	ID      manifest.ID
	Orphan  bool
	// Kept is why it was left alone after all: a restore or a hold came in
	// between. "" where it was not.
	Kept  string
	Err   error // what could not be deleted; the rest of it is
	Bytes int64 // given back, in all stores
}

// Gone tells whether nothing of it is left.
func (r Removal) Gone() bool { return r.Kept == "" && r.Err == nil }

// pruneRecord is the record of one prune.
type pruneRecord struct {
	ID      manifest.ID  `json:"id"`
	Started time.Time    `json:"started"`
	Drops   []pruneEntry `json:"drops"`
}

type pruneEntry struct {
	Snapshot manifest.ID `json:"snapshot"`
	Reasons  []string    `json:"reasons"`
}

// Prune does what a plan says, one snapshot after another, the oldest first, and
// tells each as it is done. It goes on where a store does not let a snapshot be
// deleted. An error means that it refused, or was interrupted.
//
// A snapshot's manifests go first, those of the mirrors before the primary's,
// and its objects only when no store has the manifest any more. So at every
// moment a store either lists the snapshot and holds all of it, or does not
// list it; and what is in a mirror is in the primary. A prune that is killed
// leaves a snapshot that is still listed, which the next one decides on anew, or
// an orphan, which a later one removes.
func (r *Repository) Prune(ctx context.Context, p *Plan, done func(Removal)) error {
	run := &pruning{r: r, id: manifest.NewID(p.started), older: p.o.OrphansOlder, now: p.o.Now}
	if err := run.begin(ctx, p); err != nil {
		return err
	}
	for _, d := range p.Drops() {
		done(run.drop(ctx, p.Entries[d.Cluster][d.ID]))
		if ctx.Err() != nil {
			return stopped(ctx)
		}
	}
	for _, o := range slices.Backward(p.Orphans) {
		if o.Keep {
			continue
		}
		done(run.sweep(ctx, o))
		if ctx.Err() != nil {
			return stopped(ctx)
		}
	}
	return nil
}

func stopped(ctx context.Context) error {
	return hint.Left(fmt.Errorf("the prune was stopped before its end: %w", context.Cause(ctx)), "prune again: it goes on from there")
}

// pruning is one prune under way.
type pruning struct {
	r         *Repository
	id        manifest.ID
	older     time.Duration
	now       func() time.Time
	witnesses []witness // every store, by the run's own record
}

// begin stores the record of this prune in every store, which shows that each
// can be written, and what its clock says.
func (p *pruning) begin(ctx context.Context, plan *Plan) error {
	records := map[string]*pruneRecord{}
	record := func(cluster string) *pruneRecord {
		if records[cluster] == nil {
			records[cluster] = &pruneRecord{ID: p.id, Started: plan.started, Drops: []pruneEntry{}}
		}
		return records[cluster]
	}
	for _, d := range plan.Drops() {
		in := record(d.Cluster)
		in.Drops = append(in.Drops, pruneEntry{d.ID, d.Reasons})
	}
	for _, o := range plan.Orphans {
		if !o.Keep {
			in := record(o.Cluster)
			in.Drops = append(in.Drops, pruneEntry{o.ID, []string{o.Reason}})
		}
	}
	for cluster, in := range records {
		before := p.now()
		took, err := putEverywhere(ctx, p.r.stores, pruneName(cluster, p.id), in)
		if err != nil {
			return hint.Refuse(fmt.Errorf("nothing is pruned unless every store can be written: %w", err),
				"Give the credentials that prune the right to write and delete: docs/storage.md.")
		}
		if err := sameClock(took, before, p.now()); err != nil {
			return err
		}
		p.witnesses = took
	}
	return nil
}

// sameClock refuses where a store's clock differs from this machine's: ages
// told by two clocks have made others delete their own data.
func sameClock(took []witness, before, after time.Time) error {
	for _, w := range took {
		ahead := w.modified.Sub(after)
		behind := before.Sub(w.modified)
		if max(ahead, behind) <= maxAhead {
			continue
		}
		way := "ahead of"
		if behind > ahead {
			way = "behind"
		}
		return hint.Refuse(fmt.Errorf("the clock of %s is %s %s this machine's (%s there, %s here; at most %s is allowed)", w.Named,
			human.Duration(max(ahead, behind)), way, human.Moment(w.modified), human.Moment(after), human.Duration(maxAhead)),
			"Set both by NTP, then prune.")
	}
	return nil
}

// drop removes one snapshot from every store.
func (p *pruning) drop(ctx context.Context, e Entry) Removal {
	removal := Removal{Cluster: e.Cluster, ID: e.ID}
	began := clock.Now()
	intents, err := putMark(ctx, p.r.stores, prunesDir, e.Cluster, e.ID, p.id, begun, Work{})
	if err != nil {
		removal.Err = errors.Join(err, p.withdraw(ctx, e))
		return removal
	}
	if removal.Kept, removal.Err = p.wanted(ctx, e, intents); removal.Kept != "" || removal.Err != nil {
		removal.Err = errors.Join(removal.Err, p.withdraw(ctx, e))
		return removal
	}
	if removal.Err = p.deleteManifests(ctx, e, began); removal.Err != nil {
		removal.Err = errors.Join(removal.Err, p.withdraw(ctx, e))
		return removal
	}
	removal.Bytes, removal.Err = p.deleteObjects(ctx, e.Cluster, e.ID)
	return removal
}

// withdraw says that this prune deletes no manifest of a snapshot any more.
func (p *pruning) withdraw(ctx context.Context, e Entry) error {
	_, err := putMark(context.WithoutCancel(ctx), p.r.stores, prunesDir, e.Cluster, e.ID, p.id, withdrawn, Work{})
	if err != nil {
		return fmt.Errorf("withdraw (a restore of it waits up to %s): %w", human.Duration(intentLife), err)
	}
	return nil
}

// wanted looks, after the intent is stored, who wants the snapshot: a restore,
// or a person that holds it.
func (p *pruning) wanted(ctx context.Context, e Entry, intents []witness) (why string, err error) {
	all, held := make([]*marks, len(intents)), make([][]manifest.ID, len(intents))
	errs := make([]error, len(intents))
	inEach(ctx, p.r.stores, func(ctx context.Context, i int) {
		all[i] = newMarks(useLife)
		errs[i] = all[i].read(ctx, intents[i], restoresDir, e.Cluster, e.ID, intents[i].now())
		for object, err := range intents[i].List(ctx, recordsOf(holdsDir, e.Cluster, e.ID)) {
			if err != nil {
				errs[i] = errors.Join(errs[i], err)
				return
			}
			if n, ok := parseName(object.Name); ok {
				held[i] = append(held[i], n.record)
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	if uses := merge(all, useLife).uses(); len(uses) > 0 {
		return uses[0].String(), nil
	}
	ids := slices.Concat(held...)
	if len(ids) == 0 {
		return "", nil
	}
	if hold := p.r.readHold(ctx, e.Cluster, e.ID, slices.Max(ids)); hold.InForce(p.now()) {
		return hold.String(), nil
	}
	return "", nil
}

// deleteManifests deletes a snapshot's manifests within the time that its
// restores are promised. The first store that does not let it ends that.
func (p *pruning) deleteManifests(ctx context.Context, e Entry, began time.Time) error {
	limit := intentLife/2 - clock.Since(began)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("deleting its manifests took over %s", human.Duration(intentLife/2)))
	defer cancel()
	var gone []string
	for _, store := range slices.Backward(p.r.stores) {
		err := store.Delete(ctx, ManifestName(e.Cluster, e.ID))
		if err == nil {
			gone = append(gone, store.Name)
			continue
		}
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if len(gone) > 0 {
			err = fmt.Errorf("%w (it is whole there, and not listed any more in %s)", err, human.List(gone))
		}
		return err
	}
	return nil
}

// deleteObjects deletes what the stores hold of a snapshot that no store has a
// manifest of, and the records that mean nothing without it. The evidence of
// verifications and drills stays, as does the record of the prune.
func (p *pruning) deleteObjects(ctx context.Context, cluster string, id manifest.ID) (bytes int64, err error) {
	var failures []error
	prefixes := []string{Folder(cluster, id), recordsOf(holdsDir, cluster, id), recordsOf(restoresDir, cluster, id), recordsOf(prunesDir, cluster, id), recordsOf(intentsDir, cluster, id)}
	for _, store := range p.r.stores {
		left := 0
		var first error
		for _, prefix := range prefixes {
			if prefix == recordsOf(intentsDir, cluster, id) {
				if open, err := intentOpen(ctx, store, cluster, id); open || err != nil {
					first = errors.Join(first, err)
					continue // what was changed on nodes, and not put back yet, is still needed
				}
			}
			given, kept, err := deleteUnder(ctx, store, prefix)
			bytes += given
			if left += kept; first == nil {
				first = err
			}
		}
		if first != nil {
			failures = append(failures, fmt.Errorf("%s of it left in %s: %w", human.Plural(left, "object"), store.Name, first))
		}
	}
	return bytes, errors.Join(failures...)
}

// deleteUnder deletes every object below a prefix and goes on past those that
// cannot be deleted, of which it gives the first's error.
func deleteUnder(ctx context.Context, store storage.Store, prefix string) (bytes int64, left int, err error) {
	var objects []storage.Object
	for object, err := range store.List(ctx, prefix) {
		if err != nil {
			return 0, 0, err
		}
		objects = append(objects, object)
	}
	for _, o := range objects {
		failed := store.Delete(ctx, o.Name)
		switch {
		case failed == nil:
			bytes += o.Bytes
		case !errors.Is(failed, storage.ErrNotFound):
			left++
			if err == nil {
				err = failed
			}
		}
		if ctx.Err() != nil {
			return bytes, left, context.Cause(ctx)
		}
	}
	return bytes, left, err
}

// sweep removes an orphan, after another look: by the stores' own clocks, and
// whether it has got a manifest meanwhile.
func (p *pruning) sweep(ctx context.Context, o Orphan) Removal {
	removal := Removal{Cluster: o.Cluster, ID: o.ID, Orphan: true}
	for _, w := range p.witnesses {
		for object, err := range w.List(ctx, Folder(o.Cluster, o.ID)) {
			if err != nil {
				removal.Err = err
				return removal
			}
			if object.Name == ManifestName(o.Cluster, o.ID) {
				removal.Kept = "it has a manifest now"
				return removal
			}
			o.Newest = object.Modified
			if keep, reason := young(o, p.older, w.now()); keep {
				removal.Kept = reason
				return removal
			}
		}
	}
	removal.Bytes, removal.Err = p.deleteObjects(ctx, o.Cluster, o.ID)
	return removal
}
