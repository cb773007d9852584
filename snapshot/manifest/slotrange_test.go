package manifest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// TestNewSlotIndex makes indexes of dumps that real servers wrote, and reads
// each slot's bytes by themselves: they are its keys, all and alone, with the
// digest that the index says.
func TestNewSlotIndex(t *testing.T) {
	cases := map[string]struct {
		slotwise  bool // the server wrote slot by slot
		databases bool // a slot's keys may be in more than one database
	}{
		"redis-7.0.15-cluster.rdb":           {},
		"redis-8.0.2-cluster.rdb":            {slotwise: true},
		"valkey-8.1.1-cluster.rdb":           {slotwise: true},
		"valkey-9.1.2-cluster.rdb":           {slotwise: true},
		"valkey-9.1.2-cluster-databases.rdb": {slotwise: true, databases: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dump, err := os.ReadFile(filepath.Join("../../internal/rdb/testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			report := inspect(t, dump)
			x := manifest.NewSlotIndex(slot.Full(), report)
			back, err := manifest.DecodeSlotIndex(bytes.NewReader(x.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			if *back != *x {
				t.Error("the index comes back otherwise")
			}
			if x.DigestVersion != rdb.DigestVersion || x.Digest() != report.Digest {
				t.Errorf("the digest is %s of version %d, want %s of version %d", x.Digest(), x.DigestVersion, report.Digest, rdb.DigestVersion)
			}
			scattered, several := 0, 0
			for n, entry := range x.Slots {
				if entry.Keys > 1 {
					several++
				}
				switch {
				case entry.Bytes > 0 && !c.databases:
					checkSlotBytes(t, dump, n, entry)
				case entry.Bytes == 0 && entry.Keys > 0:
					scattered++
				}
			}
			if several == 0 {
				t.Fatal("no slot holds two keys: this dump proves nothing")
			}
			if whole := c.slotwise && !c.databases; whole != (scattered == 0) {
				t.Errorf("%d slots of several keys lie in more than one piece", scattered)
			}
		})
	}
}

// Without its digests a report makes an index of version 1.
func TestNewSlotIndexWithoutDigests(t *testing.T) {
	report := &rdb.Report{SlotRanges: make([]rdb.SlotRange, slot.Count)}
	report.Slots[4] = rdb.SlotCount{Keys: 3, Expiring: 1}
	report.SlotRanges[4] = rdb.SlotRange{First: 9, End: 90}
	x := manifest.NewSlotIndex(slot.SetOf(slot.Range{First: 4, Last: 4}), report)
	if got, want := string(x.Encode()), indexHeader1+"4 3 1\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func inspect(t *testing.T, dump []byte) *rdb.Report {
	t.Helper()
	report, err := rdb.Inspect(t.Context(), bytes.NewReader(dump), rdb.InspectOptions{Size: int64(len(dump)), Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// checkSlotBytes makes a dump of one slot's bytes: a header before them, an end
// opcode and no checksum after them.
func checkSlotBytes(t *testing.T, dump []byte, n int, entry manifest.SlotEntry) {
	t.Helper()
	var alone bytes.Buffer
	alone.Write(dump[:9])
	alone.Write(dump[entry.Offset : entry.Offset+entry.Bytes])
	alone.Write(append([]byte{0xff}, make([]byte, 8)...))
	report := inspect(t, alone.Bytes())
	got := fmt.Sprint(report.Keys, report.Slots[n], report.SlotDigests[n])
	if want := fmt.Sprint(entry.Keys, rdb.SlotCount{Keys: entry.Keys, Expiring: entry.Expiring}, entry.Digest); got != want {
		t.Errorf("slot %d: its bytes by themselves hold %s, the index says %s", n, got, want)
	}
}
