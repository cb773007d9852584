package fault_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/fault"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

// daysAgo is the id of a snapshot of some days ago, by the bubble's clock.
func daysAgo(days int) manifest.ID {
	at := clock.Now().Add(-time.Duration(days) * 24 * time.Hour)
	return manifest.ID(at.UTC().Format("20060102T150405Z") + "-aaaaa" + string(rune('a'+days)))
}

// tell names the call at which a test failed.
func tell(t *testing.T, plan *fault.Plan) {
	if t.Failed() {
		t.Logf("call %d: %s", plan.At, plan.Hit())
	}
}

// repositoryOf makes stores a repository, without a fault.
func repositoryOf(t *testing.T, stores []storage.Named) {
	t.Helper()
	if _, err := catalog.Create(t.Context(), stores, clock.Now()); err != nil {
		t.Fatal(err)
	}
}

// held are a store's objects with their sizes, less the marks of who reads. What
// is listed was read, too.
func held(t *testing.T, store storage.Named) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for object, err := range store.List(t.Context(), "prod/") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(object.Name, "/restores/") && !strings.Contains(object.Name, "/prunes/") {
			all[object.Name] = object.Bytes
		}
	}
	return all
}

// TestSync has each fault at each call of a sync of three stores: no mirror lists
// what it has not, a sync that left something says so, and the next one ends
// where one without a fault does.
func TestSync(t *testing.T) {
	source := taken(t, newSource(t), sealings(t)["plain"])
	each(t, fault.Kinds(), func(t *testing.T, plan *fault.Plan) {
		synctest.Test(t, func(t *testing.T) { syncWith(t, source, plan) })
	})
}

func syncWith(t *testing.T, source contents, plan *fault.Plan) {
	t.Helper()
	defer tell(t, plan)
	stores := memories(3)
	repositoryOf(t, stores)
	source.put(t, daysAgo(2), stores[0], stores[2])
	source.put(t, daysAgo(1), stores[0])
	storagetest.Put(t, stores[0], "prod/drills/"+string(daysAgo(1))+"/"+string(daysAgo(0))+".json", []byte("{}\n"))
	complete := false
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // the person's patience
	defer cancel()
	if r, err := catalog.Open(ctx, plan.Stores(stores)); err == nil {
		report, err := r.Sync(ctx, catalog.SyncOptions{})
		complete = err == nil && report.Complete()
	}
	behind := 0
	for i, store := range stores {
		if strings.HasPrefix(plan.Hit(), "short of put ") && strings.HasSuffix(plan.Hit(), "/manifest.json in "+store.String()) {
			behind++ // half a manifest is no snapshot, and is listed as what cannot be read
			continue
		}
		if bentIn(plan, store) { // which that store alone cannot tell
			wantBentNamed(t, stores, plan, nil)
			continue
		}
		if ids := listed(t, store, nil); i == 0 && len(ids) != 2 {
			t.Errorf("the primary lists %v", ids)
		}
		if !maps.Equal(held(t, store), held(t, stores[0])) {
			behind++
		}
	}
	if complete && behind > 0 && plan.Kind != fault.Stale { // a list that lies by omission cannot be seen through
		t.Errorf("it says it is complete, and %d mirrors are behind", behind)
	}
	r, err := catalog.Open(t.Context(), stores)
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Sync(t.Context(), catalog.SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(plan.Hit(), "short of put ") || strings.HasPrefix(plan.Hit(), "bent of put ") { // what is in the way stays there, as it was said
		return
	}
	for _, store := range stores[1:] {
		if !report.Complete() || !maps.Equal(held(t, store), held(t, stores[0])) {
			t.Errorf("the next sync says %+v, and %s holds %q", report, store.Name, slices.Sorted(maps.Keys(held(t, store))))
		}
		listed(t, store, nil)
	}
}

// TestPrune has each fault at each call of a prune: the newest snapshots stay,
// what is listed is sound, and the next prune ends where one without a fault
// does.
func TestPrune(t *testing.T) {
	source := taken(t, newSource(t), sealings(t)["plain"])
	each(t, fault.Kinds(), func(t *testing.T, plan *fault.Plan) {
		synctest.Test(t, func(t *testing.T) { pruneWith(t, source, plan) })
	})
}

func pruneWith(t *testing.T, source contents, plan *fault.Plan) {
	t.Helper()
	defer tell(t, plan)
	stores := memories(2)
	repositoryOf(t, stores)
	keep := []manifest.ID{daysAgo(1), daysAgo(2)}
	for days := range 4 {
		source.put(t, daysAgo(days+1), stores...)
	}
	told := prune(t, plan.Stores(stores))
	for _, store := range stores {
		ids := listed(t, store, nil)
		if len(ids) < 2 || !slices.Equal(ids[:2], keep) {
			t.Errorf("%s lists %v", store.Name, ids)
		}
		if len(ids) > 2 && !told && plan.Kind != fault.Stale {
			t.Errorf("%s lists %v still, and nobody was told", store.Name, ids)
		}
	}
	<-time.After(26 * time.Hour) // until what is left is an orphan
	if prune(t, stores) {
		t.Error("the next prune failed")
	}
	for _, store := range stores {
		if ids := listed(t, store, nil); !slices.Equal(ids, keep) || len(objects(t, store)) != 2*len(source) {
			t.Errorf("after the next prune %s lists %v and holds %v", store.Name, ids, objects(t, store))
		}
	}
}

// prune keeps the two newest, and tells whether it said that it did not do all.
func prune(t *testing.T, stores []storage.Named) (told bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // the person's patience
	defer cancel()
	r, err := catalog.Open(ctx, stores)
	if err != nil {
		return true
	}
	plan, err := r.PlanPrune(ctx, catalog.PruneOptions{
		Cluster: "prod", Policy: catalog.Policy{Last: 2, Minimum: 1, Margin: 24 * time.Hour}, OrphansOlder: 24 * time.Hour,
	})
	if err != nil {
		return true
	}
	err = r.Prune(ctx, plan, func(removal catalog.Removal) { told = told || !removal.Gone() })
	return told || err != nil
}
