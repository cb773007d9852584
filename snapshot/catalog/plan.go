package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// PruneOptions says what to keep.
type PruneOptions struct {
	Cluster      string // "" for all, each by itself
	Policy       Policy
	OrphansOlder time.Duration    // the age below which objects without a manifest may be a snapshot under way
	Now          func() time.Time // nil is the system's clock
}

// Plan is what a prune would do, and why.
type Plan struct {
	Decisions []Decision // newest first
	Orphans   []Orphan   // newest first
	Entries   map[string]map[manifest.ID]Entry

	o       PruneOptions
	started time.Time
}

// Drops are the snapshots that are not kept, the oldest first: a prune that
// does not come to its end has dropped what was least wanted.
func (p *Plan) Drops() []Decision {
	var drops []Decision
	for _, d := range slices.Backward(p.Decisions) {
		if !d.Keep {
			drops = append(drops, d)
		}
	}
	return drops
}

// Orphan is what is stored of a snapshot that no store has a manifest of: of a
// run that failed or still goes on, or of a prune that was interrupted.
type Orphan struct {
	Cluster string
	ID      manifest.ID
	Objects int // in all stores
	Bytes   int64
	Newest  time.Time // when its last object came, by the store's clock
	Keep    bool
	Reason  string
}

// PlanPrune looks at every store and decides. It changes nothing. Every store
// has to answer: in one that does not could be the only whole snapshot, the
// manifest of what looks like an orphan, a hold, or the mark of a restore.
func (r *Repository) PlanPrune(ctx context.Context, o PruneOptions) (*Plan, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	p := &Plan{o: o, started: o.Now(), Entries: map[string]map[manifest.ID]Entry{}}
	if err := r.allAnswer(ctx); err != nil {
		return nil, err
	}
	inv := newInventory(len(r.stores))
	idx, err := r.index(ctx, under(o.Cluster), inv.add)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(idx.storeErrs...); err != nil {
		return nil, unasked(err)
	}
	// What decides over deleting is read from the stores, not from a cache.
	uncached := &Repository{stores: r.stores}
	entries, err := uncached.entries(ctx, idx, inv.missing)
	if err != nil {
		return nil, err
	}
	var candidates []Candidate
	for _, e := range entries {
		candidates = append(candidates, judge(e, p.started))
		if p.Entries[e.Cluster] == nil {
			p.Entries[e.Cluster] = map[manifest.ID]Entry{}
		}
		p.Entries[e.Cluster][e.ID] = e
	}
	p.Decisions = o.Policy.Decide(candidates, p.started)
	p.Orphans = inv.orphans(o.OrphansOlder, p.started)
	return p, r.keepLocked(ctx, p)
}

// allAnswer is an error unless every store is a repository that this build
// knows: a mirror whose disk is not mounted looks like an empty folder.
func (r *Repository) allAnswer(ctx context.Context) error {
	for _, store := range r.stores {
		if err := readMarker(ctx, store); err != nil {
			return unasked(err)
		}
	}
	return nil
}

func unasked(err error) error {
	return hint.Refuse(fmt.Errorf("nothing is pruned unless every store can be asked: %w", err),
		"Prune when all of them answer; or leave out the store that is gone for good.")
}

// inventory is what the stores hold of each snapshot, with and without a
// manifest. It remembers eight bytes an object: a repository may have millions.
type inventory struct {
	seed    maphash.Seed
	stores  int
	folders map[folderKey]*folder
}

type folderKey struct {
	cluster  string
	snapshot manifest.ID
}

type folder struct {
	manifests int        // in how many stores
	held      [][]uint64 // by store: a hash of each object's name and size
	objects   int
	bytes     int64
	newest    time.Time
}

func newInventory(stores int) *inventory {
	return &inventory{maphash.MakeSeed(), stores, map[folderKey]*folder{}}
}

// add takes one object of a listing. Records that mean nothing without their
// snapshot are counted with it; evidence is not: it stays.
func (v *inventory) add(store int, n named, o storage.Object) {
	cluster, kind, snapshot, rest := folderOf(o.Name)
	if snapshot == "" || kind == verifiedDir || kind == drillsDir {
		return
	}
	key := folderKey{cluster, snapshot}
	f := v.folders[key]
	if f == nil {
		f = &folder{held: make([][]uint64, v.stores)}
		v.folders[key] = f
	}
	f.objects++
	f.bytes += o.Bytes
	if kind == snapshotsDir && o.Modified.After(f.newest) {
		f.newest = o.Modified
	}
	switch {
	case kind != snapshotsDir:
	case n.kind == snapshotsDir:
		f.manifests++
	default:
		f.held[store] = append(f.held[store], v.hash(rest, o.Bytes))
	}
}

func (v *inventory) hash(name string, bytes int64) uint64 {
	return maphash.String(v.seed, name+"\n"+strconv.FormatInt(bytes, 10))
}

// missing is how many of a manifest's objects the store that has most of them
// lacks, or has in another size.
func (v *inventory) missing(s *Snapshot) int {
	f := v.folders[folderKey{s.Manifest.Cluster, s.Manifest.ID}]
	least := -1
	for i, p := range s.Presence {
		if !p.Present || f == nil {
			continue
		}
		held := make(map[uint64]bool, len(f.held[i]))
		for _, h := range f.held[i] {
			held[h] = true
		}
		lacks := 0
		for _, file := range s.Manifest.Files() {
			if !held[v.hash(file.Object, file.Bytes)] {
				lacks++
			}
		}
		if least < 0 || lacks < least {
			least = lacks
		}
	}
	return max(0, least)
}

// judge says what retention has to know of one entry.
func judge(e Entry, now time.Time) Candidate {
	c := Candidate{
		Cluster: e.Cluster, ID: e.ID, Time: e.ID.Time(), Uses: e.Uses,
		Sound: e.Verified != nil && e.Verified.Restorable(), Proved: e.Drilled != nil && e.Drilled.Proved,
	}
	if e.Hold.InForce(now) {
		c.Hold = e.Hold
	}
	for _, kind := range e.unread {
		c.Unsure = "its newest record in " + kind + " cannot be read"
	}
	switch {
	case e.Summary == nil && errors.Is(e.Err, manifest.ErrVersion):
		c.Flaw, c.Unsure = "unreadable", "its manifest is of another format version: the slotark that wrote it may read it"
	case e.Summary == nil && !onlySaid(e.Err):
		c.Flaw, c.Unsure = "unreadable", "its manifest could not be read now"
	case e.Summary == nil:
		c.Flaw = "unreadable"
	case e.Summary.missing > 0:
		c.Flaw = fmt.Sprintf("%s of it missing", human.Plural(e.Summary.missing, "object"))
	case e.Verified != nil && !e.Verified.Restorable():
		c.Flaw = "damaged, as a verification found"
	case e.Drilled != nil && !e.Drilled.Proved:
		c.Flaw = "not proved by its drill"
	}
	return c
}

// onlySaid tells whether all that is wrong with a manifest is what it says.
func onlySaid(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return errors.Is(err, errManifest)
	}
	return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !errors.Is(err, errManifest) })
}

// orphans are the folders without a manifest in any store. One is removed only
// if by its id and by the age of all its objects nobody can be at work on it.
func (v *inventory) orphans(older time.Duration, now time.Time) []Orphan {
	var orphans []Orphan
	for key, f := range v.folders {
		if f.manifests > 0 {
			continue
		}
		o := Orphan{Cluster: key.cluster, ID: key.snapshot, Objects: f.objects, Bytes: f.bytes, Newest: f.newest}
		o.Keep, o.Reason = young(o, older, now)
		orphans = append(orphans, o)
	}
	slices.SortFunc(orphans, func(a, b Orphan) int {
		return cmp.Or(cmp.Compare(b.ID, a.ID), cmp.Compare(a.Cluster, b.Cluster))
	})
	return orphans
}

func young(o Orphan, older time.Duration, now time.Time) (keep bool, reason string) {
	switch {
	case now.Sub(o.ID.Time()) < older:
		return true, "no manifest, but begun less than " + human.Age(older) + " ago: it may be under way"
	case now.Sub(o.Newest) < older:
		return true, "no manifest, but its last object came less than " + human.Age(older) + " ago: it may be under way"
	}
	return false, "no manifest, of a run that did not come to its end"
}
