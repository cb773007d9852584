package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/slotark/slotark/storage"
)

// Check is one line of the contract, or several that belong together.
type Check struct {
	Name string
	// Heavy is one that sends many megabytes or a thousand objects.
	Heavy bool
	// Deletes is one that cannot do without the right to delete.
	Deletes bool

	run func(*run)
}

// Checks returns all checks.
func Checks() []Check {
	return []Check{
		{Name: "whole object of each size", run: checkSizes, Heavy: true},
		{Name: "bodies that read oddly", run: checkOddBodies},
		{Name: "ranges", run: checkRanges},
		{Name: "missing names", run: checkMissing},
		{Name: "invalid names", run: checkNames, Deletes: true},
		{Name: "never overwrites", run: checkNoOverwrite, Heavy: true},
		{Name: "one of eight putters wins", run: checkRace},
		{Name: "large putters race", run: checkLargeRace, Heavy: true},
		{Name: "body error leaves nothing", run: checkBodyError, Heavy: true, Deletes: true},
		{Name: "cancel in mid-put leaves nothing", run: checkCancel, Heavy: true, Deletes: true},
		{Name: "cancelled before it begins", run: checkCancelled},
		{Name: "not seen before its end", run: checkNotSeenEarly, Heavy: true},
		{Name: "deletes once", run: checkDelete, Deletes: true},
		{Name: "lists in order", run: checkListOrder},
		{Name: "lists by prefix", run: checkListPrefix},
		{Name: "lists more than a page", run: checkListMany, Heavy: true},
		{Name: "list can be left", run: checkListLeft},
		{Name: "concurrent puts", run: checkConcurrent, Heavy: true},
		{Name: "location", run: checkString},
	}
}

// Run runs the check on an empty store that nothing else uses. The error joins
// all that is wrong.
func (c Check) Run(ctx context.Context, s storage.Store) error {
	r := &run{ctx: ctx, s: s}
	c.run(r)
	return errors.Join(r.faults...)
}

// run is one check at work, and what it has found.
type run struct {
	ctx context.Context
	s   storage.Store

	mu     sync.Mutex
	faults []error
}

// fault notes what is wrong; several goroutines may.
func (r *run) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, err)
}

func (r *run) faultf(format string, args ...any) { r.fault(fmt.Errorf(format, args...)) }

// Bytes returns n bytes that look random and are the same for the same seed,
// so that a block in the wrong place is noticed.
func Bytes(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data) // it cannot fail
	return data
}

// put stores data and looks at what Put returns.
func (r *run) put(name string, data []byte) storage.Object {
	object, err := r.s.Put(r.ctx, name, bytes.NewReader(data))
	switch {
	case err != nil:
		r.fault(err)
	case object.Name != name || object.Bytes != int64(len(data)) || object.Modified.IsZero():
		r.faultf("Put of %d bytes to %s returned %+v", len(data), name, object)
	}
	return object
}

// read returns an object's bytes.
func (r *run) read(name string) []byte {
	body, err := r.s.Open(r.ctx, name)
	if err != nil {
		r.fault(err)
		return nil
	}
	data, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		r.fault(err)
	}
	return data
}

// wantNothing checks that neither a name nor anything else is in the store,
// and that the name can be used afterwards.
func (r *run) wantNothing(name string) {
	r.wantMissing(name)
	r.wantNames("")
	r.put(name, []byte("later"))
}

func (r *run) wantMissing(name string) {
	if _, err := r.s.Stat(r.ctx, name); !errors.Is(err, storage.ErrNotFound) {
		r.faultf("Stat(%q) = %v, want ErrNotFound", name, err)
	}
	if body, err := r.s.Open(r.ctx, name); !errors.Is(err, storage.ErrNotFound) {
		r.faultf("Open(%q) = %v, want ErrNotFound", name, err)
		if err == nil {
			_ = body.Close()
		}
	}
	if err := r.s.Delete(r.ctx, name); !errors.Is(err, storage.ErrNotFound) {
		r.faultf("Delete(%q) = %v, want ErrNotFound", name, err)
	}
}

func (r *run) wantNames(prefix string, want ...string) {
	got := []string{}
	for object, err := range r.s.List(r.ctx, prefix) {
		if err != nil {
			r.fault(err)
			return
		}
		got = append(got, object.Name)
	}
	if !slices.Equal(got, want) {
		r.faultf("List(%q) gave %q, want %q", prefix, got, want)
	}
}

// endless is a body that calls at after so many bytes and then goes on, up to
// a limit that only a Put that does not stop reaches.
type endless struct {
	after int64
	at    func() error
	given int64
}

const endlessLimit = 256 << 20

func (e *endless) Read(p []byte) (int, error) {
	if e.given >= endlessLimit {
		return 0, errors.New("the Put did not stop")
	}
	if e.given >= e.after && e.at != nil {
		at := e.at
		e.at = nil
		if err := at(); err != nil {
			return 0, err
		}
	}
	if len(p) > 64<<10 {
		p = p[:64<<10]
	}
	clear(p)
	e.given += int64(len(p))
	return len(p), nil
}
