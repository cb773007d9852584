package catalog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

// memories are a repository of stores in memory, the primary first.
type memories []*storagetest.Memory

func newMemories(t *testing.T, n int) memories {
	t.Helper()
	var all memories
	for i := range n {
		all = append(all, storagetest.NewMemory(fmt.Sprint("s", i)))
	}
	if _, err := catalog.Create(t.Context(), all.named(), time.Unix(1767225600, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	return all
}

func (m memories) named() []storage.Named {
	var named []storage.Named
	for i, s := range m {
		named = append(named, storage.Named{Name: fmt.Sprint("s", i), Store: s})
	}
	return named
}

func open(t *testing.T, stores []storage.Named) *catalog.Repository {
	t.Helper()
	r, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// putWhole stores a snapshot whose objects are what its manifest says.
func putWhole(t *testing.T, id manifest.ID, stores ...storage.Store) {
	t.Helper()
	m := newManifest("prod", id)
	file := func(name string) (manifest.File, []byte) {
		data := storagetest.Bytes(3_000, uint64(len(name))+uint64(id[len(id)-1]))
		sum := sha256.Sum256(data)
		return manifest.File{Object: name, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, data
	}
	dump, dumpBytes := file("shard-0/dump.rdb")
	index, indexBytes := file("shard-0/slots.idx")
	m.Shards[0].Dump.File, m.Shards[0].SlotIndex = dump, index
	text, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range stores {
		storagetest.Put(t, store, catalog.Folder("prod", id)+dump.Object, dumpBytes)
		storagetest.Put(t, store, catalog.Folder("prod", id)+index.Object, indexBytes)
		storagetest.Put(t, store, catalog.ManifestName("prod", id), text)
	}
}

const (
	dumpOf   = "shard-0/dump.rdb"
	recordOf = "20260301T020000Z-zzzzzz"
)

// state is what a store holds, less the marks of who reads.
func state(t *testing.T, s storage.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range storagetest.Names(t, s, "") {
		if !strings.Contains(name, "/restores/") {
			all[name] = string(storagetest.Read(t, s, name))
		}
	}
	return all
}

func wantSame(t *testing.T, a, b storage.Store) {
	t.Helper()
	have, want := state(t, a), state(t, b)
	delete(have, "slotark.json")
	delete(want, "slotark.json")
	if !maps.Equal(have, want) {
		t.Errorf("%s holds %q, %s holds %q", a, slices.Sorted(maps.Keys(have)), b, slices.Sorted(maps.Keys(want)))
	}
}

func wantCodes(t *testing.T, r *catalog.SyncReport, want ...string) {
	t.Helper()
	var codes []string
	for _, f := range r.Findings {
		codes = append(codes, f.Code)
	}
	for _, c := range r.Copies {
		for _, f := range c.Findings {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	if !slices.Equal(codes, want) {
		t.Errorf("findings are %q, want %q: %+v", codes, want, r)
	}
}

func syncs(t *testing.T, stores []storage.Named, o catalog.SyncOptions) *catalog.SyncReport {
	t.Helper()
	report, err := open(t, stores).Sync(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A mirror that missed two snapshots, lost an object of a third, and lacks
// evidence and a hold, has everything after one sync.
func TestSyncBringsAMirrorUp(t *testing.T) {
	m := newMemories(t, 3)
	putWhole(t, oldest, m[0], m[1], m[2])
	putWhole(t, middle, m[0], m[2])
	putWhole(t, newest, m[0], m[2])
	if err := m[1].Delete(t.Context(), catalog.Folder("prod", oldest)+dumpOf); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"verifications/", "drills/", "holds/"} {
		put(t, m[0], "prod/"+name+string(middle)+"/"+recordOf+".json", "{}\n")
		put(t, m[2], "prod/"+name+string(middle)+"/"+recordOf+".json", "{}\n")
	}

	before := state(t, m[1])
	report := syncs(t, m.named(), catalog.SyncOptions{DryRun: true})
	if len(report.Copies) != 3 || report.Records != 3 || !report.Complete() || !maps.Equal(before, state(t, m[1])) {
		t.Errorf("a dry run says %+v", report)
	}
	survey, err := open(t, m.named()).Survey(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	if s := survey.Stores[1]; s.Snapshots != 0 || s.Of != 3 || s.Oldest != oldest || s.Newest != "" || s.Bytes != 5*3_000 || !s.Behind() {
		t.Errorf("the mirror's state is %+v", s)
	}
	if s := survey.Stores[2]; s.Snapshots != 3 || s.Newest != newest || s.Behind() {
		t.Errorf("the other mirror's state is %+v", s)
	}

	report = syncs(t, m.named(), catalog.SyncOptions{Snapshots: []string{"latest"}})
	if len(report.Copies) != 1 || report.Copies[0].ID != newest || !report.Copies[0].Whole || report.Records != 0 {
		t.Errorf("a sync of the latest says %+v", report)
	}
	report = syncs(t, m.named(), catalog.SyncOptions{})
	if len(report.Copies) != 2 || report.Records != 3 || !report.Complete() {
		t.Errorf("a sync says %+v", report)
	}
	wantSame(t, m[1], m[0])
	if report = syncs(t, m.named(), catalog.SyncOptions{}); len(report.Copies) != 0 || report.Records != 0 {
		t.Errorf("a second sync says %+v", report)
	}
	claims, err := open(t, m.named()).List(t.Context(), "prod")
	if err != nil || len(claims[0].Uses)+len(claims[1].Uses)+len(claims[2].Uses) > 0 {
		t.Errorf("after the sync something is still in use: %+v, %v", claims, err)
	}
}

// A new mirror is made a repository.
func TestSyncFillsANewMirror(t *testing.T) {
	m := newMemories(t, 1)
	putWhole(t, oldest, m[0])
	m = append(m, storagetest.NewMemory("s1"))
	survey, err := open(t, m.named()).Survey(t.Context(), "")
	if err != nil || !errors.Is(survey.Stores[1].Err, catalog.ErrNoRepository) || !survey.Stores[1].Behind() {
		t.Errorf("a store without a marker is %+v, %v", survey, err)
	}
	if report := syncs(t, m.named(), catalog.SyncOptions{}); !report.Complete() {
		t.Errorf("it says %+v", report)
	}
	wantSame(t, m[1], m[0])
}

// The primary is brought up only where it is named.
func TestSyncThePrimary(t *testing.T) {
	m := newMemories(t, 2)
	putWhole(t, oldest, m[1])
	report := syncs(t, m.named(), catalog.SyncOptions{})
	wantCodes(t, report, "primary-lost")
	if len(state(t, m[0])) != 1 || report.Complete() {
		t.Errorf("it says %+v", report)
	}
	if report = syncs(t, m.named(), catalog.SyncOptions{To: "s0"}); !report.Complete() {
		t.Errorf("it says %+v", report)
	}
	wantSame(t, m[0], m[1])
}

func TestSyncDistrustsEveryCopy(t *testing.T) {
	flip := func(b []byte) []byte { b[1_000] ^= 4; return b }
	name := catalog.Folder("prod", oldest) + dumpOf
	t.Run("of a source", func(t *testing.T) {
		m := newMemories(t, 3)
		putWhole(t, oldest, m[0], m[2])
		whole := state(t, m[2])
		m[0].Change(name, flip)
		report := syncs(t, m.named(), catalog.SyncOptions{})
		wantCodes(t, report, "source-damaged")
		if !maps.Equal(state(t, m[1]), map[string]string(merged(state(t, m[1]), whole))) || !report.Copies[0].Whole || report.Complete() {
			t.Errorf("it says %+v", report)
		}
	})
	t.Run("of all sources", func(t *testing.T) {
		m := newMemories(t, 3)
		putWhole(t, oldest, m[0], m[2])
		m[0].Change(name, flip)
		report := syncs(t, m.named(), catalog.SyncOptions{From: "s0"})
		wantCodes(t, report, "source-damaged")
		if _, has := state(t, m[1])[catalog.ManifestName("prod", oldest)]; has || report.Copies[0].Whole || report.Copies[0].Failed == nil {
			t.Errorf("it says %+v", report)
		}
	})
	t.Run("that is there already", func(t *testing.T) {
		m := newMemories(t, 2)
		putWhole(t, oldest, m[0])
		storagetest.Put(t, m[1], name, flip(storagetest.Read(t, m[0], name)))
		report := syncs(t, m.named(), catalog.SyncOptions{})
		wantCodes(t, report, "object-differs")
		if _, has := state(t, m[1])[catalog.ManifestName("prod", oldest)]; has || report.Copies[0].Whole {
			t.Errorf("it says %+v", report)
		}
	})
	t.Run("and is right", func(t *testing.T) {
		m := newMemories(t, 2)
		putWhole(t, oldest, m[0])
		storagetest.Put(t, m[1], name, storagetest.Read(t, m[0], name))
		if report := syncs(t, m.named(), catalog.SyncOptions{}); report.Copies[0].Checked != 1 || report.Copies[0].Copied != 1 || !report.Complete() {
			t.Errorf("it says %+v", report)
		}
		wantSame(t, m[1], m[0])
	})
	t.Run("of the manifest, by another that is coherent", func(t *testing.T) {
		m := newMemories(t, 3)
		putWhole(t, oldest, m[0], m[2])
		// A flipped bit shows in the manifest's own sum, and this does not.
		m[2].Change(catalog.ManifestName("prod", oldest), func(b []byte) []byte {
			other, err := manifest.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			other.CreatedBy = "slotark other"
			text, err := manifest.Encode(other)
			if err != nil {
				t.Fatal(err)
			}
			return text
		})
		if report := syncs(t, m.named(), catalog.SyncOptions{}); !errors.Is(report.Copies[0].Failed, catalog.ErrDamaged) || report.Complete() {
			t.Errorf("it says %+v", report)
		}
		if report := syncs(t, m.named(), catalog.SyncOptions{From: "s0"}); !report.Copies[0].Whole {
			t.Errorf("it says %+v", report)
		}
	})
	t.Run("of the manifest", func(t *testing.T) {
		m := newMemories(t, 3)
		putWhole(t, oldest, m[0], m[2])
		m[2].Change(catalog.ManifestName("prod", oldest), func(b []byte) []byte { return bytes.Replace(b, []byte("slotark test"), []byte("slotark tesT"), 1) })
		report := syncs(t, m.named(), catalog.SyncOptions{})
		wantCodes(t, report, "source-damaged")
		if !report.Copies[0].Whole || report.Complete() {
			t.Errorf("it says %+v", report)
		}
		if err := m[1].Delete(t.Context(), catalog.ManifestName("prod", oldest)); err != nil {
			t.Fatal(err)
		}
		if report := syncs(t, m.named(), catalog.SyncOptions{From: "s0"}); !report.Copies[0].Whole {
			t.Errorf("it says %+v", report)
		}
	})
}

// merged is b with what a has of b's names.
func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(b)
	out["slotark.json"] = a["slotark.json"]
	return out
}

// What a prune has dropped does not come back with a mirror that was out of the
// configuration, nor is it missed.
func TestSyncLeavesWhatAPruneDropped(t *testing.T) {
	m := newMemories(t, 3)
	putWhole(t, oldest, m[0], m[1], m[2])
	putWhole(t, newest, m[0], m[1], m[2])
	r := open(t, m[:2].named())
	plan, err := r.PlanPrune(t.Context(), catalog.PruneOptions{Policy: catalog.Policy{Last: 1, Minimum: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Prune(t.Context(), plan, func(removal catalog.Removal) {
		if !removal.Gone() {
			t.Errorf("not gone: %+v", removal)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []catalog.SyncOptions{{}, {To: "s0"}, {Snapshots: []string{string(oldest)}}} {
		report := syncs(t, m.named(), o)
		wantCodes(t, report, "dropped")
		if len(report.Copies) > 0 || !report.Complete() {
			t.Errorf("it says %+v", report)
		}
	}
	survey, err := open(t, m.named()).Survey(t.Context(), "prod")
	if err != nil || len(survey.Leftover) != 1 || survey.Stores[0].Of != 1 || survey.Stores[0].Behind() || survey.Stores[2].Behind() {
		t.Errorf("the survey is %+v, %v", survey, err)
	}
	// A prune that knew the mirror and was stopped has dropped nothing yet: the
	// mirror has its record, and the snapshot.
	for name, text := range state(t, m[0]) {
		if strings.HasPrefix(name, "prod/prunes/") {
			put(t, m[2], name, text)
		}
	}
	wantCodes(t, syncs(t, m.named(), catalog.SyncOptions{}), "primary-lost")
	wantSame(t, m[1], m[2])
}

// dying is a store of a process that is killed at its nth request: from then on
// none of its requests arrives. Of a Put, the first half does.
type dying struct {
	storage.Store
	life *life
}

type life struct {
	mu   sync.Mutex
	left int
}

var errKilled = errors.New("killed")

func (l *life) spend() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left--; l.left < 0 {
		return errKilled
	}
	return nil
}

func (d dying) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if err := d.life.spend(); err != nil {
		return storage.Object{}, err
	}
	object, err := d.Store.Put(ctx, name, body)
	if err == nil {
		err = d.life.spend() // it was stored, and nobody heard of it
	}
	return object, err
}

func (d dying) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := d.life.spend(); err != nil {
		return nil, err
	}
	return d.Store.Open(ctx, name)
}

func (d dying) Stat(ctx context.Context, name string) (storage.Object, error) {
	if err := d.life.spend(); err != nil {
		return storage.Object{}, err
	}
	return d.Store.Stat(ctx, name)
}

func (d dying) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	if err := d.life.spend(); err != nil {
		return func(yield func(storage.Object, error) bool) { yield(storage.Object{}, err) }
	}
	return d.Store.List(ctx, prefix)
}

// Whenever a sync ends, no store has a manifest without the objects, and the
// next sync reaches the same end.
func TestSyncKilledAtEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a claim waits for stores that do not answer
		n := 0
		for !syncKilled(t, n) && !t.Failed() {
			n++
		}
		t.Logf("a sync has %d requests", n)
	})
}

// syncKilled kills one sync at its nth request, and tells whether it had ended.
func syncKilled(t *testing.T, n int) bool {
	m := newMemories(t, 3)
	putWhole(t, oldest, m[0], m[2])
	putWhole(t, newest, m[0])
	put(t, m[0], "prod/drills/"+string(newest)+"/"+recordOf+".json", "{}\n")
	alive := &life{left: n}
	var stores []storage.Named
	for _, s := range m.named() {
		stores = append(stores, storage.Named{Name: s.Name, Store: dying{s.Store, alive}})
	}
	complete := false
	if r, err := catalog.Open(t.Context(), stores); err == nil {
		report, err := r.Sync(t.Context(), catalog.SyncOptions{})
		complete = err == nil && report.Complete()
	}
	for _, s := range m {
		wantNoLie(t, s)
	}
	report := syncs(t, m.named(), catalog.SyncOptions{})
	if !report.Complete() {
		t.Fatalf("killed at request %d, the next sync says %+v", n, report)
	}
	wantSame(t, m[1], m[0])
	wantSame(t, m[2], m[0])
	if t.Failed() {
		t.Fatalf("killed at request %d", n)
	}
	return complete && alive.left >= 0
}

// wantNoLie checks that a store that has a manifest has the objects.
func wantNoLie(t *testing.T, s storage.Store) {
	t.Helper()
	has := state(t, s)
	for name := range has {
		if folder, ok := strings.CutSuffix(name, catalog.ManifestObject); ok && (has[folder+dumpOf] == "" || has[folder+"shard-0/slots.idx"] == "") {
			t.Errorf("%s has %s and not what it names", s, name)
		}
	}
}

func TestTwoSyncsAtOnce(t *testing.T) {
	m := newMemories(t, 2)
	for i := range 8 {
		putWhole(t, manifest.ID(fmt.Sprintf("2026020%dT020000Z-aaaaa%d", i+1, i+2)), m[0])
	}
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			if report := syncs(t, m.named(), catalog.SyncOptions{}); !report.Complete() {
				t.Errorf("it says %+v", report)
			}
		})
	}
	wait.Wait()
	wantSame(t, m[1], m[0])
}

func TestSyncNamesWrong(t *testing.T) {
	m := newMemories(t, 2)
	putWhole(t, oldest, m[0])
	for _, o := range []catalog.SyncOptions{{From: "x"}, {To: "x"}, {From: "s1", To: "s1"}} {
		if _, err := open(t, m.named()).Sync(t.Context(), o); !errors.Is(err, catalog.ErrNoSuchStore) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := open(t, m[:1].named()).Sync(t.Context(), catalog.SyncOptions{}); !errors.Is(err, catalog.ErrNoSuchStore) {
		t.Errorf("without a mirror: %v", err)
	}
	if _, err := open(t, m.named()).Sync(t.Context(), catalog.SyncOptions{Snapshots: []string{"2020"}}); !errors.Is(err, catalog.ErrNoSnapshot) {
		t.Errorf("of an unknown snapshot: %v", err)
	}
}
