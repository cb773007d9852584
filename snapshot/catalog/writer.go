package catalog

import (
	"slices"

	"github.com/slotark/slotark/storage/mirror"
)

// Writer puts the objects of one snapshot into the primary store and into each
// mirror, in one pass.
type Writer struct {
	*mirror.Writer
	unready []mirror.Outcome
}

// Begin starts writing one snapshot. Mirrors that could not be made ready get
// nothing and are named in Outcomes.
func (r *Repository) Begin() *Writer {
	set := mirror.Set{Primary: r.stores[0]}
	w := &Writer{}
	for _, store := range r.stores[1:] {
		if err := r.unready[store.Name]; err != nil {
			w.unready = append(w.unready, mirror.Outcome{Name: store.Name, Err: err})
			continue
		}
		set.Mirrors = append(set.Mirrors, store)
	}
	w.Writer = set.Begin()
	return w
}

// Outcomes tells what each store has of the snapshot, the primary first.
func (w *Writer) Outcomes() []mirror.Outcome {
	return slices.Concat(w.Writer.Outcomes(), w.unready)
}
