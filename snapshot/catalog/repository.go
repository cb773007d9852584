package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/prompt"
)

// FormatVersion is the repository layout this build reads and writes.
const FormatVersion = 1

var (
	// ErrNoRepository is returned when a store holds no slotark.json.
	ErrNoRepository = errors.New("no slotark repository")
	// ErrNoSnapshot is returned for an id that no store has.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrFormat is returned for a repository of another format version.
	ErrFormat = errors.New("unknown repository format version")
)

// Repository is a primary store and its mirrors. It holds no state of its own:
// the stores are the state.
type Repository struct {
	stores  []storage.Named
	unready map[string]error // mirrors that could not be made ready for writing, by name
	silent  map[string]error // stores that did not answer when it was opened for reading, by name
	cache   *Cache           // of manifests, for List alone; nil for none
}

// marker is slotark.json.
type marker struct {
	Version int       `json:"format_version"`
	Created time.Time `json:"created"`
}

// Open opens a repository for reading. The stores are the primary first, then
// the mirrors; one that answers is enough, so that a lost region can be
// survived. It returns ErrNoRepository when those that answer hold none, and
// ErrFormat when one, asked before any that can be read, is of another format:
// a mirror left behind must not stand in for a newer repository.
//
// Where there is a choice, a store is given little time to answer, see package
// prompt; one that did not is named by Silent and not asked again.
func Open(ctx context.Context, stores []storage.Named) (*Repository, error) {
	if len(stores) == 0 {
		return nil, errors.New("open repository: no store was named")
	}
	r := &Repository{stores: stores, silent: map[string]error{}}
	if len(stores) > 1 {
		r.stores = make([]storage.Named, len(stores))
		for i, store := range stores {
			r.stores[i] = storage.Named{Name: store.Name, Store: prompt.New(store.Store, AnswerLimit)}
		}
	}
	errs := make([]error, len(stores))
	var wait sync.WaitGroup
	for i, store := range r.stores {
		wait.Go(func() { errs[i] = readMarker(ctx, store) })
	}
	wait.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
			for i, err := range errs {
				if err != nil && !errors.Is(err, ErrNoRepository) && !errors.Is(err, ErrFormat) {
					r.silent[stores[i].Name] = err
				}
			}
			return r, nil
		case errors.Is(errs[i], ErrFormat):
			return nil, err
		}
	}
	return nil, errors.Join(errs...)
}

// AnswerLimit is how long a store may take to answer who reads, where there is
// another. A server that is only busy answers far sooner.
const AnswerLimit = 15 * time.Second

// Silent are the stores that did not answer when the repository was opened for
// reading, and why, the primary first: what is read comes from the others.
func (r *Repository) Silent() []Presence {
	var silent []Presence
	for _, store := range r.stores {
		if err := r.silent[store.Name]; err != nil {
			silent = append(silent, Presence{Store: store.Name, Err: err})
		}
	}
	return silent
}

// Create opens the repository for writing and makes it where there is none
// yet. The primary's failure is an error; a mirror's is kept, and named in the
// outcomes of every snapshot that is written.
func Create(ctx context.Context, stores []storage.Named, now time.Time) (*Repository, error) {
	if len(stores) == 0 {
		return nil, errors.New("open repository: no store was named")
	}
	r := &Repository{stores: stores, unready: map[string]error{}}
	for i, store := range stores {
		err := ensureMarker(ctx, store, now)
		if err != nil && i == 0 {
			return nil, err
		}
		if err != nil {
			r.unready[store.Name] = err
		}
	}
	return r, nil
}

// Join opens a repository for writing beside who has made it, and makes none. The
// primary's failure is an error, as ErrNoRepository where it holds none; a mirror's
// is kept, and named in the outcomes of what is written.
func Join(ctx context.Context, stores []storage.Named) (*Repository, error) {
	if len(stores) == 0 {
		return nil, errors.New("open repository: no store was named")
	}
	r := &Repository{stores: stores, unready: map[string]error{}}
	for i, store := range stores {
		err := readMarker(ctx, store)
		if err != nil && i == 0 {
			return nil, err
		}
		if err != nil {
			r.unready[store.Name] = err
		}
	}
	return r, nil
}

// Stores returns the primary and the mirrors, in that order.
func (r *Repository) Stores() []storage.Named { return r.stores }

func ensureMarker(ctx context.Context, store storage.Named, now time.Time) error {
	err := readMarker(ctx, store)
	if !errors.Is(err, ErrNoRepository) {
		return err
	}
	text, err := json.Marshal(marker{FormatVersion, now})
	if err != nil {
		return fmt.Errorf("encode %s: %w", markerName, err)
	}
	err = putText(ctx, store, markerName, append(text, '\n'))
	if errors.Is(err, storage.ErrExists) { // another run was first: just as good
		return readMarker(ctx, store)
	}
	return err
}

func readMarker(ctx context.Context, store storage.Named) error {
	var m marker
	err := readJSON(ctx, store, markerName, &m)
	switch {
	case errors.Is(err, storage.ErrNoStore): // a folder is made by the first Put
		// Which object was looked for says nothing where there is no place.
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
		return fmt.Errorf("%w: %w", ErrNoRepository, err)
	case errors.Is(err, storage.ErrNotFound):
		return hint.Add(fmt.Errorf("%w in %s", ErrNoRepository, store),
			"check the address; the first `slotark snapshot` makes a repository")
	case err != nil:
		return err
	case m.Version != FormatVersion:
		return hint.Add(fmt.Errorf("%w %d of %s: this build reads version %d", ErrFormat, m.Version, store, FormatVersion),
			"use the slotark release that wrote it, or a newer one")
	}
	return nil
}

// maxRecordBytes bounds what readJSON takes into memory.
const maxRecordBytes = 16 << 20

func readJSON(ctx context.Context, store storage.Store, name string, into any) error {
	text, err := readText(ctx, store, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("decode %s in %s: %w", name, store, err)
	}
	return nil
}

// readText reads a record as it is stored.
func readText(ctx context.Context, store storage.Store, name string) ([]byte, error) {
	body, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, maxRecordBytes))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", name, store, err)
	}
	return text, nil
}

// PutRecord stores v as JSON under name in every store. The error joins what
// each store said; a record is evidence and never decides whether what it
// describes happened. A view of the past keeps none.
func (r *Repository) PutRecord(ctx context.Context, name string, v any) error {
	_, failures := putEach(ctx, r.stores, name, v)
	return errors.Join(slices.DeleteFunc(failures, func(err error) bool { return errors.Is(err, storage.ErrReadOnly) })...)
}
