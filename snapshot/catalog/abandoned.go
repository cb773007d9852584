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

// Work is what a restore onto running nodes says in its mark, for whoever has to
// go on with it when it was killed.
type Work struct {
	// Plan names all that decides what is done to which target: restores of one
	// plan do the same.
	Plan    string            `json:"plan,omitempty"`
	Targets []Target          `json:"targets,omitempty"`
	Done    []json.RawMessage `json:"done,omitempty"` // entries of the journal; see [Claim.Note]
}

// Target is a running node that a restore was about to change when it wrote its
// mark: one that it had found empty, or was told to empty.
type Target struct {
	Address string `json:"address"`
	RunID   string `json:"run_id"`            // of the process
	NodeID  string `json:"node_id,omitempty"` // it outlives the process where the node keeps its nodes.conf
	Held    bool   `json:"held,omitempty"`    // it held something, which could be lost
}

// Abandoned is a restore onto running nodes that has begun and not ended: it goes
// on, or was killed.
type Abandoned struct {
	ID      manifest.ID
	Begun   time.Time
	Host    string
	Process int
	Work    // of its first mark; see [Snapshot.Journal]
}

// maxMark bounds what is read of a mark.
const maxMark = 4 << 20

// Abandoned are the restores of a snapshot onto running nodes that have not ended,
// the newest first. A store that does not answer is passed over, unless none does.
func (s *Snapshot) Abandoned(ctx context.Context) ([]Abandoned, error) {
	found, err := s.restoreMarks(ctx)
	if err != nil {
		return nil, err
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
		mark, err := s.readMark(ctx, s.stores[store], id, begun)
		if err != nil {
			return nil, err
		}
		if len(mark.Targets) > 0 {
			left = append(left, Abandoned{id, id.Time(), mark.Host, mark.Process, mark.Work})
		}
	}
	slices.SortFunc(left, func(a, b Abandoned) int { return cmp.Compare(b.ID, a.ID) })
	return left, nil
}

// restoreMarks are the names of all restores' marks on a snapshot, by store. A store
// that does not answer is passed over, unless none does.
func (s *Snapshot) restoreMarks(ctx context.Context) ([][]named, error) {
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
	return found, nil
}

func (s *Snapshot) readMark(ctx context.Context, store storage.Named, id manifest.ID, state string) (mark markRecord, err error) {
	name := markName(restoresDir, s.Manifest.Cluster, s.Manifest.ID, id, state)
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
