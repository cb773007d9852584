package mirror_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/storage/storagetest"
)

var errBroken = errors.New("broken")

// faulty is a store whose Put has one fault from a given object on.
type faulty struct {
	*storagetest.Memory
	from     string        // the first object's name that it hits; "" = all
	failsAt  int64         // fails after so many bytes; -1 = never
	atEnd    bool          // fails after the body's end, when committing
	stallsAt int64         // takes no more bytes, until ctx ends; -1 = never
	deaf     chan struct{} // it heeds only the end of this, not that of ctx
	hit      bool
	mu       sync.Mutex
}

func newFaulty(name string) *faulty {
	return &faulty{Memory: storagetest.NewMemory(name), failsAt: -1, stallsAt: -1}
}

func (f *faulty) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	f.mu.Lock()
	f.hit = f.hit || name >= f.from
	hit := f.hit
	f.mu.Unlock()
	if !hit {
		return f.Memory.Put(ctx, name, body)
	}
	switch {
	case f.failsAt >= 0:
		_, _ = io.CopyN(io.Discard, body, f.failsAt)
		return storage.Object{}, fmt.Errorf("put %s to %s: %w", name, f, errBroken)
	case f.stallsAt >= 0:
		_, _ = io.CopyN(io.Discard, body, f.stallsAt)
		if f.deaf != nil {
			<-f.deaf
		}
		<-ctx.Done()
		return storage.Object{}, ctx.Err()
	case f.atEnd:
		if _, err := io.Copy(io.Discard, body); err != nil {
			return storage.Object{}, err
		}
		return storage.Object{}, fmt.Errorf("put %s to %s: %w", name, f, errBroken)
	}
	return f.Memory.Put(ctx, name, body)
}

func named(name string, s storage.Store) storage.Named { return storage.Named{Name: name, Store: s} }

func wantErr(t *testing.T, w *mirror.Writer, store string, want error) {
	t.Helper()
	for _, outcome := range w.Outcomes() {
		if outcome.Name == store {
			if !errors.Is(outcome.Err, want) || want == nil && outcome.Err != nil {
				t.Errorf("outcome of %s: %v, want %v", store, outcome.Err, want)
			}
			return
		}
	}
	t.Errorf("no outcome of %s", store)
}

func wantNames(t *testing.T, s storage.Store, want ...string) {
	t.Helper()
	if got := storagetest.Names(t, s, ""); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", s, got, want)
	}
}

func TestAllStoresGetTheSame(t *testing.T) {
	// A folder's bytes are written from where they lie, those of others copied.
	p, a, b := storagetest.NewMemory("p"), storagetest.NewMemory("a"), fs.Open(t.TempDir())
	w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a), named("b", b)}}.Begin()
	var wait sync.WaitGroup
	for i, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 9 << 20} {
		wait.Go(func() {
			want := storagetest.Bytes(size, uint64(i))
			object, err := w.Put(t.Context(), fmt.Sprint(size), iotest.HalfReader(bytes.NewReader(want)))
			if err != nil || object.Bytes != int64(size) {
				t.Errorf("%+v %v", object, err)
				return
			}
			for _, s := range []storage.Store{p, a, b} {
				if !bytes.Equal(storagetest.Read(t, s, fmt.Sprint(size)), want) {
					t.Errorf("%s holds other bytes of %d", s, size)
				}
			}
		})
	}
	wait.Wait()
	for _, store := range []string{"p", "a", "b"} {
		wantErr(t, w, store, nil)
	}
}

func TestPrimaryAlone(t *testing.T) {
	p := storagetest.NewMemory("p")
	w := mirror.Set{Primary: named("p", p)}.Begin()
	if _, err := w.Put(t.Context(), "a", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if outcomes := w.Outcomes(); len(outcomes) != 1 || outcomes[0].Err != nil {
		t.Errorf("%+v", outcomes)
	}
}

// A mirror that has missed one object must not get a later one, above all not
// the manifest, whatever its fault was.
func TestMirrorIsDropped(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*faulty)
		want  error
	}{
		"fails at once":        {func(f *faulty) { f.failsAt = 0 }, errBroken},
		"fails in the middle":  {func(f *faulty) { f.failsAt = 1 << 20 }, errBroken},
		"fails at the commit":  {func(f *faulty) { f.atEnd = true }, errBroken},
		"stalls at once":       {func(f *faulty) { f.stallsAt = 0 }, mirror.ErrStalled},
		"stalls in the middle": {func(f *faulty) { f.stallsAt = 1 << 20 }, mirror.ErrStalled},
		"stalls at the commit": {func(f *faulty) { f.stallsAt = 5 << 20 }, mirror.ErrStalled},
		"name is taken":        {func(f *faulty) { _, _ = f.Memory.Put(t.Context(), "2", strings.NewReader("other's")) }, storage.ErrExists},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, good, bad := storagetest.NewMemory("p"), storagetest.NewMemory("good"), newFaulty("bad")
				bad.from = "2"
				c.fault(bad)
				taken := len(storagetest.Names(t, bad, ""))
				w := mirror.Set{
					Primary: named("p", p), Mirrors: []storage.Named{named("bad", bad), named("good", good)}, StallTimeout: 3 * time.Second,
				}.Begin()
				start := clock.Now()
				data := storagetest.Bytes(5<<20, 1)
				for _, object := range []string{"1", "2", "3", "manifest.json"} {
					if _, err := w.Put(t.Context(), object, bytes.NewReader(data)); err != nil {
						t.Fatal(err)
					}
				}
				for _, s := range []storage.Store{p, good} {
					wantNames(t, s, "1", "2", "3", "manifest.json")
				}
				if names := storagetest.Names(t, bad, ""); len(names) != 1+taken {
					t.Errorf("the bad mirror holds %q", names)
				}
				wantErr(t, w, "p", nil)
				wantErr(t, w, "good", nil)
				wantErr(t, w, "bad", c.want)
				if elapsed := clock.Since(start); elapsed > 16*time.Second {
					t.Errorf("the bad mirror has cost %s", elapsed)
				}
			})
		})
	}
}

// A mirror on a network file system that hangs does not even stop when it is
// told to. The others must not wait for it.
func TestDeafMirrorIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, deaf := storagetest.NewMemory("p"), newFaulty("deaf")
		deaf.stallsAt, deaf.deaf = 0, make(chan struct{})
		w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("deaf", deaf)}, StallTimeout: 3 * time.Second}.Begin()
		start := clock.Now()
		for _, name := range []string{"1", "manifest.json"} {
			if _, err := w.Put(t.Context(), name, bytes.NewReader(make([]byte, 5<<20))); err != nil {
				t.Fatal(err)
			}
		}
		if elapsed := clock.Since(start); elapsed > 7*time.Second {
			t.Errorf("it has cost %s", elapsed)
		}
		wantErr(t, w, "deaf", mirror.ErrStalled)
		close(deaf.deaf)
		synctest.Wait()
		wantNames(t, deaf)
	})
}

// A mirror may be slow, as long as it takes something now and then.
func TestSlowMirrorIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, slow := storagetest.NewMemory("p"), &slowStore{storagetest.NewMemory("slow"), time.Second}
		w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("slow", slow)}, StallTimeout: 3 * time.Second}.Begin()
		if _, err := w.Put(t.Context(), "a", bytes.NewReader(make([]byte, 20<<20))); err != nil {
			t.Fatal(err)
		}
		wantErr(t, w, "slow", nil)
		wantNames(t, slow, "a")
	})
}

type slowStore struct {
	*storagetest.Memory
	pause time.Duration
}

func (s *slowStore) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	return s.Memory.Put(ctx, name, bufio.NewReaderSize(readerFunc(func(p []byte) (int, error) {
		<-time.After(s.pause)
		return body.Read(p)
	}), 1<<20))
}

func TestPrimaryFails(t *testing.T) {
	for name, fault := range map[string]func(*faulty){
		"at once":       func(f *faulty) { f.failsAt = 0 },
		"in the middle": func(f *faulty) { f.failsAt = 5 << 20 },
		"at the commit": func(f *faulty) { f.atEnd = true },
	} {
		t.Run(name, func(t *testing.T) {
			p, a := newFaulty("p"), storagetest.NewMemory("a")
			fault(p)
			w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a)}}.Begin()
			if _, err := w.Put(t.Context(), "1", bytes.NewReader(make([]byte, 10<<20))); !errors.Is(err, errBroken) {
				t.Errorf("got %v", err)
			}
			wantNames(t, p)
			wantNames(t, a)
			wantErr(t, w, "p", errBroken)
		})
	}
}

// A body that breaks is nobody's fault: the same name is put again, and to
// the mirrors too.
func TestBodyFailsAndIsPutAgain(t *testing.T) {
	for _, want := range []error{errBroken, io.ErrUnexpectedEOF} {
		p, a := storagetest.NewMemory("p"), storagetest.NewMemory("a")
		w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a)}}.Begin()
		body := io.MultiReader(bytes.NewReader(make([]byte, 5<<20)), iotest.ErrReader(want))
		if _, err := w.Put(t.Context(), "1", body); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		wantNames(t, p)
		wantNames(t, a)
		if _, err := w.Put(t.Context(), "1", strings.NewReader("whole")); err != nil {
			t.Fatal(err)
		}
		wantNames(t, a, "1")
		wantErr(t, w, "p", nil)
		wantErr(t, w, "a", nil)
	}
}

// Nothing may be visible anywhere before the body's end, and in no mirror
// before the primary has it.
func TestOrderOfVisibility(t *testing.T) {
	p, a := storagetest.NewMemory("p"), &watchfulStore{Memory: storagetest.NewMemory("a")}
	a.before = func() { wantNames(t, p, "manifest.json") }
	w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a)}}.Begin()
	body := readerFunc(func([]byte) (int, error) {
		wantNames(t, p)
		wantNames(t, a)
		return 0, io.EOF
	})
	if _, err := w.Put(t.Context(), "manifest.json", io.MultiReader(strings.NewReader("{}"), body)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, a, "manifest.json")
}

type watchfulStore struct {
	*storagetest.Memory
	before func() // called at the body's end
}

func (s *watchfulStore) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	return s.Memory.Put(ctx, name, readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		if err == io.EOF {
			s.before()
		}
		return n, err
	}))
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, stalled, folder := storagetest.NewMemory("p"), storagetest.NewMemory("a"), newFaulty("stalled"), fs.Open(t.TempDir())
		stalled.stallsAt = 0
		w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a), named("stalled", stalled), named("folder", folder)}}.Begin()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel) // while the writer waits for the stalled one
		if _, err := w.Put(ctx, "1", bytes.NewReader(make([]byte, 80<<20))); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		wantNames(t, p)
		wantNames(t, a)
		wantNames(t, folder)
		wantErr(t, w, "a", nil)
		wantErr(t, w, "folder", nil)
	})
}

func TestAbort(t *testing.T) {
	p, a, dropped := &orderedStore{Memory: storagetest.NewMemory("p")}, storagetest.NewMemory("a"), newFaulty("dropped")
	dropped.from, dropped.failsAt = "2", 0
	if _, err := a.Put(t.Context(), "other", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	w := mirror.Set{Primary: named("p", p), Mirrors: []storage.Named{named("a", a), named("dropped", dropped)}}.Begin()
	for _, name := range []string{"1", "2", "manifest.json"} {
		if _, err := w.Put(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the reason for the abort is usually just this
	if err := w.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	wantNames(t, p)
	wantNames(t, a, "other")
	wantNames(t, dropped)
	if got := strings.Join(p.deleted, " "); got != "manifest.json 2 1" {
		t.Errorf("deleted in the order %s", got)
	}
	if _, err := w.Put(t.Context(), "3", strings.NewReader("x")); !errors.Is(err, mirror.ErrAborted) {
		t.Errorf("Put after Abort: %v", err)
	}
}

type orderedStore struct {
	*storagetest.Memory
	deleted []string
}

func (s *orderedStore) Delete(ctx context.Context, name string) error {
	s.deleted = append(s.deleted, name)
	return s.Memory.Delete(ctx, name)
}

// An abort must not touch what was there before: the name was taken.
func TestAbortKeepsOthersObjects(t *testing.T) {
	p := storagetest.NewMemory("p")
	storagetest.Put(t, p, "1", []byte("older"))
	w := mirror.Set{Primary: named("p", p)}.Begin()
	if _, err := w.Put(t.Context(), "1", strings.NewReader("x")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("got %v", err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNames(t, p, "1")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
