package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/slotark/slotark/storage"
)

// Run checks every line of the contract of [storage.Store]. Each call of open
// gives an empty store that no other subtest uses.
func Run(t *testing.T, open func(*testing.T) storage.Store) {
	for _, c := range []struct {
		name  string
		check func(*testing.T, storage.Store)
	}{
		{"whole object of each size", checkSizes},
		{"bodies that read oddly", checkOddBodies},
		{"missing names", checkMissing},
		{"invalid names", checkNames},
		{"never overwrites", checkNoOverwrite},
		{"one of eight putters wins", checkRace},
		{"large putters race", checkLargeRace},
		{"body error leaves nothing", checkBodyError},
		{"cancel in mid-put leaves nothing", checkCancel},
		{"cancelled before it begins", checkCancelled},
		{"not seen before its end", checkNotSeenEarly},
		{"deletes once", checkDelete},
		{"lists in order", checkListOrder},
		{"lists by prefix", checkListPrefix},
		{"lists more than a page", checkListMany},
		{"list can be left", checkListLeft},
		{"concurrent puts", checkConcurrent},
		{"location", checkString},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, open(t)) })
	}
}

// Bytes returns n bytes that look random and are the same for the same seed,
// so that a block in the wrong place is noticed.
func Bytes(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data) // it cannot fail
	return data
}

// Put stores data or ends the test.
func Put(t testing.TB, s storage.Store, name string, data []byte) storage.Object {
	t.Helper()
	object, err := s.Put(t.Context(), name, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if object.Name != name || object.Bytes != int64(len(data)) || object.Modified.IsZero() {
		t.Fatalf("Put of %d bytes to %s returned %+v", len(data), name, object)
	}
	return object
}

// Read returns an object's bytes or ends the test.
func Read(t testing.TB, s storage.Store, name string) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// Names returns what List yields, or ends the test.
func Names(t testing.TB, s storage.Store, prefix string) []string {
	t.Helper()
	names := []string{}
	for object, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, object.Name)
	}
	return names
}

// wantNothing checks that neither a name nor anything else is in the store,
// and that the name can be used afterwards.
func wantNothing(t *testing.T, s storage.Store, name string) {
	t.Helper()
	wantMissing(t, s, name)
	if names := Names(t, s, ""); len(names) > 0 {
		t.Errorf("the store lists %q", names)
	}
	Put(t, s, name, []byte("later"))
}

func wantMissing(t *testing.T, s storage.Store, name string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Stat(%q) = %v, want ErrNotFound", name, err)
	}
	if r, err := s.Open(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Open(%q) = %v, want ErrNotFound", name, err)
		if err == nil {
			_ = r.Close()
		}
	}
	if err := s.Delete(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Delete(%q) = %v, want ErrNotFound", name, err)
	}
}

func wantNames(t *testing.T, s storage.Store, prefix string, want ...string) {
	t.Helper()
	if got := Names(t, s, prefix); !slices.Equal(got, want) {
		t.Errorf("List(%q) gave %q, want %q", prefix, got, want)
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

func cancellable(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}
