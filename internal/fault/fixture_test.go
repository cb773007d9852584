package fault_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/fault"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/sealtest"
	"github.com/slotark/slotark/storage/storagetest"
	"github.com/slotark/slotark/verify"
)

// newSource starts a small cluster with keys.
func newSource(t *testing.T) *clustertest.Cluster {
	t.Helper()
	c := clustertest.Start(t, clustertest.Options{Primaries: 2})
	for i := range 40 {
		if err := c.Client().Set(t.Context(), fmt.Sprint("key:", i), strings.Repeat("value", i), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// sealing is a way to seal, and what opens it.
type sealing struct {
	sealer *seal.Sealer
	keys   *seal.Identities
}

func sealings(t *testing.T) map[string]sealing {
	t.Helper()
	key := sealtest.NewKey(t)
	sealer, err := seal.New(seal.Options{Compression: seal.Zstd, Recipients: []seal.Recipient{key.Recipient}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]sealing{"plain": {seal.Plain(), nil}, "sealed": {sealer, key.Identities}}
}

// take takes a snapshot into stores.
func take(ctx context.Context, c *clustertest.Cluster, stores []storage.Named, way sealing, now func() time.Time) (*snapshot.Result, error) {
	return snapshot.Take(ctx, snapshot.Options{
		Cluster: "prod", Seeds: c.Addrs(), Access: c.Access(), Stores: stores, Sealer: way.sealer, Collect: snapshot.CollectStream, Build: "test", Now: now,
	})
}

// memories are the stores beneath the faults.
func memories(n int) []storage.Named {
	var all []storage.Named
	for i := range n {
		name := fmt.Sprint("s", i)
		all = append(all, storage.Named{Name: name, Store: storagetest.NewMemory(name)})
	}
	return all
}

// contents is a snapshot's objects by their names within it.
type contents map[string][]byte

// taken is one real snapshot, whose copies under other names fill the stores.
func taken(t *testing.T, c *clustertest.Cluster, way sealing) contents {
	t.Helper()
	stores := memories(1)
	r, err := take(t.Context(), c, stores, way, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := contents{}
	folder := catalog.Folder("prod", r.Manifest.ID)
	for _, name := range storagetest.Names(t, stores[0], folder) {
		all[strings.TrimPrefix(name, folder)] = storagetest.Read(t, stores[0], name)
	}
	return all
}

// put stores the snapshot as one that was taken under an id.
func (s contents) put(t *testing.T, id manifest.ID, stores ...storage.Named) {
	t.Helper()
	m, err := manifest.Decode(bytes.NewReader(s[catalog.ManifestObject]))
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.Started, m.Finished = id, id.Time(), id.Time()
	for i := range m.Shards {
		m.Shards[i].Taken = id.Time()
	}
	m.Stores = []string{"s0", "s1"}
	text, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range stores {
		for _, name := range slices.Sorted(maps.Keys(s)) {
			if name != catalog.ManifestObject {
				storagetest.Put(t, store, catalog.Folder("prod", id)+name, s[name])
			}
		}
		storagetest.Put(t, store, catalog.ManifestName("prod", id), text)
	}
}

// sound are the sums of snapshots that were found to be so, byte for byte: most
// faults leave the same ones, and they need not be read a thousand times.
var sound sync.Map

func sumOf(t *testing.T, store storage.Named, folder string) [sha256.Size]byte {
	t.Helper()
	var all []byte
	for _, name := range storagetest.Names(t, store, folder) {
		data := storagetest.Read(t, store, name)
		all = append(fmt.Appendf(all, "%s %d\n", strings.TrimPrefix(name, folder), len(data)), data...)
	}
	return sha256.Sum256(all)
}

// listed are the ids that a store lists by itself, newest first. Each of them is
// sound there at level deep: a store that says it has a snapshot does not lie.
func listed(t *testing.T, store storage.Named, keys *seal.Identities) []manifest.ID {
	t.Helper()
	r, err := catalog.Open(t.Context(), []storage.Named{store})
	if errors.Is(err, catalog.ErrNoRepository) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	entries, err := r.List(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	var ids []manifest.ID
	for _, e := range entries {
		if e.Summary == nil {
			t.Errorf("%s lists %s: %v", store.Name, e.ID, e.Err)
			continue
		}
		ids = append(ids, e.ID)
		s, err := r.Find(t.Context(), "prod", string(e.ID))
		if err == nil {
			err = s.Unlock(keys)
		}
		if err != nil {
			t.Fatal(err)
		}
		key := sumOf(t, store, catalog.Folder("prod", e.ID))
		if _, known := sound.Load(key); known {
			continue
		}
		report, err := verify.Run(t.Context(), verify.Options{Snapshot: s, Level: verify.Deep})
		if err != nil {
			t.Fatal(err)
		}
		if !report.Record.Sound {
			t.Errorf("%s lists %s, which is not sound there: %v", store.Name, e.ID, report.Record.Findings)
			continue
		}
		sound.Store(key, true)
	}
	return ids
}

// objects are the names of the snapshots' objects in a store.
func objects(t *testing.T, store storage.Named) []string {
	t.Helper()
	return storagetest.Names(t, store, "prod/snapshots/")
}

// each tries every call of every kind, until a run has none to go wrong at.
func each(t *testing.T, kinds []fault.Kind, try func(t *testing.T, plan *fault.Plan)) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			for at := 1; ; at++ {
				plan := &fault.Plan{Kind: kind, At: at}
				try(t, plan)
				if t.Failed() {
					t.Fatalf("call %d: %s", at, plan.Hit())
				}
				if plan.Hit() == "" {
					t.Logf("%d calls", at-1)
					if at < 2 {
						t.Error("there is no such call: the test tests nothing")
					}
					return
				}
			}
		})
	}
}

// bentIn tells whether a store holds other bytes than it was given.
func bentIn(plan *fault.Plan, store storage.Named) bool {
	return strings.HasPrefix(plan.Hit(), "bent of put ") && strings.HasSuffix(plan.Hit(), " in "+store.String())
}

// wantBentNamed has an object of a snapshot that one store holds other than it was
// given: verify names the store and the object, and who reads it there, as a restore
// does, is told.
func wantBentNamed(t *testing.T, stores []storage.Named, plan *fault.Plan, keys *seal.Identities) {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(plan.Hit(), "bent of put "), " in ")
	id, object, part := strings.Cut(strings.TrimPrefix(name, "prod/snapshots/"), "/")
	if !part || !strings.HasPrefix(name, "prod/snapshots/") {
		return // a mark or evidence: TestRotOfRecords
	}
	r, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Find(t.Context(), "prod", id)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Run(t.Context(), verify.Options{Snapshot: s, Level: verify.Checksum})
	if err != nil {
		t.Fatal(err)
	}
	there := slices.IndexFunc(stores, func(store storage.Named) bool { return bentIn(plan, store) })
	wantSubject := stores[there].Name + ": " + object
	named := slices.ContainsFunc(report.Record.Findings, func(f catalog.Finding) bool { return f.Subject == wantSubject })
	if report.Record.Sound || !named || slices.Contains(report.Record.SoundIn, stores[there].Name) {
		t.Errorf("%s: found is %+v, sound in %v", wantSubject, report.Record.Findings, report.Record.SoundIn)
	}
	if err := s.Unlock(keys); err != nil {
		t.Fatal(err)
	}
	for _, store := range s.Stores() {
		for _, file := range s.Manifest.Files() {
			bad := store.Name == stores[there].Name && file.Object == object
			if err := readWhole(t, s.In(store), file); errors.Is(err, catalog.ErrDamaged) != bad || err != nil != bad {
				t.Errorf("%s in %s: reading it comes to %v", file.Object, store.Name, err)
			}
		}
	}
}

// readWhole reads one object of a snapshot to its end, as a restore does.
func readWhole(t *testing.T, s *catalog.Snapshot, file manifest.File) error {
	t.Helper()
	body, err := s.Open(t.Context(), file)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}
