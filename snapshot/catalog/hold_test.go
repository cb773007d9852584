package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

// TestRottenHold flips each bit of a hold's record, of one that has no sum yet,
// and of a release, in the only store: the snapshot is held, in the list and from
// a prune, by what the record says still or by the record's name.
func TestRottenHold(t *testing.T) {
	now := clock.Now()
	store := storagetest.NewMemory("s0")
	stores := []storage.Named{{Name: "s0", Store: store}}
	repository, err := catalog.Create(t.Context(), stores, now)
	if err != nil {
		t.Fatal(err)
	}
	held, newer := manifest.NewID(now.Add(-48*time.Hour)), manifest.NewID(now.Add(-time.Hour))
	putWhole(t, held, store)
	putWhole(t, newer, store)
	s, err := repository.Find(t.Context(), "prod", string(held))
	if err != nil {
		t.Fatal(err)
	}
	wantHeld := func(what string, reason string) {
		t.Helper()
		entries, err := repository.List(t.Context(), "prod")
		if err != nil {
			t.Fatal(err)
		}
		plan, err := repository.PlanPrune(t.Context(), catalog.PruneOptions{Cluster: "prod", Policy: keepOne})
		if err != nil {
			t.Fatal(err)
		}
		hold, drop := entries[1].Hold, plan.Decisions[1]
		if !hold.InForce(now) || !strings.Contains(hold.String(), reason) || !drop.Keep || !strings.Contains(strings.Join(drop.Reasons, " "), reason) {
			t.Fatalf("%s: listed is %+v, and prune says %v", what, hold, drop.Reasons)
		}
	}
	for _, what := range []string{"a hold", "a release"} {
		h := catalog.Hold{Reason: "audit", Until: now.Add(30 * 24 * time.Hour).Truncate(time.Second)}
		if what == "a release" {
			h = catalog.Hold{Released: true}
		}
		stored, err := repository.Hold(t.Context(), s, h, now)
		if err != nil {
			t.Fatal(err)
		}
		name := "prod/holds/" + string(held) + "/" + string(stored.ID) + ".json"
		text := storagetest.Read(t, store, name)
		for bit := range 8 * len(text) {
			flip := func(text []byte) []byte { text[bit/8] ^= 1 << (bit % 8); return text }
			store.Change(name, flip)
			rotten := storagetest.Read(t, store, name)
			if !json.Valid(rotten) || !strings.EqualFold(string(rotten), string(text)) { // another case of a name is the same name
				wantHeld(fmt.Sprintf("%s, bit %d: %s", what, bit, rotten), name+" cannot be read")
			}
			store.Change(name, flip)
		}
	}
	// One that was stored before there was a sum holds; and whoever says it again
	// is rid of what cannot be read.
	old := manifest.NewID(now.Add(time.Minute))
	put(t, store, "prod/holds/"+string(held)+"/"+string(old)+".json", fmt.Sprintf(`{"id":%q,"snapshot":%q,"reason":"of old"}`, old, held))
	wantHeld("an old record", "held: of old")
	rotten := manifest.NewID(now.Add(2 * time.Minute))
	put(t, store, "prod/holds/"+string(held)+"/"+string(rotten)+".json", "")
	wantHeld("an empty record", string(rotten)+".json cannot be read")
	if _, err := repository.Hold(t.Context(), s, catalog.Hold{Released: true}, now); err != nil {
		t.Fatal(err)
	}
	if hold, _, err := repository.Wanted(t.Context(), s); err != nil || hold.InForce(now) {
		t.Errorf("released, it is held by %+v, %v", hold, err)
	}
}
