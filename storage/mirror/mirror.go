package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/storage"
)

var (
	// ErrStalled is why a mirror was dropped on whose way no byte moved for too
	// long.
	ErrStalled = errors.New("the store stalled")
	// ErrSlow is why a mirror was dropped that moved, but held the others up for
	// too long in all.
	ErrSlow = errors.New("the store is too slow")
	// ErrTooFew is returned by Put when fewer stores are left than must have
	// every object.
	ErrTooFew = errors.New("too few stores can have it")
	// ErrUndecided is returned by Abort where a store may have the object that was
	// committed and does not let it be deleted: what it names was left there, too.
	ErrUndecided = errors.New("whether the last object was stored is not known")
	// ErrAborted is returned by Put after Abort.
	ErrAborted = errors.New("the writer was aborted")

	errStoppedReading = errors.New("the store stopped reading before the object's end")
)

const (
	defaultStall = time.Minute
	// DefaultPatience is how long in all a mirror may hold the others up.
	DefaultPatience = 10 * time.Minute
	// After its end an object may still have to be assembled or brought to
	// the disk, so a mirror has so many stall timeouts to confirm it.
	finishStalls = 5
	// Abort deletes for at most so long.
	abortLimit = time.Minute
)

// Set is a primary store and its mirrors.
type Set struct {
	Primary storage.Named
	Mirrors []storage.Named
	// Require is how many stores, the primary among them, must have every
	// object: with fewer left, Put fails. 0 is 1, the primary alone.
	Require int
	// StallTimeout is how long a mirror for which the others wait may move no
	// byte before it is dropped. 0 = one minute. How long the primary may take is
	// its own affair: without it there is no object.
	StallTimeout time.Duration
	// Patience is how long in all, over every Put of a writer, a mirror may hold
	// the others up before it is dropped, however well it moves. 0 =
	// DefaultPatience.
	Patience time.Duration
}

// Begin returns a writer for the objects of one snapshot.
func (s Set) Begin() *Writer {
	w := &Writer{stall: s.StallTimeout, patience: s.Patience, require: s.Require, primary: newMember(s.Primary)}
	if w.stall <= 0 {
		w.stall = defaultStall
	}
	if w.patience <= 0 {
		w.patience = DefaultPatience
	}
	for _, store := range s.Mirrors {
		w.mirrors = append(w.mirrors, newMember(store))
	}
	return w
}

// Writer puts objects that belong together. It is safe for concurrent use.
type Writer struct {
	stall    time.Duration
	patience time.Duration
	require  int
	primary  *member
	mirrors  []*member

	mu      sync.Mutex
	aborted bool
}

// Outcome says whether a store has every object whose Put returned nil.
type Outcome struct {
	Name string
	Err  error // nil: it has; else the first thing that went wrong
}

// Outcomes returns the primary's outcome and then the mirrors', in order.
func (w *Writer) Outcomes() []Outcome {
	outcomes := make([]Outcome, 0, 1+len(w.mirrors))
	for _, m := range w.members() {
		outcomes = append(outcomes, Outcome{m.Name, m.outcome()})
	}
	return outcomes
}

// Drop ends a mirror's part in this writer, as a Put that failed there does: for
// a mirror that lacks an object which somebody else has put. It is false where
// no mirror has the name.
func (w *Writer) Drop(name string, err error) bool {
	for _, m := range w.mirrors {
		if m.Name == name {
			m.drop(err)
			return true
		}
	}
	return false
}

// Abort deletes from every store, also from those that were dropped, what
// this writer has put, the last object first: a manifest goes before what it
// names, and where it may be stored and cannot be deleted, nothing goes. It works on after ctx has ended, for at most a minute, and returns
// what could not be deleted. No Put may be under way; later ones fail.
func (w *Writer) Abort(ctx context.Context) error {
	w.mu.Lock()
	w.aborted = true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	members := w.members()
	errs := make([]error, len(members))
	// Together, so that a dead mirror does not use up the others' time.
	var wait sync.WaitGroup
	for i, m := range members {
		wait.Go(func() { errs[i] = m.deleteAll(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Discard deletes from every store what this writer has put below a prefix, as
// Abort deletes all of it, and returns what could not be deleted. No Put of
// such a name may be under way. What it has deleted does not count any more;
// what is left Abort tries again.
func (w *Writer) Discard(ctx context.Context, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, abortLimit)
	defer cancel()
	members := w.members()
	errs := make([]error, len(members))
	var wait sync.WaitGroup
	for i, m := range members {
		wait.Go(func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			errs[i] = m.deleteStored(ctx, prefix)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (w *Writer) members() []*member { return append([]*member{w.primary}, w.mirrors...) }

func (w *Writer) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		return ErrAborted
	}
	return w.enough()
}

// enough is an error once fewer stores are left than must have every object.
func (w *Writer) enough() error {
	left := 1
	var reasons []error
	for _, m := range w.mirrors {
		if !m.out() {
			left++
			continue
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", m.Name, m.outcome()))
	}
	if left >= w.require {
		return nil
	}
	return fmt.Errorf("%w: %d must, %d of %d can: %w", ErrTooFew, w.require, left, 1+len(w.mirrors), errors.Join(reasons...))
}

// member is one store and what this writer knows of it.
type member struct {
	storage.Named
	dropped  chan struct{} // closed once a mirror is out
	patience patience

	mu      sync.Mutex
	dropErr error
	stored  []string         // names, in the order they became visible
	last    string           // the name that was to be committed; "" before that
	failed  map[string]error // by name; only the primary may fail and go on
}

func newMember(store storage.Named) *member {
	return &member{Named: store, dropped: make(chan struct{}), failed: map[string]error{}}
}

// drop ends a mirror's part in this writer. Only the first reason is kept.
func (m *member) drop(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropErr == nil {
		m.dropErr = err
		close(m.dropped)
	}
}

func (m *member) out() bool {
	select {
	case <-m.dropped:
		return true
	default:
		return false
	}
}

func (m *member) storedObject(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored = append(m.stored, name)
	delete(m.failed, name)
}

func (m *member) failedObject(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed[name] = err
}

func (m *member) outcome() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropErr != nil {
		return m.dropErr
	}
	first := ""
	for name := range m.failed {
		if first == "" || name < first {
			first = name
		}
	}
	return m.failed[first]
}

// commits notes that the last object is on its way.
func (m *member) commits(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = name
}

// deleteAll deletes only names whose Put has succeeded: an object under a name
// whose Put has failed may be somebody else's. The committed one is an exception
// unless that is so, because an answer that was lost on its way would leave a
// manifest without what it names.
func (m *member) deleteAll(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != "" && !errors.Is(errors.Join(m.failed[m.last], m.dropErr), storage.ErrExists) {
		if err := m.Delete(ctx, m.last); err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrNoStore) {
			return fmt.Errorf("%s: %w: %w", m.Name, ErrUndecided, err)
		}
	}
	return m.deleteStored(ctx, "")
}

// deleteStored deletes what is below a prefix, the last object first.
func (m *member) deleteStored(ctx context.Context, prefix string) error {
	var errs []error
	var left []string
	for _, name := range slices.Backward(m.stored) {
		if !strings.HasPrefix(name, prefix) {
			left = append(left, name)
			continue
		}
		if err := m.Delete(ctx, name); err != nil && !errors.Is(err, storage.ErrNotFound) {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name, err))
			left = append(left, name)
		}
	}
	slices.Reverse(left)
	m.stored = left
	return errors.Join(errs...)
}
