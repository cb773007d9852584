package storagetest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/contract"
)

// Run checks every line of the contract of [storage.Store]. Each call of open
// gives an empty store that no other subtest uses.
func Run(t *testing.T, open func(*testing.T) storage.Store) {
	for _, c := range contract.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Bytes returns n bytes that look random and are the same for the same seed.
func Bytes(n int, seed uint64) []byte { return contract.Bytes(n, seed) }

// Put stores data or ends the test.
func Put(t testing.TB, s storage.Store, name string, data []byte) storage.Object {
	t.Helper()
	object, err := s.Put(t.Context(), name, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
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
