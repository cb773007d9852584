package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// How a restore and a prune of one snapshot see each other, without a lock: each
// first writes a mark and then looks for the other's. Stores show what was
// written at once, so at least one of the two sees the other, whatever the order.
//
//	restore: writes restores/<snapshot>/<id>-begun.json, looks for prunes' marks,
//	         looks whether the manifest is still there, begins
//	prune:   writes prunes/<snapshot>/<id>-begun.json, looks for restores' marks
//	         and holds, deletes the manifests
//
// A prune that sees a restore withdraws; a restore that sees a prune waits
// until that has withdrawn or the manifest is gone. Marks of what was killed
// end by their age, which is told by the store's clock alone: the difference
// between two objects' Modified, never by the clocks of two machines.
const (
	begun     = "begun"
	renewed   = "renewed-"  // and a number
	done      = "done-"     // and a number: what of a restore is done, see journal.go
	taken     = "taken-"    // and the id of the restore that goes on with this one
	ended     = "ended"     // of a restore
	withdrawn = "withdrawn" // of a prune

	// A restore is believed to go on for so long after its last mark.
	useLife    = 24 * time.Hour
	renewEvery = 6 * time.Hour
	// A prune's mark says that manifests may be deleted for so long; it deletes
	// them in half of that, or not at all.
	intentLife = 10 * time.Minute
	// A mark is a small object. A store that does not take it in so long will
	// hardly give a snapshot either.
	markLimit = 20 * time.Second
	// How long a restore waits for a prune, and how often it looks.
	outlastLimit = 30 * time.Second
	outlastEvery = 250 * time.Millisecond
)

// Use is a restore or a drill that reads a snapshot.
type Use struct {
	ID    manifest.ID
	Since time.Time
}

// String is a reason to keep the snapshot.
func (u Use) String() string { return "being restored since " + human.Moment(u.Since) }

// markRecord is what a mark says to a person; its name says all that counts.
type markRecord struct {
	ID       manifest.ID `json:"id"`
	Snapshot manifest.ID `json:"snapshot"`
	State    string      `json:"state"`
	Host     string      `json:"host,omitempty"`
	Process  int         `json:"process"`
	Work
}

// witness is a store that has taken an object of ours, which shows its clock.
type witness struct {
	storage.Named
	modified, asked time.Time // by its clock, and by ours when it had answered
}

// now is what the store's clock shows.
func (w witness) now() time.Time { return w.modified.Add(clock.Since(w.asked)) }

// putEverywhere stores v as JSON in each of the stores. It returns those that
// took it, and what the others said.
func putEverywhere(ctx context.Context, stores []storage.Named, name string, v any) ([]witness, error) {
	took, failures := putEach(ctx, stores, name, v)
	return took, errors.Join(failures...)
}

// putEach is putEverywhere with what each of the others said.
func putEach(ctx context.Context, stores []storage.Named, name string, v any) (took []witness, failures []error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, []error{fmt.Errorf("encode %s: %w", name, err)}
	}
	text = append(text, '\n')
	objects, errs := make([]storage.Object, len(stores)), make([]error, len(stores))
	inEach(ctx, stores, func(ctx context.Context, i int) {
		objects[i], errs[i] = stores[i].Put(ctx, name, bytes.NewReader(text))
	})
	for i, err := range errs {
		if err != nil {
			failures = append(failures, err)
			continue
		}
		took = append(took, witness{stores[i], objects[i].Modified, clock.Now()})
	}
	return took, failures
}

// putMark stores one mark in each of the stores.
func putMark(ctx context.Context, stores []storage.Named, kind, cluster string, snapshot, id manifest.ID, state string, work Work) ([]witness, error) {
	host, _ := os.Hostname() // a mark without it is as good
	return putEverywhere(ctx, stores, markName(kind, cluster, snapshot, id, state), markRecord{id, snapshot, state, host, os.Getpid(), work})
}

// inEach does something in each store at once, for at most markLimit.
func inEach(ctx context.Context, stores []storage.Named, do func(ctx context.Context, i int)) {
	ctx, cancel := context.WithTimeoutCause(ctx, markLimit, fmt.Errorf("the store took over %s", human.Duration(markLimit)))
	defer cancel()
	var group errgroup.Group
	for i := range stores {
		group.Go(func() error {
			do(ctx, i)
			return nil
		})
	}
	group.Wait() // each keeps its own error
}

// marks are the marks of one kind on one snapshot, as one or more stores have
// them.
type marks struct {
	life time.Duration
	live map[manifest.ID]bool
	over map[manifest.ID]bool
}

func newMarks(life time.Duration) *marks {
	return &marks{life, map[manifest.ID]bool{}, map[manifest.ID]bool{}}
}

// add takes a mark that a store modified last at the given age.
func (m *marks) add(n named, age time.Duration) {
	switch {
	case n.state == ended || n.state == withdrawn:
		m.over[n.record] = true
	case (n.state == begun || strings.HasPrefix(n.state, renewed) || strings.HasPrefix(n.state, done)) && age < m.life:
		m.live[n.record] = true
	}
}

// merge is what several stores say together.
func merge(each []*marks, life time.Duration) *marks {
	all := newMarks(life)
	for _, m := range each {
		maps.Copy(all.live, m.live)
		maps.Copy(all.over, m.over)
	}
	return all
}

// uses are those that are not over, in any store.
func (m *marks) uses() []Use {
	var uses []Use
	for id := range m.live {
		if !m.over[id] {
			uses = append(uses, Use{id, id.Time()})
		}
	}
	return uses
}

// read adds the marks of one store, whose clock shows now.
func (m *marks) read(ctx context.Context, store storage.Store, kind, cluster string, snapshot manifest.ID, now time.Time) error {
	for object, err := range store.List(ctx, recordsOf(kind, cluster, snapshot)) {
		if err != nil {
			return err
		}
		if n, ok := parseName(object.Name); ok {
			m.add(n, now.Sub(object.Modified))
		}
	}
	return nil
}

// Claim says in the repository that a snapshot is being read, so that no prune
// deletes it meanwhile. A claim whose holder dies ends a day after its last sign.
type Claim struct {
	// Warning is why no store took the claim: without the right to write one
	// may still restore, but nothing keeps a prune away. "" where one took it.
	Warning  string
	snapshot *Snapshot
	id       manifest.ID
	stop     context.CancelFunc
	stopped  chan struct{}

	mu      sync.Mutex // guards entries
	entries int        // of the journal
}

// Claim begins to use a snapshot, to restore it onto targets if work names some.
// It returns ErrNoSnapshot when a prune was faster, and a refusal while a prune
// does not come to its end.
func (s *Snapshot) Claim(ctx context.Context, work Work) (*Claim, error) {
	m := s.Manifest
	c := &Claim{snapshot: s, id: manifest.NewID(clock.Now()), stopped: make(chan struct{})}
	took, failed := putMark(ctx, s.stores, restoresDir, m.Cluster, m.ID, c.id, begun, work)
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), c.end(ctx))
	}
	// A view of the past takes no mark, and no prune reaches what it shows.
	if len(took) == 0 && failed != nil && !errors.Is(failed, storage.ErrReadOnly) {
		c.Warning = fmt.Sprintf("no store took the mark that %s is being restored, so a prune could delete it meanwhile: %s",
			m.ID, strings.ReplaceAll(failed.Error(), "\n", "; "))
	}
	if err := s.outlast(ctx, took); err != nil {
		return nil, errors.Join(err, c.end(ctx))
	}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	go c.renew(ctx)
	return c, nil
}

// renew says from time to time that the snapshot is still being read.
func (c *Claim) renew(ctx context.Context) {
	defer close(c.stopped)
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A store that does not take this one may take the next.
			putMark(ctx, c.snapshot.stores, restoresDir, c.snapshot.Manifest.Cluster, c.snapshot.Manifest.ID, c.id, fmt.Sprintf("%s%04d", renewed, n), Work{})
		}
	}
}

// Release ends the claim, also after ctx has ended. Where no store takes that,
// the claim ends by its age.
func (c *Claim) Release(ctx context.Context) error {
	c.stop()
	<-c.stopped
	return c.end(ctx)
}

func (c *Claim) end(ctx context.Context) error {
	if c.Warning != "" {
		return nil // nobody was told that it began
	}
	m := c.snapshot.Manifest
	took, err := putMark(context.WithoutCancel(ctx), c.snapshot.stores, restoresDir, m.Cluster, m.ID, c.id, ended, Work{})
	if len(took) > 0 || errors.Is(err, storage.ErrReadOnly) { // one store that says so is enough
		return nil
	}
	return err
}

// outlast waits until no prune is about to delete the snapshot, and checks that
// it is still there. The witnesses are the stores that took the caller's mark.
func (s *Snapshot) outlast(ctx context.Context, witnesses []witness) error {
	limit := time.NewTimer(outlastLimit)
	defer limit.Stop()
	again := time.NewTicker(outlastEvery)
	defer again.Stop()
	for {
		// A prune's mark is in every store, or it deletes nothing. So one
		// store that has ours and answers is enough to see it.
		prunes, err := s.prunes(ctx, witnesses)
		if s.gone(ctx) {
			return hint.Add(fmt.Errorf("%w any more: %s was dropped by a prune meanwhile", ErrNoSnapshot, s.Manifest.ID), "see which there are: slotark list")
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(prunes) == 0 && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			if err != nil {
				return fmt.Errorf("look for a prune of %s: %w", s.Manifest.ID, err)
			}
			return hint.Refuse(fmt.Errorf("%s is about to be dropped by prune %s", s.Manifest.ID, prunes[0].ID),
				"Take another snapshot; or, if that prune was killed, try again in "+human.Duration(intentLife)+".")
		case <-again.C:
		}
	}
}

// prunes are those that are about to delete the snapshot. It is an error when
// there are witnesses and none answers.
func (s *Snapshot) prunes(ctx context.Context, witnesses []witness) ([]Use, error) {
	stores := make([]storage.Named, len(witnesses))
	for i, w := range witnesses {
		stores[i] = w.Named
	}
	found, errs := make([]*marks, len(witnesses)), make([]error, len(witnesses))
	inEach(ctx, stores, func(ctx context.Context, i int) {
		found[i] = newMarks(intentLife)
		errs[i] = found[i].read(ctx, stores[i], prunesDir, s.Manifest.Cluster, s.Manifest.ID, witnesses[i].now())
	})
	if len(errs) > 0 && !slices.Contains(errs, nil) {
		return nil, errors.Join(errs...)
	}
	return merge(found, intentLife).uses(), nil
}

// gone tells whether every store that had the snapshot says that it has it no
// longer.
func (s *Snapshot) gone(ctx context.Context) bool {
	having := s.Stores()
	missing := make([]bool, len(having))
	inEach(ctx, having, func(ctx context.Context, i int) {
		_, err := having[i].Stat(ctx, ManifestName(s.Manifest.Cluster, s.Manifest.ID))
		missing[i] = errors.Is(err, storage.ErrNotFound)
	})
	return len(having) > 0 && !slices.Contains(missing, false)
}
