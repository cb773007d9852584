package snapshot_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/sealtest"
)

// TestResealAtEveryStep ends or breaks a resealing at each call to a store in
// turn: what is left is one snapshot more, whole, or none.
func TestResealAtEveryStep(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Primaries: 2})
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), c.Access(), topology, dataset.Options{Keys: 200, Seed: 6}); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(seal.Options{Compression: seal.Zstd})
	if err != nil {
		t.Fatal(err)
	}
	stores := []storage.Named{{Name: "primary", Store: fs.Open(t.TempDir())}, {Name: "mirror", Store: fs.Open(t.TempDir())}}
	if _, err := snapshot.Take(t.Context(), snapshot.Options{
		Cluster: "prod", Seeds: c.Addrs(), Access: c.Access(), Stores: stores, Sealer: sealer, Collect: snapshot.CollectStream, Build: "test",
	}); err != nil {
		t.Fatal(err)
	}
	before := held(t, stores[0])
	for _, test := range []struct {
		name   string
		broken int // which store; -1: the run is cancelled
	}{{"cancelled", -1}, {"primary breaks", 0}, {"mirror breaks", 1}} {
		t.Run(test.name, func(t *testing.T) {
			for at, reached := 1, true; reached; at++ {
				reached = resealUntil(t, stores, test.broken, at, before)
			}
		})
	}
}

// resealUntil seals the first snapshot again and acts at one call to the
// stores. It tells whether there was such a call, and removes what it made.
func resealUntil(t *testing.T, stores []storage.Named, broken, at int, before []string) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failure := errors.New("the store broke")
	counted := &steps{at: at, act: func() error {
		if broken < 0 {
			cancel()
			return nil
		}
		return failure
	}}
	watched := slices.Clone(stores)
	for i := range watched {
		if broken < 0 || broken == i {
			watched[i].Store = stepped{watched[i].Store, counted}
		}
	}
	sealer, err := seal.New(seal.Options{Recipients: []seal.Recipient{sealtest.NewKey(t).Recipient}})
	if err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	old, err := repository.Find(t.Context(), "prod", catalog.Latest)
	if err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Reseal(ctx, snapshot.ResealOptions{Snapshot: old, Stores: watched, Sealer: sealer, Build: "test"})
	for i, store := range stores {
		added := slices.DeleteFunc(held(t, store), func(name string) bool { return slices.Contains(before, name) })
		whole := err == nil && r.Outcomes[i].Err == nil
		if whole != hasManifest(added) || whole && len(added) != len(before) || err != nil && len(added) > 0 {
			t.Fatalf("at call %d: %v, %s holds %v", at, err, store.Name, added)
		}
		for _, name := range added {
			if err := store.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return counted.count >= at
}
