package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// Survey is what each store of a repository has of all its snapshots.
type Survey struct {
	Stores   []StoreState // the primary first
	Gaps     []Gap        // the newest snapshot first; of each, by store
	Leftover []Leftover   // newest first

	all     []folderKey                // the snapshots that there are, newest first
	records map[string]*recordPlaces   // evidence and holds, by name
	having  map[folderKey]map[int]bool // which stores have a manifest
}

// StoreState is what one store has.
type StoreState struct {
	Store     string
	Place     string      // its location, for a person
	Err       error       // why it could not be asked; nil where it answered
	Snapshots int         // that it has whole
	Of        int         // that there are
	Newest    manifest.ID // of those that it has whole; "" for none
	Oldest    manifest.ID // of those that it lacks; "" for none
	Bytes     int64       // that it lacks
}

// Behind tells whether the store lacks anything, as far as it answered.
func (s StoreState) Behind() bool { return s.Err != nil || s.Snapshots < s.Of }

// Gap is a snapshot that a store has not, or not all of.
type Gap struct {
	Cluster  string
	ID       manifest.ID
	Store    string
	Manifest bool  // its manifest is missing there
	Objects  int   // that are missing there, or have another size, the manifest apart
	Bytes    int64 // of those
	Err      error // why nobody can say how many: no store gives its manifest

	target int // the store's position
}

// Leftover is a snapshot that a prune has dropped and that is still in a store
// which had no part in that prune: it was out of the configuration then.
type Leftover struct {
	Cluster string
	ID      manifest.ID
	Stores  []string
	Why     string
}

// recordPlaces says which stores have one record.
type recordPlaces struct {
	in       []bool
	kind     string
	cluster  string
	snapshot manifest.ID
}

// Survey looks which store has what. Stores that do not answer are named in
// Stores; it is an error when none answers.
func (r *Repository) Survey(ctx context.Context, cluster string) (*Survey, error) {
	v := newSurveyor(len(r.stores))
	unready := make([]error, len(r.stores))
	inEach(ctx, r.stores, func(ctx context.Context, i int) { unready[i] = readMarker(ctx, r.stores[i]) })
	idx, err := r.index(ctx, under(cluster), v.add)
	if err != nil {
		return nil, err
	}
	for i, err := range unready {
		// Without a marker it is no repository: its disk may not be mounted.
		if idx.storeErrs[i] == nil {
			idx.storeErrs[i] = err
		}
	}
	s := &Survey{records: v.records, having: map[folderKey]map[int]bool{}}
	for key, in := range idx.found {
		id := folderKey{key.cluster, key.snapshot}
		s.all, s.having[id] = append(s.all, id), in
	}
	slices.SortFunc(s.all, func(a, b folderKey) int {
		return cmp.Or(cmp.Compare(b.snapshot, a.snapshot), cmp.Compare(a.cluster, b.cluster))
	})
	if err := r.leaveDropped(ctx, s, v); err != nil {
		return nil, err
	}
	if err := r.findGaps(ctx, s, v, idx); err != nil {
		return nil, err
	}
	s.sum(r, idx)
	return s, nil
}

// surveyor takes the stores' listings.
type surveyor struct {
	*inventory
	records   map[string]*recordPlaces
	prunes    map[string]*recordPlaces // the records of whole prunes
	withdrawn map[folderKey][]manifest.ID
}

func newSurveyor(stores int) *surveyor {
	return &surveyor{newInventory(stores), map[string]*recordPlaces{}, map[string]*recordPlaces{}, map[folderKey][]manifest.ID{}}
}

func (v *surveyor) add(store int, n named, o storage.Object) {
	v.inventory.add(store, n, o)
	places := v.records
	switch n.kind {
	case verifiedDir, drillsDir, holdsDir:
	case prunesDir:
		if n.state == withdrawn {
			key := folderKey{n.cluster, n.snapshot}
			v.withdrawn[key] = append(v.withdrawn[key], n.record)
		}
		return
	default:
		cluster, kind, snapshot, rest := folderOf(o.Name)
		if kind != prunesDir || snapshot != "" || strings.Contains(rest, "/") {
			return
		}
		places, n = v.prunes, named{cluster: cluster, kind: kind}
	}
	if places[o.Name] == nil {
		places[o.Name] = &recordPlaces{make([]bool, v.stores), n.kind, n.cluster, n.snapshot}
	}
	places[o.Name].in[store] = true
}

// findGaps compares what the stores hold, and reads the manifest of each
// snapshot of which one lacks anything.
func (r *Repository) findGaps(ctx context.Context, s *Survey, v *surveyor, idx *index) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for _, key := range s.all {
		in := s.having[key]
		if !v.uneven(key, in, idx.storeErrs) {
			continue
		}
		group.Go(func() error {
			snapshot, err := r.loadSnapshot(ctx, idx, key.cluster, key.snapshot, r.cache)
			for i, store := range r.stores {
				if idx.storeErrs[i] != nil {
					continue
				}
				gap := Gap{Cluster: key.cluster, ID: key.snapshot, Store: store.Name, Manifest: !in[i], Err: err, target: i}
				if err == nil {
					gap.Objects, gap.Bytes = v.lacks(snapshot.Manifest, i)
				}
				if gap.Manifest || gap.Objects > 0 {
					mu.Lock()
					s.Gaps = append(s.Gaps, gap)
					mu.Unlock()
				}
			}
			return ctx.Err()
		})
	}
	err := group.Wait()
	slices.SortFunc(s.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(b.ID, a.ID), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.target, b.target))
	})
	return err
}

// uneven tells whether one of the stores that answered holds something else of
// a snapshot than the others. What all of them lack no copying brings back.
func (v *surveyor) uneven(key folderKey, in map[int]bool, storeErrs []error) bool {
	f := v.folders[key]
	var first []uint64
	for i := range v.stores {
		if storeErrs[i] != nil {
			continue
		}
		if !in[i] {
			return true
		}
		slices.Sort(f.held[i])
		if first != nil && !slices.Equal(first, f.held[i]) {
			return true
		}
		first = append([]uint64{}, f.held[i]...)
	}
	return false
}

// lacks is how much of what a manifest names is not in a store with its size.
func (v *surveyor) lacks(m *manifest.Manifest, store int) (objects int, bytes int64) {
	var held []uint64
	if f := v.folders[folderKey{m.Cluster, m.ID}]; f != nil {
		held = f.held[store]
	}
	for _, file := range m.Files() {
		if !slices.Contains(held, v.hash(file.Object, file.Bytes)) {
			objects++
			bytes += file.Bytes
		}
	}
	return objects, bytes
}

// leaveDropped takes out of the survey what a prune has dropped and a store
// that came back later still has: it must not come back with it.
//
// A prune leaves its record in every store before it deletes anything, and
// deletes the manifests of the mirrors before the primary's. So a prune that
// names a snapshot has dropped it if no store that has the manifest has that
// prune's record: where one has both, the prune did not come to this snapshot,
// or went no further. (That is why these records are never copied.) Neither
// has it dropped what it has withdrawn from.
func (r *Repository) leaveDropped(ctx context.Context, s *Survey, v *surveyor) error {
	drops := map[string]map[manifest.ID]bool{} // by record
	read := func(name string) (map[manifest.ID]bool, error) {
		if known, ok := drops[name]; ok {
			return known, nil
		}
		var record pruneRecord
		if !r.readRecord(ctx, name, into(&record)) {
			return nil, fmt.Errorf("the record of a prune, %s, cannot be read: what it has dropped must not be copied", name)
		}
		drops[name] = map[manifest.ID]bool{}
		for _, d := range record.Drops {
			drops[name][d.Snapshot] = true
		}
		return drops[name], nil
	}
	var failures []error
	s.all = slices.DeleteFunc(s.all, func(key folderKey) bool {
		for name, places := range v.prunes {
			if places.cluster != key.cluster || knows(places, s.having[key]) || slices.ContainsFunc(v.withdrawn[key],
				func(id manifest.ID) bool { return name == pruneName(key.cluster, id) }) {
				continue
			}
			dropped, err := read(name)
			if err != nil {
				failures = append(failures, err)
			}
			if dropped[key.snapshot] {
				s.Leftover = append(s.Leftover, r.leftover(key, s.having[key], name))
				return true
			}
		}
		return false
	})
	return errors.Join(failures...)
}

// knows tells whether a store that has a manifest has the record, too.
func knows(places *recordPlaces, having map[int]bool) bool {
	for store := range having {
		if places.in[store] {
			return true
		}
	}
	return false
}

func (r *Repository) leftover(key folderKey, in map[int]bool, record string) Leftover {
	l := Leftover{Cluster: key.cluster, ID: key.snapshot, Why: "dropped by the prune of " + record}
	for i, store := range r.stores {
		if in[i] {
			l.Stores = append(l.Stores, store.Name)
		}
	}
	return l
}

// sum says of each store how far it is behind.
func (s *Survey) sum(r *Repository, idx *index) {
	for i, store := range r.stores {
		state := StoreState{Store: store.Name, Place: store.String(), Err: idx.storeErrs[i], Of: len(s.all)}
		lacks := map[folderKey]bool{}
		for _, g := range s.Gaps { // the newest first
			if g.target == i {
				lacks[folderKey{g.Cluster, g.ID}] = true
				state.Oldest, state.Bytes = g.ID, state.Bytes+g.Bytes
			}
		}
		for _, key := range s.all {
			if state.Err == nil && !lacks[key] {
				state.Snapshots++
				state.Newest = max(state.Newest, key.snapshot)
			}
		}
		s.Stores = append(s.Stores, state)
	}
}
