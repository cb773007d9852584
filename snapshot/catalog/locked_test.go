package catalog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
)

// locking tells of some objects that they are locked.
type locking struct {
	*hooked
	until time.Time
	part  string // of the names that are
}

func (l *locking) Stat(ctx context.Context, name string) (storage.Object, error) {
	o, err := l.hooked.Stat(ctx, name)
	if strings.Contains(name, l.part) {
		o.LockedUntil = l.until
	}
	return o, err
}

// What one store has under a lock, prune leaves alone in all of them: a
// snapshot by its manifest's lock, an orphan by an object's.
func TestPruneKeepsWhatIsLocked(t *testing.T) {
	k := inMemory(t)
	for days := range 5 {
		k.add(days + 1)
	}
	snapshot, orphan := daysOld(4).ID, daysOld(9).ID
	put(t, k.stores[0].Store, catalog.Folder("prod", orphan)+"shard-0/dump.rdb", "x")
	free := daysOld(8).ID
	put(t, k.stores[0].Store, catalog.Folder("prod", free)+"shard-0/dump.rdb", "x")
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, part := range map[string]string{"snapshot": string(snapshot), "orphan": string(orphan)} {
		repository, err := catalog.Open(t.Context(), named(&locking{k.stores[0], until, part}, k.stores[1]))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := repository.PlanPrune(t.Context(), catalog.PruneOptions{Cluster: "prod", Policy: keepTwo, OrphansOlder: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, d := range plan.Decisions {
			if strings.Contains(strings.Join(d.Reasons, " "), "locked in") {
				kept = append(kept, string(d.ID)+" "+d.Reasons[0])
			}
		}
		for _, o := range plan.Orphans {
			if strings.Contains(o.Reason, "locked in") {
				kept = append(kept, string(o.ID)+" "+o.Reason)
			}
		}
		if len(kept) != 1 || !strings.HasPrefix(kept[0], part) || !strings.HasSuffix(kept[0], "until 2030-01-02 03:04:05 UTC") {
			t.Errorf("%s: kept for their locks are %q", name, kept)
		}
		if drops := len(plan.Drops()); name == "snapshot" && drops != 2 || name == "orphan" && drops != 3 {
			t.Errorf("%s: %d are dropped", name, drops)
		}
	}
}
