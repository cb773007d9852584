package restore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// The parts are those that redis-cli --cluster create of Redis 7.0 makes.
func TestBalanced(t *testing.T) {
	for n, want := range map[int]string{
		1: "0-16383",
		2: "0-8191 8192-16383",
		3: "0-5460 5461-10922 10923-16383",
		5: "0-3276 3277-6553 6554-9829 9830-13106 13107-16383",
		7: "0-2340 2341-4680 4681-7021 7022-9361 9362-11702 11703-14042 14043-16383",
	} {
		if got := strings.Trim(fmt.Sprint(Balanced(n)), "[]"); got != want {
			t.Errorf("%d shards: %s, want %s", n, got, want)
		}
	}
	var all slot.Set
	for _, slots := range Balanced(slot.Count) {
		if slots.Len() != 1 {
			t.Fatalf("%s is not one slot", slots)
		}
		all = all.Union(slots)
	}
	if all != slot.Full() {
		t.Errorf("only slots %s", all)
	}
}

func sets(t *testing.T, text string) []slot.Set {
	t.Helper()
	var all []slot.Set
	for _, part := range strings.Fields(text) {
		slots, err := slot.Parse(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slots)
	}
	return all
}

func laidOut(t *testing.T, from, onto string) *run {
	t.Helper()
	r := &run{manifest: &manifest.Manifest{}, layout: sets(t, onto)}
	for _, slots := range sets(t, from) {
		r.manifest.Shards = append(r.manifest.Shards, manifest.Shard{Slots: slots, Dump: manifest.Dump{UsedMemory: 1000}})
	}
	r.Snapshot = &catalog.Snapshot{Manifest: r.manifest}
	return r
}

func TestBundles(t *testing.T) {
	for _, c := range []struct{ name, from, onto, want string }{
		{"as it was", "0-99 100-16383", "0-99 100-16383", "[{[0] [0]} {[1] [1]}]"},
		{"in another order", "0-99 100-16383", "100-16383 0-99", "[{[1] [0]} {[0] [1]}]"},
		{"two of each", "0-99 100-199 200-299 300-16383", "0-199 200-16383", "[{[0 1] [0]} {[2 3] [1]}]"},
		{"each in two", "0-199 200-16383", "0-99 100-199 200-16383", "[{[0] [0 1]} {[1] [2]}]"},
		{"a chain", "0-99 100-199 200-16383", "0-49 50-149 150-249 250-16383", "[{[0 1 2] [0 1 2 3]}]"},
	} {
		r := laidOut(t, c.from, c.onto)
		if got := fmt.Sprint(r.bundles()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if reshaped := c.name != "as it was" && c.name != "in another order"; r.reshaped() != reshaped {
			t.Errorf("%s: reshaped is %t", c.name, r.reshaped())
		}
	}
	if got := laidOut(t, "0-99 100-16383", "0-49 50-16383").memoryOf(0); got != 500 {
		t.Errorf("half a shard needs %d of its 1000 bytes", got)
	}
}

func TestLayoutRefusals(t *testing.T) {
	for want, onto := range map[string]string{
		"slots 50 are given to two shards":     "0-50 50-16383",
		"slots 100-199 are given to no shard":  "0-99 200-16383",
		"":                                     "0-16383",
		"the snapshot does not hold slots 0-9": "0-16383 ",
	} {
		r := laidOut(t, "0-16383", onto)
		if onto == "0-16383 " {
			r = laidOut(t, "10-16383", onto)
		}
		err := r.checkLayout()
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, hint.ErrRefused) || len(hint.Of(err)) == 0 {
			t.Errorf("%q: %v", onto, err)
		}
	}
	r := laidOut(t, "0-16383", "0-16383")
	r.layout = append(r.layout, slot.Set{})
	if err := r.checkLayout(); err == nil || !strings.Contains(err.Error(), "a shard without slots") {
		t.Error(err)
	}
}

// A folder is named after the node's place in --at, though zones had it be of another
// shard than its place would.
func TestFolderNames(t *testing.T) {
	r := &run{layout: sets(t, "0-8191 8192-16383"), places: []place{
		{rank: 0, shard: 0, primary: true}, {rank: 1, shard: 1, primary: true}, {rank: 3, shard: 0}, {rank: 2, shard: 1},
	}}
	for given, want := range map[bool]string{
		true:  "01-shard-0-primary 02-shard-8192-primary 04-shard-0-replica-1 03-shard-8192-replica-1",
		false: "01-shard-0-primary 02-shard-8192-primary 03-shard-0-replica-1 04-shard-8192-replica-1",
	} {
		if r.At = nil; given {
			r.At = []string{"a:1", "b:1", "c:1", "d:1"}
		}
		var names []string
		for i := range r.places {
			names = append(names, r.folderName(i))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("with --at %v: %s, want %s", given, got, want)
		}
	}
}
