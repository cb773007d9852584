package rdb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// The ten largest keys are named, whatever the order they come in, and of those
// that are equally large the first.
func TestInspectBiggest(t *testing.T) {
	sizes := make([]int, 200)
	for i := range sizes {
		sizes[i] = i / 2 * 10 // each twice
	}
	shuffled := slices.Clone(sizes)
	for i := range shuffled {
		j := i * 7919 % len(shuffled)
		shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
	}
	descending := slices.Clone(sizes)
	slices.Reverse(descending)
	for name, order := range map[string][]int{"ascending": sizes, "descending": descending, "shuffled": shuffled} {
		t.Run(name, func(t *testing.T) {
			type key struct {
				name  string
				bytes int64
			}
			var all []key
			dump := newDump(10).selectDB(0)
			for i, size := range order {
				from := len(dump.data)
				dump.str(fmt.Sprintf("key:%d", i), strings.Repeat("x", size))
				all = append(all, key{fmt.Sprintf("key:%d", i), int64(len(dump.data) - from)})
			}
			slices.SortStableFunc(all, func(x, y key) int { return int(y.bytes - x.bytes) })
			report, err := inspect(dump.done(), rdb.InspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Biggest) != 10 {
				t.Fatalf("%d keys are named, want 10", len(report.Biggest))
			}
			for i, got := range report.Biggest {
				if got.Key != all[i].name || got.Bytes != all[i].bytes || got.Family != rdb.String || got.Shortened {
					t.Errorf("%d is %+v, want %+v", i, got, all[i])
				}
			}
		})
	}
}

// A key's size is that of all its record, and a name of any length costs little.
func TestInspectBiggestRecord(t *testing.T) {
	long := strings.Repeat("n", 5000)
	data := newDump(10).
		selectDB(3).raw(252).u64(4102444800000).raw(249, 7).str("expiring", "v").
		selectDB(5).key(4, long).num(1).text("f", "v").done()
	report, err := inspect(data, rdb.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Biggest) != 2 {
		t.Fatalf("%+v", report.Biggest)
	}
	hash, text := report.Biggest[0], report.Biggest[1]
	if hash.DB != 5 || hash.Family != rdb.Hash || hash.Key != long[:256] || !hash.Shortened || hash.Bytes != 1+2+5000+1+2+2 {
		t.Errorf("the hash is %+v", hash)
	}
	if text.DB != 3 || text.Key != "expiring" || text.Slot != slot.Of([]byte("expiring")) || text.Bytes != 9+2+1+1+8+2 {
		t.Errorf("the string is %+v", text)
	}
	if want := []rdb.DBSize{{DB: 3, Keys: 1}, {DB: 5, Keys: 1}}; !slices.Equal(report.Databases, want) {
		t.Errorf("databases %v, want %v", report.Databases, want)
	}
}

// Databases are counted however they come, the first 256 of them.
func TestInspectDatabases(t *testing.T) {
	dump := newDump(10)
	for _, db := range []uint64{0, 1, 0, 2} {
		dump.selectDB(db).str(fmt.Sprint("key:", len(dump.data)), "v")
	}
	report, err := inspect(dump.done(), rdb.InspectOptions{})
	if want := []rdb.DBSize{{0, 2}, {1, 1}, {2, 1}}; err != nil || !slices.Equal(report.Databases, want) {
		t.Errorf("%v, databases %v, want %v", err, report.Databases, want)
	}
	dump = newDump(10)
	for db := range uint64(300) {
		dump.selectDB(db).str("k", "v")
	}
	report, err = inspect(dump.done(), rdb.InspectOptions{})
	if err != nil || report.Keys != 300 || len(report.Databases) != 256 || report.Databases[255] != (rdb.DBSize{DB: 255, Keys: 1}) {
		t.Errorf("%v, %d keys, %d databases", err, report.Keys, len(report.Databases))
	}
	if report, err = inspect(newDump(10).done(), rdb.InspectOptions{}); err != nil || report.Databases != nil || report.Biggest != nil {
		t.Errorf("%v, %v, %v of an empty dump", err, report.Databases, report.Biggest)
	}
}

// A cluster node's dump of the versions that announce slots is told from others.
func TestInspectSlotsAnnounced(t *testing.T) {
	for _, file := range dumpFiles(t) {
		report, err := inspect(file.data, rdb.InspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Contains(file.name, "cluster") && file.version != "7.0.15"
		if report.SlotsAnnounced != want {
			t.Errorf("%s: slots announced %t, want %t", file.path, report.SlotsAnnounced, want)
		}
	}
}
