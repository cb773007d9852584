package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

var (
	// ErrNotFound is returned for a name that holds no object.
	ErrNotFound = errors.New("object not found")
	// ErrExists is returned by Put for a name that already holds an object.
	ErrExists = errors.New("object already exists")
	// ErrNoStore is returned when the place itself is missing: no such bucket,
	// or a folder that cannot be made.
	ErrNoStore = errors.New("store not found")
	// ErrDenied is returned when the credentials are missing, wrong, or not
	// allowed to do this.
	ErrDenied = errors.New("access denied")
	// ErrFull is returned when the store has no room left.
	ErrFull = errors.New("no space left in the store")
	// ErrLocked is returned by Delete for an object that the store keeps until
	// a date, or until a person ends its legal hold: see [LockedError].
	ErrLocked = errors.New("object is locked")
	// ErrReadOnly is returned by Put and Delete of a view of the past.
	ErrReadOnly = errors.New("store is read-only")
)

// LockedError is an [ErrLocked] that says until when.
type LockedError struct {
	Until time.Time // zero: until its legal hold ends, or the store does not say
}

func (e *LockedError) Error() string {
	if e.Until.IsZero() {
		return ErrLocked.Error()
	}
	return ErrLocked.Error() + " until " + e.Until.UTC().Format("2006-01-02 15:04:05 UTC")
}

func (e *LockedError) Unwrap() error { return ErrLocked }

// Object describes one stored object.
type Object struct {
	Name     string    // relative to the store's root, parted by "/"
	Bytes    int64     // size
	Modified time.Time // by the store's own clock
	// LockedUntil is when the lock on it ends; zero where there is none or the store
	// does not say. Put and Stat tell it, List does not.
	LockedUntil time.Time
}

// Store is a flat space of immutable objects.
//
// What an implementation MUST hold. Package contract has a check for each line:
// tests run them on every store there is (storage/fs, storage/s3, and the one in
// memory, which is for tests alone and stands in storagetest), and
// `slotark storage check` runs them on a person's own.
//
//   - Visibility: after Put returns nil, every later Open, Stat and List of any
//     process sees the whole object. Before that, and after a Put that returned
//     an error, nobody sees any of it; what was sent so far is cleaned up, also
//     when ctx was cancelled.
//   - Put reads body to its io.EOF. Any other error from body aborts the Put
//     and comes back wrapped, so errors.Is finds it.
//   - Put never replaces an object: it returns ErrExists, also when two
//     processes race (exactly one wins).
//   - Put has checked, before it returns nil, that the store holds as many
//     bytes as body gave.
//   - Open, Stat and Delete of a missing name return ErrNotFound. Delete takes
//     effect before it returns. Delete of a locked object returns ErrLocked and
//     changes nothing, also where the store would merely hide the object.
//   - List yields every object whose name starts with prefix, in ascending byte
//     order of names, however many there are. The first error ends it.
//   - All methods are safe for concurrent use and stop soon after ctx is done.
//   - A store that can give parts of objects implements [RangeOpener] too; one
//     that can tell a person about its place, contract.Witness.
//   - Errors are wrapped once with the verb and the object's name, carry one of
//     this package's sentinels where one fits and a hint (package hint) where a
//     person can do something, and never contain a secret.
//
// Names are slash-separated, relative, without empty, "." or ".." elements.
type Store interface {
	// Put stores body under name and returns what is stored.
	Put(ctx context.Context, name string, body io.Reader) (Object, error)
	// Open returns the object's bytes. The caller closes it. A read that the
	// store cuts short is an error, never a silent io.EOF.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// Stat describes one object.
	Stat(ctx context.Context, name string) (Object, error)
	// List yields the objects whose names start with prefix.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Delete removes one object.
	Delete(ctx context.Context, name string) error
	// String is the store's location for a person: its URL without secrets.
	String() string
}

// Named is a store with the short name a person knows it by: its region, or
// "primary", or a name of their own.
type Named struct {
	Name string
	Store
}
