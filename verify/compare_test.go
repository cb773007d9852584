package verify

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// recordsOf reads a dump of version 12 that holds these keys of database 0.
func recordsOf(t *testing.T, keys ...string) []rdb.Record {
	t.Helper()
	dump := "REDIS0012\xfe\x00" + strings.Join(keys, "") + "\xff" + strings.Repeat("\x00", 8)
	reader := rdb.NewReader(strings.NewReader(dump), rdb.Options{Size: int64(len(dump)), Digest: true})
	var records []rdb.Record
	for {
		r, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == rdb.KindKey {
			records = append(records, *r)
		}
	}
}

// tallied adds up records that were looked at at an instant.
func tallied(records []rdb.Record, cutoff int64) *tally {
	var t tally
	for i := range records {
		t.add(&records[i], cutoff)
	}
	return &t
}

// Keys as dumps write them: type, name and value; before them, when they expire.
const (
	aString   = "\x00\x01a\x01v"
	aList     = "\x01\x01b\x01\x01v"
	aSet      = "\x02\x01c\x02\x02-1\x011"
	anIntset  = "\x0b\x01c\x0c\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x01\x00"
	at1000ms  = "\xfc\xe8\x03\x00\x00\x00\x00\x00\x00"
	at2000ms  = "\xfc\xd0\x07\x00\x00\x00\x00\x00\x00"
	expiring  = at2000ms + "\x00\x01e\x01v"
	otherwise = at1000ms + "\x00\x01e\x01v"
)

// TestTally: a sum does not depend on order or encoding, and depends on
// everything else.
func TestTally(t *testing.T) {
	want := tallied(recordsOf(t, aString, aList, aSet, expiring), 0)
	if got := tallied(recordsOf(t, anIntset, expiring, aList, aString), 0); !got.holdsSame(want) {
		t.Errorf("another order and encoding give %+v, want %+v", got, want)
	}
	for name, keys := range map[string][]string{
		"name":             {"\x00\x01A\x01v", aList, aSet, expiring},
		"value":            {"\x00\x01a\x01V", aList, aSet, expiring},
		"type":             {aString, "\x02\x01b\x01\x01v", aSet, expiring},
		"database":         {aString, aList, aSet, "\xfe\x01", expiring},
		"expiry":           {aString, aList, aSet, otherwise},
		"lack of expiry":   {aString, aList, aSet, "\x00\x01e\x01v"},
		"number of keys":   {aString, aList, aSet},
		"key in its place": {aString, aList, aSet, at2000ms + "\x00\x01f\x01v"},
	} {
		if got := tallied(recordsOf(t, keys...), 0); got.holdsSame(want) {
			t.Errorf("another %s gives the same sum", name)
		}
	}
}

// TestTallyExpired: a key that had expired at the cutoff may be there or not.
func TestTallyExpired(t *testing.T) {
	with, without := recordsOf(t, aString, expiring), recordsOf(t, aString)
	if !tallied(with, 2000).holdsSame(tallied(without, 2000)) {
		t.Error("a key that had expired had to be there")
	}
	if tallied(with, 1999).holdsSame(tallied(without, 1999)) {
		t.Error("a key that had not expired did not have to be there")
	}
	if got := tallied(with, 2000); got.keys != 1 || got.expired != 1 || got.whole == tallied(without, 2000).whole {
		t.Errorf("%+v; want one key, one expired, and the digests of both", got)
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

// TestProvedByIndex: what the slot index says must be both streamed and counted. A key
// that expires between the two is gone from one of them, and the dump says that it may.
func TestProvedByIndex(t *testing.T) {
	digest := rdb.DigestOf([16]byte{1})
	for name, test := range map[string]struct {
		spoil func(*comparing)
		want  bool
	}{
		"as it was":            {func(*comparing) {}, true},
		"one of them expired":  {func(c *comparing) { c.live[7].keys, c.live[7].expired = 2, 1 }, true},
		"another digest":       {func(c *comparing) { c.live[7].whole = rdb.Digest{} }, false},
		"a key less streamed":  {func(c *comparing) { c.live[7].keys = 2 }, false},
		"a key less counted":   {func(c *comparing) { c.counts[7] = 2 }, false},
		"a key more counted":   {func(c *comparing) { c.counts[7] = 4 }, false},
		"a digest not known":   {func(c *comparing) { c.digests[7] = nil }, false},
		"keys in another slot": {func(c *comparing) { c.counts[8] = 1 }, false},
	} {
		c := &comparing{}
		c.Snapshot = wholeSnapshot()
		for n := range c.digests {
			c.digests[n] = new(rdb.Digest)
		}
		c.indexed[7], c.counts[7], c.live[7], c.digests[7] = 3, 3, tally{keys: 3, whole: digest}, &digest
		if test.spoil(c); c.provedByIndex(0) != test.want {
			t.Errorf("%s: proved is %t", name, !test.want)
		}
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
