package preflight

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
)

// Stores looks whether the stores of a repository answer, the primary first,
// and writes nothing to them. As many as are required must.
func Stores(ctx context.Context, stores []storage.Named, required int) []Finding {
	ctx, cancel := context.WithTimeout(ctx, 2*catalog.AnswerLimit)
	defer cancel()
	errs := make([]error, len(stores))
	var wait sync.WaitGroup
	for i := range stores {
		wait.Go(func() { _, errs[i] = catalog.Open(ctx, stores[i:i+1]) })
	}
	wait.Wait()
	answer := 0
	for _, err := range errs {
		if err == nil || errors.Is(err, catalog.ErrNoRepository) {
			answer++
		}
	}
	j := &judgement{}
	empty := 0
	for i, err := range errs {
		code := "mirror-down"
		switch {
		case err == nil:
			continue
		case errors.Is(err, catalog.ErrNoRepository):
			empty++
			continue
		case i == 0 || answer < required:
			code = "store-down"
		}
		j.about(code, "store "+stores[i].Name, "it cannot be read: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		f := &j.list[len(j.list)-1]
		f.Cause = err
		if hints := hint.Of(err); len(hints) > 0 {
			f.Advice = hints[0]
		}
	}
	if empty == len(stores) {
		j.about("no-repository", "repository", "there is none yet in the stores that are named")
	}
	return j.findings()
}

// Add puts further findings among those of the report.
func (r *Report) Add(more []Finding) {
	j := &judgement{list: append(r.Findings, more...)}
	if r.Topology != nil {
		j.nodes = len(r.Topology.Members())
	}
	r.Findings = j.findings()
}
