package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// Latest is the reference that Find takes for the newest snapshot.
const Latest = "latest"

// maxReads bounds how many objects are read at once.
const maxReads = 16

// Verification is the record of one `slotark verify` of a snapshot.
type Verification struct {
	ID       manifest.ID `json:"id"`
	Snapshot manifest.ID `json:"snapshot"`
	Level    string      `json:"level"`
	Started  time.Time   `json:"started"`
	Ended    time.Time   `json:"ended"`
	Stores   []string    `json:"stores"` // those that were read
	Sound    bool        `json:"sound"`  // nothing was found
	// SoundIn are those of Stores in whose copy nothing was found. Records of
	// before there was this have none, unless they are sound.
	SoundIn  []string  `json:"sound_in,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// What is found of a store that could not be read: it says nothing of the
// snapshot.
const (
	Unreachable = "store-unreachable"
	Behind      = "mirror-behind"
)

// Damaged tells whether anything was found in what was read.
func (v *Verification) Damaged() bool {
	return slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Code != Unreachable && f.Code != Behind })
}

// Restorable tells whether a copy was read in which nothing was found.
func (v *Verification) Restorable() bool {
	return v.Sound || len(v.SoundIn) > 0 || !v.Damaged() && len(v.Stores) > 0
}

// Finding is one thing wrong, and where.
type Finding struct {
	manifest.Finding
	Offset *int64 `json:"offset,omitempty"` // of the byte in the object where it shows; nil: not at any one
}

// Drill is what the catalog reads of a drill's report.
type Drill struct {
	ID       manifest.ID `json:"id"`
	Snapshot manifest.ID `json:"snapshot"`
	Ended    time.Time   `json:"ended"`
	Proved   bool        `json:"proved"`
	RTO      Seconds     `json:"rto_seconds"`
}

// Entry is one line of a catalog: a snapshot and what is known of it.
type Entry struct {
	Cluster  string
	ID       manifest.ID
	Summary  *Summary      // nil where no store has a readable manifest
	Err      error         // why it is nil
	Verified *Verification // the newest; nil where there is none
	Drilled  *Drill        // the newest; nil where there is none
	Hold     *Hold         // the newest, in force or not; nil where there is none
	Uses     []Use         // restores and drills of it that go on, by this machine's clock

	unread []string // kinds of records that are there and could not be read
}

// Summary is what a list keeps of a snapshot. Its manifest grows with the shards,
// and a list with the snapshots: both together would not fit in memory. Find
// gives the whole of one.
type Summary struct {
	Keys         uint64
	Bytes        int64 // of all objects as they are stored, less the manifest
	AOF          bool  // it holds the append-only files of every shard
	Seal         manifest.Seal
	ResealedFrom manifest.ID
	Presence     []Presence // one for each store of the repository, the primary first

	missing int // objects; for a prune, which has counted what there are
}

// index is what one pass over the stores' names gives.
type index struct {
	found     map[named]map[int]bool // manifests: in which stores (by position)
	records   map[named][]manifest.ID
	uses      map[named]*marks // restores' marks
	storeErrs []error          // by store
}

// List returns the snapshots of one cluster, or of all where cluster is empty,
// newest first. Stores that do not answer are named in the entries' Presence;
// it is an error only when none answers.
func (r *Repository) List(ctx context.Context, cluster string) ([]Entry, error) {
	idx, err := r.indexBy(ctx, func(ctx context.Context, store storage.Store, add func(storage.Object)) error {
		return listKnown(ctx, store, cluster, add)
	})
	if err != nil {
		return nil, err
	}
	return r.entries(ctx, idx, nil)
}

// under is the prefix of one cluster's objects, or of all.
func under(cluster string) string {
	if cluster == "" {
		return ""
	}
	return cluster + "/"
}

// entries reads what is known of each snapshot of an index, newest first. Where
// missing is given it is asked, of several at once, how many objects of a
// snapshot there are not.
func (r *Repository) entries(ctx context.Context, idx *index, missing func(*Snapshot) int) ([]Entry, error) {
	entries := make([]Entry, 0, len(idx.found))
	for key := range idx.found {
		entries = append(entries, Entry{Cluster: key.cluster, ID: key.snapshot})
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.ID, a.ID), cmp.Compare(a.Cluster, b.Cluster))
	})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for i := range entries {
		group.Go(func() error {
			r.fill(ctx, idx, &entries[i], missing)
			return ctx.Err()
		})
	}
	return entries, group.Wait()
}

// Find returns one snapshot by its id, by a prefix that only it has, or the
// newest by "latest".
func (r *Repository) Find(ctx context.Context, cluster, ref string) (*Snapshot, error) {
	prefix := under(cluster)
	if cluster != "" && ref != Latest && !strings.Contains(ref, "/") {
		prefix += snapshotsDir + "/" + ref // so that nothing of the others is listed
	}
	idx, err := r.index(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var matches []named
	for key := range idx.found {
		if ref == Latest || strings.HasPrefix(string(key.snapshot), ref) && ref != "" {
			matches = append(matches, key)
		}
	}
	slices.SortFunc(matches, func(a, b named) int { return cmp.Compare(b.snapshot, a.snapshot) })
	where := r.stores[0].String()
	if cluster != "" {
		where += ", cluster " + cluster
	}
	silent := errors.Join(idx.storeErrs...) // a store that was not asked may have it
	switch {
	case len(matches) == 0 && ref == Latest:
		return nil, errors.Join(hint.Add(fmt.Errorf("%w: none yet in %s", ErrNoSnapshot, where), "take one: slotark snapshot"), silent)
	case len(matches) == 0:
		return nil, errors.Join(hint.Add(fmt.Errorf("%w: %s in %s", ErrNoSnapshot, ref, where), "see which there are: slotark list"), silent)
	case ref == Latest && !sameCluster(matches):
		return nil, hint.Add(errors.New("this repository holds several clusters: the latest of which?"), "name it: --cluster NAME")
	case len(matches) > 1 && ref != Latest:
		return nil, hint.Add(fmt.Errorf("%q is the beginning of %d snapshot ids, among them %s and %s",
			ref, len(matches), matches[0].snapshot, matches[1].snapshot), "give more of it; see which there are: slotark list")
	}
	return r.loadSnapshot(ctx, idx, matches[0].cluster, matches[0].snapshot, nil)
}

func sameCluster(keys []named) bool {
	return !slices.ContainsFunc(keys, func(k named) bool { return k.cluster != keys[0].cluster })
}

// index lists every store once. The visitors see each object too, and what its
// name says; they are called one at a time.
func (r *Repository) index(ctx context.Context, prefix string, visit ...func(store int, n named, o storage.Object)) (*index, error) {
	return r.indexBy(ctx, func(ctx context.Context, store storage.Store, add func(storage.Object)) error {
		return listAll(ctx, store, prefix, add)
	}, visit...)
}

// indexBy makes an index of what one way of listing gives of each store.
func (r *Repository) indexBy(ctx context.Context, list func(context.Context, storage.Store, func(storage.Object)) error, visit ...func(store int, n named, o storage.Object)) (*index, error) {
	idx := &index{map[named]map[int]bool{}, map[named][]manifest.ID{}, map[named]*marks{}, make([]error, len(r.stores))}
	now := clock.Now()
	var mu sync.Mutex
	var group errgroup.Group
	for i, store := range r.stores {
		if idx.storeErrs[i] = r.silent[store.Name]; idx.storeErrs[i] != nil {
			continue
		}
		group.Go(func() error {
			idx.storeErrs[i] = list(ctx, store.Store, func(object storage.Object) {
				n, known := parseName(object.Name)
				if !known && len(visit) == 0 {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if known {
					idx.add(n, i, now.Sub(object.Modified))
				}
				for _, v := range visit {
					v(i, n, object)
				}
			})
			return nil
		})
	}
	group.Wait() // the stores' errors are kept one by one
	if !slices.Contains(idx.storeErrs, nil) {
		return nil, errors.Join(idx.storeErrs...)
	}
	return idx, nil
}

func (x *index) add(n named, store int, age time.Duration) {
	key := named{cluster: n.cluster, kind: n.kind, snapshot: n.snapshot}
	switch n.kind {
	case snapshotsDir:
		if x.found[key] == nil {
			x.found[key] = map[int]bool{}
		}
		x.found[key][store] = true
	case restoresDir:
		if x.uses[key] == nil {
			x.uses[key] = newMarks(useLife)
		}
		x.uses[key].add(n, age)
	case prunesDir: // of no account to who lists
	default:
		x.records[key] = append(x.records[key], n.record)
	}
}

// fill reads one entry's manifest and its newest records.
func (r *Repository) fill(ctx context.Context, idx *index, e *Entry, missing func(*Snapshot) int) {
	s, err := r.loadSnapshot(ctx, idx, e.Cluster, e.ID, r.cache)
	if e.Err = err; err == nil {
		m := s.Manifest
		e.Summary = &Summary{Keys: m.Keys(), Bytes: m.Bytes(), AOF: m.HasAOF(), Seal: m.Seal, ResealedFrom: m.ResealedFrom, Presence: s.Presence}
		if missing != nil {
			e.Summary.missing = missing(s)
		}
	}
	e.Verified = newestRecord[Verification](ctx, r, idx, e, verifiedDir)
	e.Drilled = newestRecord[Drill](ctx, r, idx, e, drillsDir)
	e.Hold = r.newestHold(ctx, idx, e)
	e.Uses = idx.usesOf(e)
}

// usesOf are the restores and drills of one entry that go on.
func (x *index) usesOf(e *Entry) []Use {
	if m := x.uses[named{cluster: e.Cluster, kind: restoresDir, snapshot: e.ID}]; m != nil {
		return m.uses()
	}
	return nil
}

// newestRecord is nil where there is none or it cannot be read.
func newestRecord[T any](ctx context.Context, r *Repository, idx *index, e *Entry, kind string) *T {
	id := idx.newest(e, kind)
	if id == "" {
		return nil
	}
	record := new(T)
	if !r.readRecord(ctx, recordsOf(kind, e.Cluster, e.ID)+string(id)+".json", into(record)) {
		e.unread = append(e.unread, kind)
		return nil
	}
	return record
}

func (x *index) newest(e *Entry, kind string) manifest.ID {
	ids := x.records[named{cluster: e.Cluster, kind: kind, snapshot: e.ID}]
	if len(ids) == 0 {
		return ""
	}
	return slices.Max(ids)
}

// into decodes a record.
func into(record any) func(text []byte) error {
	return func(text []byte) error { return json.Unmarshal(text, record) }
}

// readRecord reads a record from the first store that gives it. A record that
// cannot be read counts as not there: it is evidence, and unreadable evidence
// proves nothing. Of a hold see readHold.
func (r *Repository) readRecord(ctx context.Context, name string, decode func(text []byte) error) bool {
	// Of all stores before any is asked: not every store has every record.
	for _, store := range r.stores {
		if decode(r.cache.read(r.cache.key(store, name))) == nil {
			return true
		}
	}
	for _, store := range r.stores {
		text, err := readText(ctx, store, name)
		if err == nil && decode(text) == nil {
			r.cache.write(r.cache.key(store, name), text)
			return true
		}
	}
	return false
}

// loadSnapshot reads a snapshot's manifest from the first store that gives it.
func (r *Repository) loadSnapshot(ctx context.Context, idx *index, cluster string, id manifest.ID, cache *Cache) (*Snapshot, error) {
	in := idx.found[named{cluster: cluster, kind: snapshotsDir, snapshot: id}]
	s := &Snapshot{stores: r.stores, Presence: make([]Presence, len(r.stores))}
	var failures []error
	for i, store := range r.stores {
		s.Presence[i] = Presence{Store: store.Name, Present: in[i], Err: idx.storeErrs[i]}
		if !in[i] || s.Manifest != nil {
			continue
		}
		m, err := loadManifest(ctx, store, cluster, id, cache)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		s.Manifest = m
	}
	if s.Manifest != nil {
		return s, nil
	}
	err := errors.Join(failures...)
	if !slices.ContainsFunc(failures, func(err error) bool { return !errors.Is(err, storage.ErrNotFound) }) {
		// It was there when the names were listed.
		err = hint.Add(fmt.Errorf("%w any more: %s: %w", ErrNoSnapshot, id, err), "see which there are: slotark list")
	}
	return nil, err
}
