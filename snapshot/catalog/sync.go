package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// SyncOptions says which stores to bring up, from where.
type SyncOptions struct {
	Cluster   string   // "" for all
	Snapshots []string // ids or their beginnings, or Latest; none for all
	From      string   // the store whose copies are taken; "" for any that has them
	To        string   // the store that is brought up; "" for every mirror
	DryRun    bool
	Now       time.Time // the time of markers that are made
	Progress  progress.Func
}

// Copy is what became of one gap.
type Copy struct {
	Gap
	Whole   bool // the store has the snapshot now, as far as this run looked
	Copied  int  // objects, the manifest apart
	Bytes   int64
	Checked int // objects that were there without a manifest, and are right
	// What is wrong with copies that were read. A copy may be whole in spite
	// of it: another store's was taken.
	Findings []manifest.Finding
	Failed   error // why it is not whole
}

// SyncReport is what a sync did.
type SyncReport struct {
	Copies  []Copy // in the order in which they were done; all of a dry run
	Records int    // evidence and holds that were copied
	// What concerns no copy: stores that do not answer, what only the primary
	// lacks, what a prune has dropped.
	Findings []manifest.Finding
}

// Complete tells whether nothing is left to be said: every store that was to
// be brought up has everything, and nothing that was read is damaged.
func (s *SyncReport) Complete() bool {
	wrong := func(f manifest.Finding) bool { return f.Severity == "error" }
	return !slices.ContainsFunc(s.Findings, wrong) && !slices.ContainsFunc(s.Copies, func(c Copy) bool {
		return c.Failed != nil || slices.ContainsFunc(c.Findings, wrong)
	})
}

const (
	// So many snapshots are copied at once, and so many objects of all of them.
	syncSnapshots = 4
	syncObjects   = 8
)

// Sync brings up the mirrors: what one lacks is copied from another store, each
// snapshot's manifest after everything that it names. The primary is brought up
// only where it is named: that it has lost something is for a person to know.
//
// An object is believed by its bytes alone: what is copied, and what is found
// there without a manifest, is held against the manifest's SHA-256. So a sync that
// was killed goes on where it was, and two at once do no harm. What is there
// with other bytes stays, because names are never used again, and so does the
// gap. An error means that it could not begin, or was interrupted.
func (r *Repository) Sync(ctx context.Context, o SyncOptions) (*SyncReport, error) {
	s, err := r.beginSync(ctx, o)
	if err != nil {
		return nil, err
	}
	if o.DryRun {
		for _, g := range s.gaps {
			s.report.Copies = append(s.report.Copies, Copy{Gap: g})
		}
		s.report.Records = len(s.lackedRecords())
		return s.report, nil
	}
	// What a person said first: a hold counts at once.
	if err := s.copyRecords(ctx); err != nil {
		return s.report, err
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(syncSnapshots)
	for _, gaps := range bySnapshot(s.gaps) {
		group.Go(func() error {
			for _, c := range s.bring(inner, gaps) {
				s.mu.Lock()
				s.report.Copies = append(s.report.Copies, c)
				s.mu.Unlock()
			}
			return inner.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return s.report, hint.Left(fmt.Errorf("the sync was stopped before its end: %w", context.Cause(ctx)), "sync again: it goes on from there")
	}
	return s.report, nil
}

// syncing is one sync under way.
type syncing struct {
	SyncOptions
	r       *Repository
	survey  *Survey
	targets []bool // by store
	asked   map[folderKey]bool
	gaps    []Gap
	streams *semaphore.Weighted

	mu     sync.Mutex // guards what follows
	report *SyncReport
	out    map[int]error // stores that failed as targets: the rest is not tried
}

func (r *Repository) beginSync(ctx context.Context, o SyncOptions) (*syncing, error) {
	s := &syncing{SyncOptions: o, r: r, targets: make([]bool, len(r.stores)), streams: semaphore.NewWeighted(syncObjects),
		report: &SyncReport{}, out: map[int]error{}}
	if err := s.name(); err != nil {
		return nil, err
	}
	if !o.DryRun { // a new mirror is a repository from now on
		inEach(ctx, r.stores, func(ctx context.Context, i int) {
			if s.targets[i] {
				// What keeps it from that, the survey says, too.
				_ = ensureMarker(ctx, r.stores[i], o.Now)
			}
		})
	}
	var err error
	if s.survey, err = r.Survey(ctx, o.Cluster); err != nil {
		return nil, err
	}
	if s.asked, err = s.wanted(); err != nil {
		return nil, err
	}
	for _, g := range s.survey.Gaps {
		switch {
		case !s.asked[folderKey{g.Cluster, g.ID}]:
		case s.targets[g.target]:
			s.gaps = append(s.gaps, g)
		case g.target == 0 && o.To == "":
			s.find("primary-lost", "error", fmt.Sprintf("%s: %s", g.Store, g.ID), "%s does not have it whole, another store does: slotark mirror sync --to %s brings it back", g.Store, g.Store)
		}
	}
	for i, state := range s.survey.Stores {
		switch {
		case state.Err == nil || !s.targets[i] && o.From != "" && o.From != state.Store:
			continue
		case s.targets[i]:
			s.find("store-unreachable", "error", state.Store, "cannot be asked: %s", strings.ReplaceAll(state.Err.Error(), "\n", "; "))
		default:
			s.find("store-unreachable", "error", state.Store, "cannot be asked, and what it alone has was not copied: %s", strings.ReplaceAll(state.Err.Error(), "\n", "; "))
		}
	}
	for _, l := range s.survey.Leftover {
		if s.asked[folderKey{l.Cluster, l.ID}] {
			s.find("dropped", "warning", human.List(l.Stores)+": "+string(l.ID), "%s, and not copied from there: a prune that knows all stores removes it", l.Why)
		}
	}
	return s, nil
}

func (s *syncing) find(code, severity, subject, format string, args ...any) {
	s.report.Findings = append(s.report.Findings, manifest.Finding{Code: code, Severity: severity, Subject: subject, Detail: fmt.Sprintf(format, args...)})
}

// name settles which stores are targets.
func (s *syncing) name() error {
	known := map[string]bool{}
	var names []string
	for i, store := range s.r.stores {
		known[store.Name] = true
		names = append(names, store.Name)
		s.targets[i] = store.Name == s.To || s.To == "" && i > 0 && store.Name != s.From
	}
	for _, name := range []string{s.From, s.To} {
		if name != "" && !known[name] {
			return hint.Add(fmt.Errorf("%w: %q", ErrNoSuchStore, name), "the stores of this repository are "+human.List(names))
		}
	}
	if s.From != "" && s.From == s.To {
		return fmt.Errorf("%w: from %s to %s is nowhere", ErrNoSuchStore, s.From, s.To)
	}
	if !slices.Contains(s.targets, true) {
		return hint.Add(fmt.Errorf("%w to bring up: this repository has no mirror", ErrNoSuchStore), "name one: --mirror URL, or repository.mirrors in --config FILE")
	}
	return nil
}

// ErrNoSuchStore is returned for a store's name that the repository has not.
var ErrNoSuchStore = errors.New("no such store")

// wanted are the snapshots that were asked for, by id or its beginning.
func (s *syncing) wanted() (map[folderKey]bool, error) {
	all := slices.Clone(s.survey.all)
	for _, l := range s.survey.Leftover {
		all = append(all, folderKey{l.Cluster, l.ID})
	}
	wanted := map[folderKey]bool{}
	for _, key := range all {
		wanted[key] = len(s.Snapshots) == 0
	}
	for _, ref := range s.Snapshots {
		found := false
		for i, key := range all {
			if ref == Latest && i == 0 || ref != "" && strings.HasPrefix(string(key.snapshot), ref) {
				wanted[key], found = true, true
			}
		}
		if !found {
			return nil, hint.Add(fmt.Errorf("%w: %s", ErrNoSnapshot, ref), "see which there are: slotark list")
		}
	}
	return wanted, nil
}

func bySnapshot(gaps []Gap) [][]Gap {
	var groups [][]Gap
	for i, g := range gaps {
		if i == 0 || g.ID != gaps[i-1].ID || g.Cluster != gaps[i-1].Cluster {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], g)
	}
	return groups
}

// lackedRecord is one record that a target lacks.
type lackedRecord struct {
	name   string
	target int
}

// lackedRecords are the evidence and the holds that targets lack. The marks of
// restores and prunes are not copied: they count by when they were written,
// and where. A hold is copied where its snapshot still is.
func (s *syncing) lackedRecords() []lackedRecord {
	var lacked []lackedRecord
	for _, name := range slices.Sorted(maps.Keys(s.survey.records)) {
		places := s.survey.records[name]
		there := s.survey.having[folderKey{places.cluster, places.snapshot}] != nil
		asked := len(s.Snapshots) == 0 || s.asked[folderKey{places.cluster, places.snapshot}]
		if !asked || places.kind == holdsDir && !there {
			continue
		}
		for i, has := range places.in {
			if !has && s.targets[i] && s.survey.Stores[i].Err == nil {
				lacked = append(lacked, lackedRecord{name, i})
			}
		}
	}
	return lacked
}

func (s *syncing) copyRecords(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for _, l := range s.lackedRecords() {
		group.Go(func() error {
			err := s.copyRecord(ctx, l)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if err == nil {
				s.report.Records++
				return nil
			}
			s.find("record-not-copied", "error", s.r.stores[l.target].Name+": "+l.name, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
			return nil
		})
	}
	return group.Wait()
}

// copyRecord copies one record from the first store that gives one.
func (s *syncing) copyRecord(ctx context.Context, l lackedRecord) error {
	var failures []error
	for i, has := range s.survey.records[l.name].in {
		if !has || !s.source(i) {
			continue
		}
		var record json.RawMessage
		if err := readJSON(ctx, s.r.stores[i], l.name, &record); err != nil {
			failures = append(failures, err)
			continue
		}
		err := putText(ctx, s.r.stores[l.target], l.name, append(record, '\n'))
		if errors.Is(err, storage.ErrExists) { // another sync was faster
			return nil
		}
		return err
	}
	if len(failures) == 0 {
		return errors.New("no store that may be read has it")
	}
	return errors.Join(failures...)
}

// source tells whether copies may be taken from a store.
func (s *syncing) source(store int) bool {
	return (s.From == "" || s.r.stores[store].Name == s.From) && s.survey.Stores[store].Err == nil
}
