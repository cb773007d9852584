package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// Abandoned is a restore onto running nodes that has begun and not ended: it goes
// on, or was killed.
type Abandoned struct {
	ID      manifest.ID
	Begun   time.Time
	Host    string
	Process int
	Targets []Target
}

// maxMark bounds what is read of a mark.
const maxMark = 4 << 20

// Abandoned are the restores of a snapshot onto running nodes that have not ended,
// the newest first. A store that does not answer is passed over, unless none does.
func (s *Snapshot) Abandoned(ctx context.Context) ([]Abandoned, error) {
	found, errs := make([][]named, len(s.stores)), make([]error, len(s.stores))
	inEach(ctx, s.stores, func(ctx context.Context, i int) {
		for object, err := range s.stores[i].List(ctx, recordsOf(restoresDir, s.Manifest.Cluster, s.Manifest.ID)) {
			if err != nil {
				errs[i] = err
				return
			}
			if n, ok := parseName(object.Name); ok {
				found[i] = append(found[i], n)
			}
		}
	})
	if !slices.Contains(errs, nil) {
		return nil, errors.Join(errs...)
	}
	over, all := map[manifest.ID]bool{}, map[manifest.ID]int{}
	for i, names := range found {
		for _, n := range names {
			switch n.state {
			case ended:
				over[n.record] = true
			case begun:
				all[n.record] = i
			}
		}
	}
	var left []Abandoned
	for id, store := range all {
		if over[id] {
			continue
		}
		mark, err := s.readMark(ctx, s.stores[store], id)
		if err != nil {
			return nil, err
		}
		if len(mark.Targets) > 0 {
			left = append(left, Abandoned{id, id.Time(), mark.Host, mark.Process, mark.Targets})
		}
	}
	slices.SortFunc(left, func(a, b Abandoned) int { return cmp.Compare(b.ID, a.ID) })
	return left, nil
}

func (s *Snapshot) readMark(ctx context.Context, store storage.Named, id manifest.ID) (mark markRecord, err error) {
	name := markName(restoresDir, s.Manifest.Cluster, s.Manifest.ID, id, begun)
	body, err := store.Open(ctx, name)
	if err != nil {
		return mark, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := json.NewDecoder(io.LimitReader(body, maxMark)).Decode(&mark); err != nil {
		return mark, fmt.Errorf("%s in store %s: %w", name, store.Name, err)
	}
	return mark, nil
}

// Forget ends an abandoned restore's mark: nothing of it is left.
func (s *Snapshot) Forget(ctx context.Context, a Abandoned) error {
	took, err := putMark(ctx, s.stores, restoresDir, s.Manifest.Cluster, s.Manifest.ID, a.ID, ended)
	if len(took) > 0 {
		return nil
	}
	return err
}
