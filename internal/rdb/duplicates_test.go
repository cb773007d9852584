package rdb_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// namesBySlot are n names, ordered as a cluster node's dump is.
func namesBySlot(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("key:%d", i)
	}
	slices.SortStableFunc(names, func(a, b string) int { return slot.Of([]byte(a)) - slot.Of([]byte(b)) })
	return names
}

// A name that comes twice is found wherever the second one stands, in dumps
// ordered by slot and in others, small and larger than what is kept of them.
func TestDuplicates(t *testing.T) {
	ordered := namesBySlot(100_000)
	mixed := slices.Clone(ordered)
	slices.Sort(mixed)
	for name, names := range map[string][]string{"ordered": ordered, "mixed": mixed} {
		for _, at := range []int{0, 1, 127, 128, 40_000, 99_999} {
			b, offset := newDump(10).selectDB(0), 0
			if name == "mixed" {
				b.raw(251).num(uint64(len(names) + 1)).num(0)
			}
			for i, key := range names {
				b.str(key, "v")
				if i == at {
					if i == 40_000 && name == "mixed" {
						key = names[5]
					}
					offset = len(b.data)
					b.str(key, "w")
				}
			}
			data := b.done()
			for _, size := range []int64{0, int64(len(data))} {
				_, err := inspect(data, rdb.InspectOptions{Size: size, Duplicates: true})
				if got := damageOf(err); got == nil || got.Code != rdb.CodeDuplicate || got.Offset != int64(offset) || !strings.Contains(got.Detail, `"key:`) {
					t.Errorf("%s, second one behind key %d, at byte %d: %v", name, at, offset, err)
				}
			}
			if _, err := inspect(data, rdb.InspectOptions{}); err != nil {
				t.Errorf("not asked for: %v", err)
			}
		}
	}
}

func TestDuplicatesAreOfOneDatabase(t *testing.T) {
	once := newDump(10).selectDB(0).str("a", "1").str("b", "1").selectDB(1).str("a", "2").selectDB(7).str("a", "3")
	if _, err := inspect(once.done(), rdb.InspectOptions{Duplicates: true}); err != nil {
		t.Errorf("one name in three databases: %v", err)
	}
	twice := newDump(10).selectDB(0).str("a", "1").selectDB(1).str("a", "2").str("b", "1").str("a", "3")
	if _, err := inspect(twice.done(), rdb.InspectOptions{Duplicates: true}); code(err) != rdb.CodeDuplicate || !strings.Contains(err.Error(), "database 1") {
		t.Errorf("one name twice in a database: %v", err)
	}
	back := newDump(10).selectDB(0).str("a", "1").selectDB(1).str("a", "2").selectDB(0).str("a", "3")
	if _, err := inspect(back.done(), rdb.InspectOptions{Duplicates: true}); code(err) != rdb.CodeDuplicate {
		t.Errorf("one name twice in a database that comes back: %v", err)
	}
}

// Whichever damage stands first is the one that is found.
func TestDuplicateBeforeOtherDamage(t *testing.T) {
	b := newDump(10).selectDB(0).str("a", "1").str("a", "2").key(8, "x")
	if _, err := inspect(b.unsealed(), rdb.InspectOptions{Duplicates: true}); code(err) != rdb.CodeDuplicate {
		t.Errorf("found %v", err)
	}
}

// Names of slots that come back after they were let go cannot be checked, and
// the report says so instead of keeping silent.
func TestDuplicatesUnchecked(t *testing.T) {
	names := namesBySlot(40_000)
	b := newDump(10).selectDB(0)
	for _, name := range names {
		b.str(name, "v")
	}
	report, err := inspect(b.done(), rdb.InspectOptions{Duplicates: true})
	if err != nil || report.DuplicatesUnchecked {
		t.Fatalf("ordered: %v, unchecked %t", err, report.DuplicatesUnchecked)
	}
	b.data = b.data[:len(b.data)-1] // without its end
	for i := range 100 {
		b.str(fmt.Sprintf("{%s}:%d", names[0], i), "v")
	}
	report, err = inspect(b.done(), rdb.InspectOptions{Duplicates: true})
	if err != nil || !report.DuplicatesUnchecked {
		t.Errorf("a slot comes back: %v, unchecked %t", err, report.DuplicatesUnchecked)
	}
}

// Memory follows the keys that are there, not those that are promised, and ends
// at its bound.
func TestDuplicatesMemory(t *testing.T) {
	measure := func(data []byte, size int64) (*rdb.Report, uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		report, err := inspect(data, rdb.InspectOptions{Size: size, Duplicates: true})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		return report, after.TotalAlloc - before.TotalAlloc
	}
	lie := newDump(10).selectDB(0).raw(251).num(1 << 50).num(0)
	for i := range 2000 {
		lie.str(fmt.Sprintf("key:%d", i), "v")
	}
	data := lie.done()
	if _, memory := measure(data, int64(len(data))); memory > 2<<20 {
		t.Errorf("a lie of 2^50 keys takes %d bytes", memory)
	}
	if _, memory := measure(data, 0); memory > 2<<20 {
		t.Errorf("a lie of 2^50 keys takes %d bytes where the size is unknown", memory)
	}
	if testing.Short() {
		return
	}
	for _, c := range []struct {
		keys, announced int
		unchecked       bool
	}{{2_000_000, 2_000_000, false}, {2_000_000, 0, false}, {2_200_000, 2_200_000, true}} {
		b := newDump(10).selectDB(0)
		if c.announced > 0 {
			b.raw(251).num(uint64(c.announced)).num(0)
		}
		for i := range c.keys {
			b.str(fmt.Sprintf("key:%d", i), "v")
		}
		data = b.done()
		report, memory := measure(data, int64(len(data)))
		if report.DuplicatesUnchecked != c.unchecked || memory > 25<<20 {
			t.Errorf("%d keys, %d announced: unchecked %t, %d bytes allocated", c.keys, c.announced, report.DuplicatesUnchecked, memory)
		}
	}
}

const resizeNote = "resize-db at byte 11: database 0 is announced with 2 keys, 0 of them expiring, and has 1, 0 of them expiring"

// A database announced with other numbers than it has is told of, no more.
func TestNotes(t *testing.T) {
	exact := newDump(10).selectDB(0).raw(251).num(1).num(0).str("a", "1").selectDB(3).raw(251).num(1).num(1).raw(252).u64(5).str("a", "1")
	report, err := inspect(exact.done(), rdb.InspectOptions{})
	if err != nil || len(report.Notes) != 0 {
		t.Errorf("%v, %v", err, report.Notes)
	}
	other := newDump(10).selectDB(0).raw(251).num(2).num(0).str("a", "1").selectDB(3).raw(251).num(1).num(1).str("a", "1")
	report, err = inspect(other.done(), rdb.InspectOptions{})
	if err != nil || len(report.Notes) != 2 || report.Notes[0].Offset != 11 {
		t.Fatalf("%v, %v", err, report.Notes)
	}
	if got := report.Notes[0].String(); got != resizeNote {
		t.Errorf("%s", got)
	}
	if report, err = inspect(fixture(t), rdb.InspectOptions{}); err != nil || len(report.Notes) != 0 {
		t.Errorf("a server's dump: %v, %v", err, report.Notes)
	}
}

// A slot's range holds its key records and nothing else.
func TestSlotRanges(t *testing.T) {
	b := newDump(12).selectDB(0).raw(244).num(15495).num(2).num(1)
	first := int64(len(b.data))
	b.raw(252).u64(5).str("a", "1").str("{a}", "1")
	end := int64(len(b.data))
	b.raw(244).num(3300).num(1).num(0).str("b", "1")
	b.selectDB(1).raw(244).num(3300).num(1).num(0).str("b", "1")
	report, err := inspect(b.done(), rdb.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.SlotRanges[15495]; got != (rdb.SlotRange{First: first, End: end}) {
		t.Errorf("slot 15495 lies at %+v, want %d to %d", got, first, end)
	}
	if got := report.SlotRanges[3300]; got != (rdb.SlotRange{}) || len(report.SlotRanges) != slot.Count {
		t.Errorf("slot 3300, of two databases, lies at %+v", got)
	}
	if report, _ = inspect(b.data[:len(b.data)-12], rdb.InspectOptions{}); report.SlotRanges != nil {
		t.Error("half a dump has ranges")
	}
}

func damageOf(err error) *rdb.Damage {
	var d *rdb.Damage
	errors.As(err, &d)
	return d
}
