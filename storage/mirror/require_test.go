package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/storage/storagetest"
)

// A mirror that must have the object and fails, at whatever moment, makes the
// whole fail, and nothing is left after Abort; one too many may fail.
func TestRequired(t *testing.T) {
	faults := map[string]func(*faulty){
		"at once":             func(f *faulty) { f.failsAt = 0 },
		"in the middle":       func(f *faulty) { f.failsAt = 5 << 20 },
		"at the commit":       func(f *faulty) { f.atEnd = true },
		"at the manifest":     func(f *faulty) { f.from, f.failsAt = "manifest.json", 0 },
		"at the very end":     func(f *faulty) { f.from, f.atEnd = "manifest.json", true },
		"at the second dump":  func(f *faulty) { f.from, f.failsAt = "2", 1<<20 },
		"as the second ended": func(f *faulty) { f.from, f.atEnd = "2", true },
	}
	for name, fault := range faults {
		for require := range 4 {
			t.Run(name, func(t *testing.T) {
				p, good, bad := storagetest.NewMemory("p"), storagetest.NewMemory("good"), newFaulty("bad")
				fault(bad)
				w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("bad", bad), named("good", good)}, Require: require}.Begin()
				err := putAll(t.Context(), w)
				if require < 3 {
					if err != nil {
						t.Fatalf("require %d: %v", require, err)
					}
					wantNames(t, p, "1", "2", "manifest.json")
					wantNames(t, good, "1", "2", "manifest.json")
					wantErr(t, w, "bad", errBroken)
					return
				}
				if !errors.Is(err, mirror.ErrTooFew) || !errors.Is(err, errBroken) {
					t.Errorf("require %d: %v", require, err)
				}
				for _, s := range []*storagetest.Memory{p, bad.Memory} {
					if strings.Contains(strings.Join(storagetest.Names(t, s, ""), " "), "manifest.json") {
						t.Errorf("%s has a manifest", s)
					}
				}
				if err := w.Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantNames(t, p)
				wantNames(t, good)
				wantNames(t, bad)
			})
		}
	}
}

// putAll is a snapshot of two dumps.
func putAll(ctx context.Context, w *mirror.Writer) error {
	for _, name := range []string{"1", "2"} {
		if _, err := w.Put(ctx, name, bytes.NewReader(make([]byte, 10<<20))); err != nil {
			return err
		}
	}
	_, err := w.Commit(ctx, "manifest.json", strings.NewReader("{}"))
	return err
}

// Where mirrors must have it, the last object is in them before it is in the
// primary; and if the primary then fails, Abort takes it from them again.
func TestCommitOrder(t *testing.T) {
	p, a := &watchfulStore{Memory: storagetest.NewMemory("p")}, storagetest.NewMemory("a")
	p.before = func() { wantNames(t, a, "manifest.json") }
	w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a)}, Require: 2}.Begin()
	if _, err := w.Commit(t.Context(), "manifest.json", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	wantNames(t, p, "manifest.json")

	bad := newFaulty("p")
	bad.from, bad.atEnd = "manifest.json", true
	a = storagetest.NewMemory("a")
	w = mirror.Set{Primary: named("p", bad), Mirrors: []storage.Named{named("a", a)}, Require: 2}.Begin()
	if err := putAll(t.Context(), w); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	wantNames(t, a, "1", "2", "manifest.json")
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNames(t, bad)
	wantNames(t, a)
}
