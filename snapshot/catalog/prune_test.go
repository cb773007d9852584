package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/storagetest"
)

// hooked asks before each call whether it may be made, and after each that
// changed something whether its answer may be known.
type hooked struct {
	storage.Store
	before func(verb, name string) error
	skew   time.Duration // of its clock
	older  time.Duration // by which its snapshots' objects are older than they are
}

func (h *hooked) ask(verb, name string) error {
	if h.before == nil {
		return nil
	}
	return h.before(verb, name)
}

func (h *hooked) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if err := h.ask("put", name); err != nil {
		return storage.Object{}, err
	}
	o, err := h.Store.Put(ctx, name, body)
	o.Modified = o.Modified.Add(h.skew)
	return o, err
}

func (h *hooked) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := h.ask("open", name); err != nil {
		return nil, err
	}
	return h.Store.Open(ctx, name)
}

func (h *hooked) Stat(ctx context.Context, name string) (storage.Object, error) {
	if err := h.ask("stat", name); err != nil {
		return storage.Object{}, err
	}
	return h.Store.Stat(ctx, name)
}

func (h *hooked) Delete(ctx context.Context, name string) error {
	if err := h.ask("delete", name); err != nil {
		return err
	}
	return h.Store.Delete(ctx, name)
}

func (h *hooked) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	if err := h.ask("list", prefix); err != nil {
		return func(yield func(storage.Object, error) bool) { yield(storage.Object{}, err) }
	}
	return func(yield func(storage.Object, error) bool) {
		for o, err := range h.Store.List(ctx, prefix) {
			o.Modified = o.Modified.Add(h.skew)
			if strings.Contains(o.Name, "/snapshots/") {
				o.Modified = o.Modified.Add(-h.older)
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// keeping is a repository of two folders, eu and us, for pruning.
type keeping struct {
	*catalog.Repository
	t      *testing.T
	roots  []string
	stores []*hooked
}

func newKeeping(t *testing.T) *keeping {
	t.Helper()
	roots := []string{t.TempDir(), t.TempDir()}
	k := keepingIn(t, fs.Open(roots[0]), fs.Open(roots[1]))
	k.roots = roots
	return k
}

// inMemory is the same without files, for what is tried a hundred times. Its
// objects are old enough for an orphan's.
func inMemory(t *testing.T) *keeping {
	t.Helper()
	k := keepingIn(t, storagetest.NewMemory("eu"), storagetest.NewMemory("us"))
	k.stores[0].older, k.stores[1].older = 25*time.Hour, 25*time.Hour
	return k
}

func keepingIn(t *testing.T, stores ...storage.Store) *keeping {
	t.Helper()
	k := &keeping{t: t}
	for _, store := range stores {
		k.stores = append(k.stores, &hooked{Store: store})
	}
	var err error
	if k.Repository, err = catalog.Create(t.Context(), named(k.stores[0], k.stores[1]), noon); err != nil {
		t.Fatal(err)
	}
	return k
}

// add stores a whole snapshot of some days ago in both stores.
func (k *keeping) add(days int) manifest.ID {
	k.t.Helper()
	id := daysOld(days).ID
	m := newManifest("prod", id)
	m.Shards[0].Dump.Object, m.Shards[0].SlotIndex.Object = "shard-0/dump.rdb", "shard-0/slots.idx"
	text, err := manifest.Encode(m)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, store := range k.stores {
		put(k.t, store.Store, catalog.Folder("prod", id)+"shard-0/dump.rdb", "x")
		put(k.t, store.Store, catalog.Folder("prod", id)+"shard-0/slots.idx", "x")
		put(k.t, store.Store, catalog.ManifestName("prod", id), string(text))
	}
	return id
}

// age makes every file of the stores look older, as its own clock has it.
func (k *keeping) age(by time.Duration) {
	k.t.Helper()
	for _, root := range k.roots {
		err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			then := time.Now().Add(-by)
			return os.Chtimes(path, then, then)
		})
		if err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *keeping) plan(policy catalog.Policy) (*catalog.Plan, error) {
	return k.PlanPrune(k.t.Context(), catalog.PruneOptions{Cluster: "prod", Policy: policy, OrphansOlder: 24 * time.Hour})
}

// prune plans and prunes; what it gives is a line for each removal.
func (k *keeping) prune(policy catalog.Policy) ([]string, error) {
	p, err := k.plan(policy)
	if err != nil {
		return nil, err
	}
	var lines []string
	err = k.Prune(k.t.Context(), p, func(r catalog.Removal) {
		line := string(r.ID[:8])
		if r.Orphan {
			line += " orphan"
		}
		if r.Kept != "" {
			line += " kept: " + r.Kept
		}
		if r.Err != nil {
			line += " failed: " + r.Err.Error()
		}
		lines = append(lines, line)
	})
	return lines, err
}

// listed are the days of the snapshots that are listed, and each that a store
// lists is whole there.
func (k *keeping) listed() []string {
	k.t.Helper()
	for _, store := range k.stores {
		store.before = nil
	}
	var days []string
	for _, e := range list(k.t, k.Repository, "prod") {
		if e.Summary == nil {
			k.t.Fatalf("%s: %v", e.ID, e.Err)
		}
		days = append(days, string(e.ID[:8]))
		for _, store := range found(k.t, k.Repository, e.ID).Stores() {
			for _, name := range []string{"shard-0/dump.rdb", "shard-0/slots.idx"} {
				if _, err := store.Stat(k.t.Context(), catalog.Folder("prod", e.ID)+name); err != nil {
					k.t.Errorf("%s lists %s and lacks %s: %v", store.Name, e.ID, name, err)
				}
			}
		}
	}
	return days
}

// files are the objects of all stores.
func (k *keeping) files() []string {
	k.t.Helper()
	var names []string
	for _, store := range k.stores {
		for o, err := range store.Store.List(k.t.Context(), "prod/snapshots/") {
			if err != nil {
				k.t.Fatal(err)
			}
			names = append(names, o.Name)
		}
	}
	return names
}

var keepTwo = catalog.Policy{Last: 2, Minimum: 1, Margin: 24 * time.Hour}

func wantLines(t *testing.T, got []string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPrune(t *testing.T) {
	k := newKeeping(t)
	for _, days := range []int{1, 2, 3, 4} {
		k.add(days)
	}
	if err := k.PutRecord(t.Context(), catalog.VerificationName("prod", daysOld(4).ID, newest), catalog.Verification{ID: newest}); err != nil {
		t.Fatal(err)
	}
	lines, err := k.prune(keepTwo)
	wantLines(t, lines, err, "20260611", "20260612")
	wantLines(t, k.listed(), nil, "20260614", "20260613")
	if files := k.files(); len(files) != 2*2*3 {
		t.Errorf("left are %v", files)
	}
	// The marks are gone with their snapshots, the evidence and the prune's own
	// record are not.
	var records []string
	for o, err := range k.stores[0].List(t.Context(), "prod/") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(o.Name, "prod/snapshots/") {
			records = append(records, strings.Split(o.Name, "/")[1])
		}
	}
	wantLines(t, records, nil, "prunes", "verifications")
	lines, err = k.prune(keepTwo)
	wantLines(t, lines, err)
}

// A mirror that lacks a part makes no snapshot whole that the primary lacks
// one of; and of what is not whole none takes a place.
func TestPruneCountsOnlyWholeOnes(t *testing.T) {
	k := newKeeping(t)
	for days := range 5 {
		k.add(days + 1)
	}
	for _, at := range []struct{ store, days int }{{0, 1}, {1, 1}, {1, 3}} {
		if err := k.stores[at.store].Delete(t.Context(), catalog.Folder("prod", daysOld(at.days).ID)+"shard-0/dump.rdb"); err != nil {
			t.Fatal(err)
		}
	}
	p, err := k.plan(keepTwo)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, verdicts(p.Decisions), nil,
		"+1 1 object of it missing, but not older than all whole ones that are kept", "+2 newest whole, last 1 of 2", "+3 last 2 of 2",
		"-4 no rule keeps it", "-5 no rule keeps it")
}

// Without an answer of each store nothing is pruned: a manifest, a hold or the
// mark of a restore could be in the one that is silent.
func TestPruneAsksEveryStore(t *testing.T) {
	for name, refuse := range map[string]func(verb, name string) error{
		"down": func(string, string) error { return errDown },
		"not listed": func(verb, _ string) error {
			if verb == "list" {
				return errDown
			}
			return nil
		},
		"no writes": func(verb, _ string) error {
			if verb == "put" {
				return storage.ErrDenied
			}
			return nil
		},
	} {
		for store := range 2 {
			t.Run(fmt.Sprint(name, store), func(t *testing.T) {
				k := newKeeping(t)
				k.add(1)
				k.add(2)
				k.add(3)
				before := k.files()
				k.stores[store].before = refuse
				_, err := k.prune(keepTwo)
				if !errors.Is(err, hint.ErrRefused) || len(hint.Of(err)) == 0 {
					t.Errorf("got %v, want a refusal with a hint", err)
				}
				if diff := cmp.Diff(before, k.files()); diff != "" {
					t.Errorf("something was deleted: %s", diff)
				}
			})
		}
	}
}

func TestPruneAnEmptyMirror(t *testing.T) {
	k := newKeeping(t)
	k.add(1)
	repository, err := catalog.Open(t.Context(), named(k.stores[0], fs.Open(filepath.Join(t.TempDir(), "not mounted"))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repository.PlanPrune(t.Context(), catalog.PruneOptions{Policy: keepTwo}); !errors.Is(err, hint.ErrRefused) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestPruneComparesClocks(t *testing.T) {
	for _, skew := range []time.Duration{-6 * time.Minute, 6 * time.Minute, -4 * time.Minute, 4 * time.Minute} {
		k := newKeeping(t)
		k.add(1)
		k.add(2)
		k.add(3)
		k.stores[1].skew = skew
		_, err := k.prune(keepTwo)
		if refused := errors.Is(err, hint.ErrRefused); refused != (skew.Abs() > 5*time.Minute) {
			t.Errorf("clock off by %s: %v", skew, err)
		} else if refused && (!strings.Contains(err.Error(), "min") || len(k.listed()) != 3) {
			t.Errorf("clock off by %s: %v, %v", skew, err, k.listed())
		}
	}
}

// A store that does not let one snapshot be deleted costs the others nothing.
func TestPruneOfALockedSnapshot(t *testing.T) {
	locked := string(daysOld(4).ID)
	for name, part := range map[string]string{"manifest": "manifest.json", "object": "dump.rdb"} {
		for store := range 2 {
			t.Run(fmt.Sprint(name, store), func(t *testing.T) {
				k := newKeeping(t)
				for days := range 5 {
					k.add(days + 1)
				}
				lock := func(verb, name string) error {
					if verb == "delete" && strings.Contains(name, locked) && strings.HasSuffix(name, part) {
						return fmt.Errorf("locked until 2030: %w", storage.ErrDenied)
					}
					return nil
				}
				k.stores[store].before = lock
				lines, err := k.prune(keepTwo)
				if err != nil || len(lines) != 3 || lines[0] != "20260610" || lines[2] != "20260612" || !strings.Contains(lines[1], "20260611 failed: ") || !strings.Contains(lines[1], "locked until 2030") {
					t.Fatalf("got %q, %v", lines, err)
				}
				want := []string{"20260614", "20260613"}
				if name == "manifest" {
					want = append(want, "20260611")
				}
				wantLines(t, k.listed(), nil, want...)
				// When the lock is over, the next prune removes what is left.
				k.age(25 * time.Hour)
				if _, err := k.prune(keepTwo); err != nil || len(k.files()) != 2*2*3 {
					t.Errorf("afterwards %v are left, %v", k.files(), err)
				}
			})
		}
	}
}

func TestPruneOrphans(t *testing.T) {
	k := newKeeping(t)
	k.add(1)
	k.add(2)
	now := time.Now().UTC()
	old, young, under := manifest.NewID(now.Add(-48*time.Hour)), manifest.NewID(now.Add(-time.Hour)), manifest.NewID(now.Add(-47*time.Hour))
	for _, id := range []manifest.ID{old, young, under} {
		put(t, k.stores[0].Store, catalog.Folder("prod", id)+"shard-0/dump.rdb", "cut")
	}
	put(t, k.stores[1].Store, catalog.Folder("prod", old)+"shard-0/dump.rdb", "cut")
	// A mirror that lacks the manifest which the primary has is no orphan.
	if err := k.stores[1].Delete(t.Context(), catalog.ManifestName("prod", daysOld(2).ID)); err != nil {
		t.Fatal(err)
	}
	k.age(30 * time.Hour)
	put(t, k.stores[1].Store, catalog.Folder("prod", under)+"shard-1/dump.rdb", "just come") // a slow run
	put(t, k.stores[0].Store, "prod/snapshots/notes.txt", "a person's")
	lines, err := k.prune(catalog.Policy{Last: 5})
	wantLines(t, lines, err, string(old[:8])+" orphan")
	for _, name := range k.files() {
		if strings.Contains(name, string(old)) {
			t.Errorf("%s is left", name)
		}
	}
	if files := k.files(); len(files) != 11+4 {
		t.Errorf("left are %v", files)
	}
}

// TestPruneKilledAnywhere ends a prune at its first, second, ... call to a store.
// What is listed is whole at each, and a prune that comes later ends where one
// that was not killed does.
func TestPruneKilledAnywhere(t *testing.T) {
	errKilled := errors.New("killed")
	for calls := 0; ; calls++ {
		k := inMemory(t)
		for days := range 4 {
			k.add(days + 1)
		}
		var mu sync.Mutex
		left, killed := calls, false
		kill := func(string, string) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left < 0 {
				killed = true
				return errKilled
			}
			return nil
		}
		k.stores[0].before, k.stores[1].before = kill, kill
		_, _ = k.prune(keepTwo) // it was killed
		if days := k.listed(); len(days) < 2 || days[0] != "20260614" || days[1] != "20260613" {
			t.Fatalf("killed at call %d: %v are listed", calls, days)
		}
		if _, err := k.prune(keepTwo); err != nil {
			t.Fatalf("after a kill at call %d: %v", calls, err)
		}
		if files := k.files(); len(files) != 2*2*3 {
			t.Fatalf("after a kill at call %d are left %v", calls, files)
		}
		if !killed {
			if calls < 40 {
				t.Errorf("a prune of two snapshots made only %d calls", calls)
			}
			return
		}
	}
}

// TestPruneWithEveryCallFailing fails one call and lets the others be: a clear
// failure or the right end, and nothing that lies.
func TestPruneWithEveryCallFailing(t *testing.T) {
	for call := 0; ; call++ {
		k := inMemory(t)
		for days := range 4 {
			k.add(days + 1)
		}
		var mu sync.Mutex
		left, failed := call, false
		fail := func(string, string) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == -1 {
				failed = true
				return errDown
			}
			return nil
		}
		k.stores[0].before, k.stores[1].before = fail, fail
		lines, err := k.prune(keepTwo)
		told := err != nil || slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "failed") })
		days := k.listed()
		if !told && (len(days) != 2 || len(k.files()) != 2*2*3) {
			t.Fatalf("call %d failed, and nobody was told: %v, %v", call, days, k.files())
		}
		if len(days) < 2 || days[0] != "20260614" || days[1] != "20260613" {
			t.Fatalf("call %d failed: %v are listed", call, days)
		}
		if !failed {
			return
		}
	}
}
