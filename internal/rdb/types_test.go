package rdb_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// The types below are written by servers that are not at hand: their layouts
// are those of rdb.c of the version named.

// oldTypes is a dump of RDB 9 with every type up to it.
func oldTypes() *builder {
	b := newDump(9).aux("redis-ver", "6.2.0").aux("lua", "return 1").selectDB(2).raw(251).num(12).num(1)
	b.raw(253, 0, 0, 0, 0x70).str("seconds", "v")
	b.key(1, "list").num(2).text("a", "b")
	b.key(2, "set").num(1).text("a")
	b.key(3, "zset").num(4).text("a").raw(3, '1', '.', '5').text("b").raw(254).text("c").raw(255).text("d").raw(253)
	b.key(4, "hash").num(1).text("f", "v")
	b.key(9, "zipmap").text("\x01\x01f\x01\x00v\xff")
	b.key(14, "quicklist").num(1).text("\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff")
	b.raw(248, 0x40, 0xff).key(5, "zset2").num(1).text("a").double(1.5)
	b.key(15, "stream").num(1).text("0123456789abcdef", "listpack").num(1).num(1).num(1).num(1)
	b.text("group").num(1).num(2).num(1).raw([]byte("0123456789abcdef")...).u64(5).num(1)
	b.num(1).text("consumer").u64(6).num(1).raw([]byte("0123456789abcdef")...)
	b.key(7, "module").num(moduleID("testtype-", 3)).num(1).num(1<<40).num(2).num(3).num(3).raw(0, 0, 0, 0).num(4).double(2).num(5).text("s").num(0)
	return b.raw(247).num(moduleID("auxmodule", 1)).num(2).num(1).num(5).text("data").num(0)
}

// newTypes is a dump of RDB 15 with what came after Redis 7.0.
func newTypes() *builder {
	b := newDump(15).aux("redis-ver", "8.10.0")
	b.raw(242).num(0).num(2).text("f1", "f2").raw(242).num(9).num(1).text("g")
	b.selectDB(0).raw(251).num(9).num(1)
	b.key(20, "set").text("listpack")
	b.key(22, "hash-rc").num(1).num(0).text("f", "v")
	b.key(23, "hash-ex-rc").text("listpack")
	b.key(24, "hash-meta").u64(1000).num(2).num(0).text("f", "v").num(1).text("g", "w")
	b.key(25, "hash-ex").u64(1000).text("listpack")
	for i, name := range []string{"stream3", "stream4", "stream5"} {
		b.key([]byte{21, 26, 27}[i], name).num(1).text("0123456789abcdef", "listpack")
		for n := range 8 {
			b.num(uint64(n))
		}
		b.num(1).text("group").num(1).num(2).num(1<<64 - 1).num(1).raw([]byte("0123456789abcdef")...).u64(5).num(1)
		b.num(1).text("consumer").u64(6).u64(7).num(1).raw([]byte("0123456789abcdef")...)
		if i > 1 {
			b.num(1).raw([]byte("0123456789abcdef")...)
		}
		if i > 0 {
			b.num(100).num(10).num(1).text("producer").num(1).text("id").num(1).num(2).num(3).num(4)
		}
	}
	b.raw(252).u64(4102444800000).raw(243).num(2).raw('A', 'B', 'C', 'D').num(2).num(5).num(0).raw('E', 'F', 'G', 'H').num(5).text("x").num(0).str("meta", "v")
	b.key(28, "array").num(4).num(1).num(77).num(0).num(0).text("s").num(1).num(1).u64(5).num(1 << 40).num(2).double(1.5).num(1<<40 + 1).num(3).text("small")
	b.key(30, "template-lp").text("listpack")
	return b.key(32, "template-array").num(0).text("v1", "v2")
}

// valkeyTypes is a dump of Valkey 9, whose numbers 22, 243 and 244 are its own.
func valkeyTypes() *builder {
	b := newValkeyDump(80).aux("valkey-ver", "9.0.0")
	b.raw(243).text(strings.Repeat("j", 40)).num(2).num(1).num(3).num(16383).num(16383)
	b.selectDB(0).raw(251).num(1).num(0).aux("slot-info", "15495,1,0,1")
	b.key(22, "a").num(2).text("f", "v").u64(1<<64-1).text("g", "w").u64(4102444800000)
	return b.raw(244).num(3300).num(1).num(0).str("b", "1")
}

// moduleID packs a module type's name as module.c does.
func moduleID(name string, version uint64) uint64 {
	const charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var id uint64
	for _, c := range []byte(name) {
		id = id<<6 | uint64(strings.IndexByte(charset, c))
	}
	return id<<10 | version
}

func TestOldTypes(t *testing.T) {
	report, err := inspect(oldTypes().done(), rdb.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"string": 1, "list": 2, "set": 1, "zset": 2, "hash": 2, "stream": 1, "module": 1}
	if !maps.Equal(report.Types, want) || report.MaxDB != 2 || report.Expiring != 1 {
		t.Errorf("%v, highest database %d, %d expiring", report.Types, report.MaxDB, report.Expiring)
	}
	if !slices.Equal(report.Modules, []string{"auxmodule", "testtype-"}) {
		t.Errorf("modules %q", report.Modules)
	}
}

func TestNewTypes(t *testing.T) {
	report, err := inspect(newTypes().done(), rdb.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"string": 1, "set": 1, "hash": 6, "stream": 3, "array": 1}
	if !maps.Equal(report.Types, want) {
		t.Errorf("%v", report.Types)
	}
}

func TestValkeyTypes(t *testing.T) {
	report, err := inspect(valkeyTypes().done(), rdb.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Engine != "valkey" || report.Version != 80 || report.Keys != 2 || report.Imports.String() != "1-3,16383" {
		t.Errorf("%v, %d keys, imports %s", report.Header, report.Keys, report.Imports)
	}
}

// The oldest versions end without a checksum: they can be read, not verified.
func TestVersionsWithoutFooter(t *testing.T) {
	for version := 1; version <= 4; version++ {
		report, err := inspect(newDump(version).selectDB(0).str("a", "b").done(), rdb.InspectOptions{})
		if err != nil || !report.ChecksumDisabled || report.Keys != 1 {
			t.Errorf("version %d: %v, disabled %t", version, err, report.ChecksumDisabled)
		}
	}
}

// A slot's announcement is held against its keys, database by database.
func TestSlotSections(t *testing.T) {
	b := newDump(12).selectDB(0).raw(244).num(15495).num(2).num(1).str("a", "1").raw(252).u64(5).str("{a}", "1")
	b.raw(244).num(3300).num(1).num(0).str("b", "1")
	b.selectDB(1).raw(244).num(15495).num(1).num(0).str("a", "1")
	report, err := inspect(b.done(), rdb.InspectOptions{})
	if err != nil || report.Slots[15495] != (rdb.SlotCount{Keys: 3, Expiring: 1}) {
		t.Errorf("%v, %+v", err, report.Slots[15495])
	}
}
