package catalog

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slotark/slotark/storage/mirror"
)

// Writer puts the objects of one snapshot into the primary store and into each
// mirror, in one pass.
type Writer struct {
	*mirror.Writer
	unready []mirror.Outcome
}

// Mirroring says what is asked of the mirrors of a snapshot.
type Mirroring struct {
	Require  int           // how many stores must have it whole, the primary among them; 0 is 1
	Patience time.Duration // how long in all a mirror may hold the others up; 0 is the default
}

// Begin starts writing one snapshot. Mirrors that could not be made ready get
// nothing and are named in Outcomes; it is an error if too few are left.
func (r *Repository) Begin(o Mirroring) (*Writer, error) {
	set := mirror.Set{Primary: r.stores[0], Require: o.Require, Patience: o.Patience}
	w := &Writer{}
	var reasons []error
	for _, store := range r.stores[1:] {
		if err := r.unready[store.Name]; err != nil {
			w.unready = append(w.unready, mirror.Outcome{Name: store.Name, Err: err})
			reasons = append(reasons, fmt.Errorf("%s: %w", store.Name, err))
			continue
		}
		set.Mirrors = append(set.Mirrors, store)
	}
	if left := 1 + len(set.Mirrors); left < o.Require {
		return nil, fmt.Errorf("%w: %d must have the snapshot, %d of %d are ready: %w", mirror.ErrTooFew, o.Require, left, len(r.stores), errors.Join(reasons...))
	}
	w.Writer = set.Begin()
	return w, nil
}

// Outcomes tells what each store has of the snapshot, the primary first.
func (w *Writer) Outcomes() []mirror.Outcome {
	return slices.Concat(w.Writer.Outcomes(), w.unready)
}
