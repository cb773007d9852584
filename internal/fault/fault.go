package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/slotark/slotark/storage"
)

// Err is what a store says at its fault.
var Err = errors.New("the store broke")

// Kind is a way to go wrong.
type Kind string

// The kinds. Short, Wrong, Bent and Stale are what no store may do that holds the
// contract; disks and gateways do them all the same.
const (
	Error Kind = "error" // nothing is done
	Cut   Kind = "cut"   // a body or a list ends half way, with an error
	Short Kind = "short" // a body ends half way, and nobody says so but by its size
	Wrong Kind = "wrong" // one bit of what is read is another
	Bent  Kind = "bent"  // one bit of what is stored is another, and nobody says so
	Hang  Kind = "hang"  // there is no answer until the context ends
	Lost  Kind = "lost"  // it is done, and the answer is an error
	Gone  Kind = "gone"  // it is done, and from the answer on nothing of the store is heard any more
	Stale Kind = "stale" // a list omits the newest object
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{Error, Cut, Short, Wrong, Bent, Hang, Lost, Gone, Stale} }

// touches are the calls at which a kind shows.
var touches = map[Kind][]string{
	Error: {"put", "open", "stat", "list", "delete"},
	Cut:   {"put", "open", "list"},
	Short: {"put", "open"},
	Wrong: {"open"},
	Bent:  {"put"},
	Hang:  {"put", "open", "stat", "list", "delete"},
	Lost:  {"put", "delete"},
	Gone:  {"put", "open", "stat", "list", "delete"},
	Stale: {"list"},
}

// Plan is one fault to come. The stores that share it count their calls
// together, those at which its kind shows.
type Plan struct {
	Kind Kind
	At   int    // the call, from 1 on; 0: none
	Hung func() // called when a call hangs; nil: nothing is
	// Later lets no call count before Arm.
	Later bool

	mu    sync.Mutex
	count int
	what  string
	gone  storage.Store
}

// Arm begins to count the calls of a plan for later.
func (p *Plan) Arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Later = false
}

// Hit is the call that went wrong; "" where there were not so many calls.
func (p *Plan) Hit() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.what
}

// Store returns a store that goes wrong as planned.
func (p *Plan) Store(inner storage.Named) storage.Named {
	return storage.Named{Name: inner.Name, Store: &store{inner.Store, p}}
}

// Stores is Store of each.
func (p *Plan) Stores(inner []storage.Named) []storage.Named {
	all := make([]storage.Named, len(inner))
	for i, s := range inner {
		all[i] = p.Store(s)
	}
	return all
}

// store has no more methods than the interface: what reads parts of objects
// comes through Open.
type store struct {
	storage.Store
	plan *Plan
}

// next counts a call and tells whether it is the one; an error where the store
// is gone.
func (s *store) next(verb, name string) (now bool, err error) {
	p := s.plan
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone == s.Store {
		return false, fmt.Errorf("%s %s: %w", verb, name, Err)
	}
	if p.Later || !slices.Contains(touches[p.Kind], verb) {
		return false, nil
	}
	if p.count++; p.count != p.At {
		return false, nil
	}
	p.what = fmt.Sprintf("%s of %s %s in %s", p.Kind, verb, name, s.Store)
	if p.Kind == Gone {
		p.gone = s.Store
	}
	return true, nil
}

// hang waits for the end of the context.
func (s *store) hang(ctx context.Context) error {
	if s.plan.Hung != nil {
		s.plan.Hung()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// answer is what a call that takes no body comes to, whose work is do.
func (s *store) answer(ctx context.Context, verb, name string, do func() error) error {
	now, err := s.next(verb, name)
	switch {
	case err != nil:
		return err
	case !now:
		return do()
	case s.plan.Kind == Hang:
		return s.hang(ctx)
	case s.plan.Kind == Error:
		return fmt.Errorf("%s %s: %w", verb, name, Err)
	}
	return errors.Join(do(), fmt.Errorf("%s %s: %w", verb, name, Err))
}

// Put implements [storage.Store].
func (s *store) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	now, err := s.next("put", name)
	if err != nil {
		return storage.Object{}, err
	}
	if !now {
		return s.Store.Put(ctx, name, body)
	}
	failed := fmt.Errorf("put %s: %w", name, Err)
	switch s.plan.Kind {
	case Hang:
		return storage.Object{}, s.hang(ctx)
	case Error:
		return storage.Object{}, failed
	}
	whole, err := io.ReadAll(body)
	if err != nil {
		return storage.Object{}, err
	}
	switch s.plan.Kind {
	case Cut:
		return storage.Object{}, failed
	case Short:
		return s.Store.Put(ctx, name, bytes.NewReader(whole[:len(whole)/2]))
	case Bent:
		whole[len(whole)/2] ^= 1
		return s.Store.Put(ctx, name, bytes.NewReader(whole))
	}
	_, err = s.Store.Put(ctx, name, bytes.NewReader(whole))
	return storage.Object{}, errors.Join(err, failed)
}

// Open implements [storage.Store].
func (s *store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	now, err := s.next("open", name)
	if err != nil {
		return nil, err
	}
	if now && s.plan.Kind == Error {
		return nil, fmt.Errorf("open %s: %w", name, Err)
	}
	body, err := s.Store.Open(ctx, name)
	if !now || err != nil {
		return body, err
	}
	whole, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	half := bytes.NewReader(whole[:len(whole)/2])
	switch s.plan.Kind {
	case Short:
		return io.NopCloser(half), nil
	case Wrong:
		whole[len(whole)/2] ^= 1
		return io.NopCloser(bytes.NewReader(whole)), nil
	}
	return io.NopCloser(io.MultiReader(half, ending{func() error {
		if s.plan.Kind == Hang {
			return s.hang(ctx)
		}
		return fmt.Errorf("read %s: %w", name, Err)
	}})), nil
}

// ending is a reader that has nothing but its error.
type ending struct{ why func() error }

func (e ending) Read([]byte) (int, error) { return 0, e.why() }

// Stat implements [storage.Store].
func (s *store) Stat(ctx context.Context, name string) (object storage.Object, err error) {
	err = s.answer(ctx, "stat", name, func() (err error) {
		object, err = s.Store.Stat(ctx, name)
		return err
	})
	return object, err
}

// Delete implements [storage.Store].
func (s *store) Delete(ctx context.Context, name string) error {
	return s.answer(ctx, "delete", name, func() error { return s.Store.Delete(ctx, name) })
}

// List implements [storage.Store].
func (s *store) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		now, err := s.next("list", prefix)
		var all []storage.Object
		for object, err := range s.Store.List(ctx, prefix) {
			if err != nil {
				yield(object, err)
				return
			}
			all = append(all, object)
		}
		if now {
			all, err = s.spoil(ctx, prefix, all)
		}
		if err != nil && !now {
			all = nil
		}
		for _, object := range all {
			if !yield(object, nil) {
				return
			}
		}
		if err != nil {
			yield(storage.Object{}, err)
		}
	}
}

// spoil is what is given of a list that goes wrong, and the error that ends it.
func (s *store) spoil(ctx context.Context, prefix string, all []storage.Object) ([]storage.Object, error) {
	switch s.plan.Kind {
	case Stale:
		if len(all) == 0 {
			return nil, nil
		}
		newest := len(all) - 1
		for i, object := range all {
			if object.Modified.After(all[newest].Modified) {
				newest = i
			}
		}
		return slices.Delete(all, newest, newest+1), nil
	case Hang:
		return nil, s.hang(ctx)
	case Error:
		return nil, fmt.Errorf("list %s: %w", prefix, Err)
	}
	return all[:len(all)/2], fmt.Errorf("list %s: %w", prefix, Err)
}
