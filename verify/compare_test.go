package verify

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

func sumOf(records []rdb.Record) tally {
	var t tally
	var m marker
	for i := range records {
		t.add(m.item(&records[i]), records[i].Digest)
	}
	return t
}

// TestTally: a sum does not depend on order or encoding, and depends on
// everything else.
func TestTally(t *testing.T) {
	var records []rdb.Record
	for i := range 1000 {
		records = append(records, rdb.Record{Key: fmt.Appendf(nil, "key %d", i), Family: rdb.Hash, Type: 4, ExpireAt: int64(i), HasExpiry: i%2 == 0})
	}
	want := sumOf(records)
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	for i := range records {
		records[i].Type = 16 // a listpack now
	}
	if got := sumOf(records); !got.holdsSame(&want) {
		t.Errorf("another order gives %+v, want %+v", got, want)
	}
	for name, change := range map[string]func(*rdb.Record){
		"key":      func(r *rdb.Record) { r.Key = []byte("other") },
		"family":   func(r *rdb.Record) { r.Family = rdb.List },
		"database": func(r *rdb.Record) { r.DB = 1 },
		"value":    func(r *rdb.Record) { r.Digest = r.Digest.Add(rdb.DigestOf([16]byte{1})) },
		"expiry":   func(r *rdb.Record) { r.HasExpiry, r.ExpireAt = true, 1<<50 },
	} {
		old := records[500]
		change(&records[500])
		if got := sumOf(records); got.holdsSame(&want) {
			t.Errorf("another %s gives the same sum", name)
		}
		records[500] = old
	}
	if got := sumOf(records[1:]); got.holdsSame(&want) {
		t.Error("a key less gives the same sum")
	}
}

// TestMiscounted holds counts against their bounds.
func TestMiscounted(t *testing.T) {
	c := &comparing{}
	c.Snapshot = wholeSnapshot()
	c.indexed[1], c.counts[1] = 10, 11
	c.indexed[2], c.counts[2] = 10, 7
	c.saved[2].gone = 2
	c.indexed[3], c.counts[3] = 10, 7
	c.saved[3].gone = 3
	c.indexed[4], c.counts[4] = 10, 10
	c.saved[4].gone = 3
	tooMany, tooFew := c.miscounted()
	if tooMany.String() != "1" || tooFew.String() != "2" {
		t.Errorf("too many in %s, too few in %s", tooMany, tooFew)
	}
}

func TestSlotsText(t *testing.T) {
	var many slot.Set
	for n := 0; n < 200; n += 2 {
		many.Add(n)
	}
	if got := slotsText(many); !strings.HasPrefix(got, "slots 0,2,4,") || !strings.HasSuffix(got, " and 80 more") {
		t.Error(got)
	}
	if got := slotsText(slot.SetOf(slot.Range{First: 5, Last: 5})); got != "slot 5" {
		t.Error(got)
	}
}

func TestSentence(t *testing.T) {
	var d difference
	for i := range 12 {
		d.add(i, fmt.Sprintf("%q", fmt.Sprint("k", i)))
	}
	want := `12 keys too many: "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9" and 2 more`
	if got := d.sentence("too many"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func wholeSnapshot() *catalog.Snapshot {
	return &catalog.Snapshot{Manifest: &manifest.Manifest{Shards: []manifest.Shard{{Slots: slot.Full()}}}}
}
