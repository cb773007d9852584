package fault_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/fault"
	"github.com/slotark/slotark/snapshot/manifest"
)

// TestSnapshot has each fault at each call of a snapshot to a primary and a
// mirror: what is listed is sound, what failed is said, and the next snapshot is
// whole.
func TestSnapshot(t *testing.T) {
	c := newSource(t)
	ways := sealings(t)
	for _, test := range []struct {
		name  string
		way   sealing
		kinds []fault.Kind
	}{
		{"plain", ways["plain"], []fault.Kind{fault.Error, fault.Cut, fault.Short, fault.Wrong, fault.Bent, fault.Lost, fault.Gone}},
		{"hanging", ways["plain"], []fault.Kind{fault.Hang}}, // beside the others: a manifest is waited for
		{"sealed", ways["sealed"], []fault.Kind{fault.Cut, fault.Bent, fault.Lost}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			each(t, test.kinds, func(t *testing.T, plan *fault.Plan) { snapshotWith(t, c, test.way, plan) })
		})
	}
}

func snapshotWith(t *testing.T, c *clustertest.Cluster, way sealing, plan *fault.Plan) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plan.Hung = cancel // the person's patience
	stores := memories(2)
	r, err := take(ctx, c, plan.Stores(stores), way, nil)
	for i, store := range stores {
		if unreadable := strings.HasPrefix(plan.Hit(), "short of put ") && strings.HasSuffix(plan.Hit(), ".json in "+store.String()); unreadable {
			if err == nil && r.Outcomes[i].Err == nil {
				t.Errorf("%s has half a manifest or mark, and is said to be whole", store.Name)
			}
			continue
		}
		if bentIn(plan, store) {
			if err != nil || r.Outcomes[i].Err != nil {
				t.Errorf("nobody can have seen it, and it is said: %v", err)
			}
			wantBentNamed(t, stores, plan, way.keys)
			continue
		}
		ids := listed(t, store, way.keys)
		switch {
		case err != nil && len(ids) > 0 && plan.Kind != fault.Gone:
			t.Errorf("the snapshot failed (%v) and %s lists it", err, store.Name)
		case err == nil && r.Outcomes[i].Err == nil && !slices.Equal(ids, []manifest.ID{r.Manifest.ID}):
			t.Errorf("%s has the snapshot, it is said, and lists %v", store.Name, ids)
		case err != nil && plan.Kind == fault.Lost && len(objects(t, store)) > 1, // what nobody knows of is a later prune's
			err != nil && !slices.Contains([]fault.Kind{fault.Lost, fault.Gone, fault.Short}, plan.Kind) && len(objects(t, store)) > 0:
			t.Errorf("the snapshot failed (%v) and left %v in %s", err, objects(t, store), store.Name)
		}
	}
	if plan.Hit() == "" && (err != nil || !r.Complete()) {
		t.Errorf("a run without a fault: %v", err)
	}
	if t.Failed() || strings.HasPrefix(plan.Hit(), "short of put ") { // half an object may be in the way, as it was said
		return
	}
	r, err = take(t.Context(), c, stores, way, nil)
	if err != nil || !r.Complete() {
		t.Fatalf("the next snapshot: %v", err)
	}
	for _, store := range stores {
		if bentIn(plan, store) { // what it lists besides is known
			continue
		}
		if ids := listed(t, store, way.keys); !slices.Contains(ids, r.Manifest.ID) {
			t.Errorf("after the next snapshot %s lists %v", store.Name, ids)
		}
	}
}

// TestTwoSnapshotsInOneSecond takes two at once into one repository: two ids,
// both whole.
func TestTwoSnapshotsInOneSecond(t *testing.T) {
	c := newSource(t)
	way := sealings(t)["plain"]
	stores := memories(2)
	second := time.Date(2026, 2, 1, 2, 0, 0, 0, time.UTC)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			r, err := take(t.Context(), c, stores, way, func() time.Time { return second })
			if err != nil || !r.Complete() {
				t.Errorf("one of two at once: %v", err)
			}
		})
	}
	wait.Wait()
	first := listed(t, stores[0], nil)
	if len(first) != 2 || first[0] == first[1] || !first[0].Time().Equal(second) || !slices.Equal(first, listed(t, stores[1], nil)) {
		t.Errorf("listed are %v", first)
	}
}
