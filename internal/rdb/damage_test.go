package rdb_test

import (
	"bytes"
	"context"

	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// Each damage is caused once and found once, at its offset.
func TestDamage(t *testing.T) {
	only7 := slot.SetOf(slot.Range{First: 7, Last: 7})
	const huge = 1 << 50
	cases := []struct {
		name   string
		data   []byte
		code   string
		offset int64 // -1: not checked
		detail string
		owned  *slot.Set
	}{
		{name: "empty file", data: nil, code: rdb.CodeTruncated, offset: 0},
		{name: "other file", data: []byte("PK\x03\x04 something else"), code: rdb.CodeMagic},
		{name: "compressed by Valkey", data: []byte("VKCS\x01\x01\x00\x00..."), code: rdb.CodeMagic, detail: "envelope"},
		{name: "no version", data: []byte("REDIS00x1\xff"), code: rdb.CodeMagic},
		{name: "version 0", data: newDump(0).done(), code: rdb.CodeVersion},
		{name: "newer Redis", data: newDump(16).done(), code: rdb.CodeVersion, detail: "1 to 15"},
		{name: "older Valkey", data: newValkeyDump(79).done(), code: rdb.CodeVersion},
		{name: "newer Valkey", data: newValkeyDump(82).done(), code: rdb.CodeVersion, detail: "80 to 81"},
		{name: "no end", data: newDump(10).str("a", "b").data, code: rdb.CodeTruncated, offset: 14},
		{name: "no footer", data: newDump(10).raw(255).data, code: rdb.CodeTruncated, offset: 10},
		{name: "half a footer", data: newDump(10).raw(255, 1, 2, 3).data, code: rdb.CodeTruncated, offset: 13},
		{name: "byte after the footer", data: append(newDump(10).done(), 0), code: rdb.CodeTrailing, offset: 18},
		{name: "footer in a version without", data: append(newDump(3).done(), 0), code: rdb.CodeTrailing, offset: 10},
		{name: "other checksum", data: flip(newDump(10).str("a", "b").done(), 13), code: rdb.CodeCRC64, offset: 15, detail: "the file says"},
		{name: "no such length", data: newDump(10).key(0, "a").raw(0x82).unsealed(), code: rdb.CodeLength, offset: 12},
		{name: "no such encoding", data: newDump(10).key(0, "a").raw(0xc4).unsealed(), code: rdb.CodeLength, offset: 12},
		{name: "encoding for a number", data: newDump(10).key(1, "a").raw(0xc0, 1).unsealed(), code: rdb.CodeLength, offset: 12},
		{name: "key too long", data: newDump(10).raw(0).num(huge).unsealed(), code: rdb.CodeLength, offset: 10},
		{name: "aux name too long", data: newDump(10).raw(250).num(huge).unsealed(), code: rdb.CodeLength, offset: 10},
		{name: "type never assigned", data: newDump(10).key(8, "a").unsealed(), code: rdb.CodeType, offset: 9},
		{name: "type of a later version", data: newDump(9).key(16, "a").unsealed(), code: rdb.CodeType, offset: 9},
		{name: "type of the other engine", data: newValkeyDump(80).key(24, "a").unsealed(), code: rdb.CodeType, offset: 9},
		{name: "module of a release candidate", data: newDump(8).key(6, "a").unsealed(), code: rdb.CodeType, detail: "4.0"},
		{name: "rate limiter", data: newDump(15).key(33, "a").unsealed(), code: rdb.CodeType, detail: "rate limiter"},
		{name: "template of a payload", data: newDump(15).key(29, "a").unsealed(), code: rdb.CodeType, detail: "DUMP payload"},
		{name: "type 34", data: newDump(15).key(34, "a").unsealed(), code: rdb.CodeType, detail: "unknown"},
		{name: "opcode below all", data: newDump(10).raw(241).unsealed(), code: rdb.CodeType, offset: 9},
		{name: "opcode of a later version", data: newDump(10).raw(244).unsealed(), code: rdb.CodeOpcode, offset: 9},
		{name: "function of a release candidate", data: newDump(10).raw(246).unsealed(), code: rdb.CodeOpcode, detail: "7.0"},
		{name: "forkless save", data: newValkeyDump(81).raw(242).unsealed(), code: rdb.CodeOpcode, detail: "forkless"},
		{name: "expiry before no key", data: newDump(10).raw(252).u64(1).selectDB(0).unsealed(), code: rdb.CodeOpcode, offset: 18},
		{name: "two expiries", data: newDump(10).raw(252).u64(1).raw(252).u64(1).str("a", "b").unsealed(), code: rdb.CodeOpcode, offset: 18},
		{name: "two idle times", data: newDump(10).raw(248, 1, 248, 1).str("a", "b").unsealed(), code: rdb.CodeOpcode, offset: 11},
		{name: "database too high", data: newDump(10).selectDB(1 << 31).unsealed(), code: rdb.CodeDB, offset: 9},
		{name: "string in no bytes", data: newDump(10).raw(0, 0xc3, 0, 5).unsealed(), code: rdb.CodeLZF, offset: 11},
		{name: "too much in few bytes", data: newDump(10).raw(0, 0xc3).num(2).num(400).unsealed(), code: rdb.CodeLZF, offset: 11},
		{name: "too little in many bytes", data: newDump(10).raw(0, 0xc3).num(100).num(50).unsealed(), code: rdb.CodeLZF, offset: 11},
		{name: "value in no bytes", data: newDump(10).key(0, "a").raw(0xc3, 0, 5).unsealed(), code: rdb.CodeLZF, offset: 13},
		{name: "reference before the start", data: lzfKey(0x20, 0x05), code: rdb.CodeLZF, detail: "before the first byte"},
		{name: "run past the end", data: lzfKey(0x04, 'a'), code: rdb.CodeLZF, detail: "past the compressed bytes"},
		{name: "too short", data: lzfKey(0x01, 'a', 'b'), code: rdb.CodeLZF, detail: "fewer bytes"},
		{name: "too long", data: lzfKey(0x03, 'a', 'b', 'c', 'd', 0xe0, 1, 0), code: rdb.CodeLZF, detail: "more bytes"},
		{name: "slot too high", data: newDump(12).raw(244).num(16384).num(0).num(0).unsealed(), code: rdb.CodeSlotRange, offset: 9},
		{name: "slot too high in Valkey", data: newDump(11).aux("slot-info", "16384,1,0").unsealed(), code: rdb.CodeSlotRange, offset: 9},
		{name: "range of slots backwards", data: newValkeyDump(80).raw(243).text("job").num(1).num(5).num(4).unsealed(), code: rdb.CodeSlotRange},
		{name: "key of a foreign slot", data: newDump(10).str("a", "b").done(), code: rdb.CodeSlotOwner, offset: 9, owned: &only7},
		{name: "fewer keys than announced", data: newDump(12).raw(244).num(15495).num(2).num(0).str("a", "b").unsealed(), code: rdb.CodeSlotInfo, offset: 19},
		{name: "fewer expiring than announced", data: newDump(12).raw(244).num(15495).num(1).num(1).str("a", "b").unsealed(), code: rdb.CodeSlotInfo},
		{name: "more keys than announced", data: newDump(12).raw(244).num(15495).num(0).num(0).str("a", "b").selectDB(1).unsealed(), code: rdb.CodeSlotInfo},
		{name: "key in another slot's section", data: newDump(12).raw(244).num(7).num(1).num(0).str("a", "b").unsealed(), code: rdb.CodeSlotInfo, detail: `"a" of slot 15495`},
		{name: "slot announced twice", data: newDump(12).raw(244).num(7).num(0).num(0).raw(244).num(7).num(0).num(0).unsealed(), code: rdb.CodeSlotInfo, detail: "twice"},
		{name: "slot-info without numbers", data: newDump(11).aux("slot-info", "7,x,0").unsealed(), code: rdb.CodeSlotInfo},
		{name: "unknown list node", data: newDump(10).key(18, "a").num(1).num(3).text("").unsealed(), code: rdb.CodeValue},
		{name: "unknown array tag", data: newDump(14).key(28, "a").num(1).num(0).num(0).num(4).unsealed(), code: rdb.CodeValue},
		{name: "unknown array flag", data: newDump(14).key(28, "a").num(1).num(2).raw(0, 0).unsealed(), code: rdb.CodeValue},
		{name: "template not defined", data: newDump(15).key(32, "a").num(5).unsealed(), code: rdb.CodeValue, detail: "template 5"},
		{name: "template without fields", data: newDump(15).raw(242).num(1).num(0).unsealed(), code: rdb.CodeValue},
		{name: "template defined twice", data: newDump(15).raw(242, 1, 1).text("f").raw(242, 1, 1).text("f").unsealed(), code: rdb.CodeValue},
		{name: "unknown code in a module's value", data: newDump(9).key(7, "a").num(1).num(6).unsealed(), code: rdb.CodeModule},
		{name: "module data without position", data: newDump(9).raw(247).num(1).num(5).unsealed(), code: rdb.CodeModule},
		{name: "metadata of too many classes", data: newDump(13).raw(243).num(8).unsealed(), code: rdb.CodeModule},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int64{0, int64(len(c.data))} {
				report, err := inspect(c.data, rdb.InspectOptions{Size: size, Owned: c.owned})
				if got := code(err); got != c.code {
					// With a known size what cannot fit is found before anything else.
					if size == 0 || got != rdb.CodeTruncated {
						t.Fatalf("size %d: found %v, want %s", size, err, c.code)
					}
				}
				if !strings.Contains(err.Error(), c.detail) {
					t.Errorf("size %d: %v does not say %q", size, err, c.detail)
				}
				if c.offset > 0 && !strings.Contains(err.Error(), c.code+" at byte ") {
					t.Errorf("size %d: %v", size, err)
				}
				if c.offset > 0 && size == 0 && offset(err) != c.offset {
					t.Errorf("%v, want it at byte %d", err, c.offset)
				}
				if report == nil {
					t.Error("no report")
				}
			}
		})
	}
}

// lzfKey is a dump whose key is the given LZF bytes, said to hold eight.
func lzfKey(packed ...byte) []byte {
	return newDump(10).raw(0, 0xc3).num(uint64(len(packed))).num(8).raw(packed...).text("value").unsealed()
}

func flip(data []byte, at int) []byte {
	data[at] ^= 1
	return data
}

func offset(err error) int64 {
	for err != nil {
		if d, ok := err.(*rdb.Damage); ok {
			return d.Offset
		}
		err = err.(interface{ Unwrap() error }).Unwrap()
	}
	return -1
}

// A lying length is found without waiting for, or allocating, what it claims.
func TestLyingLengths(t *testing.T) {
	for _, name := range []string{"key", "value", "items", "lzf key", "aux"} {
		const lie = 400 << 20
		var b *builder
		switch name {
		case "key":
			b = newDump(10).raw(0).num(lie).raw([]byte("short")...)
		case "value":
			b = newDump(10).key(0, "a").num(lie).raw([]byte("short")...)
		case "items":
			b = newDump(10).key(1, "a").num(1 << 60).raw([]byte("short")...)
		case "lzf key":
			b = newDump(10).raw(0, 0xc3).num(lie / 80).num(lie).raw([]byte("short")...)
		case "aux":
			b = newDump(10).raw(250).text("n").num(lie).raw([]byte("short")...)
		}
		for _, size := range []int64{0, int64(len(b.data))} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := inspect(b.data, rdb.InspectOptions{Size: size})
			runtime.ReadMemStats(&after)
			memory := after.TotalAlloc - before.TotalAlloc
			if code(err) != rdb.CodeTruncated {
				t.Errorf("%s, size %d: %v", name, size, err)
			}
			if memory > 2<<20 {
				t.Errorf("%s, size %d: %d bytes allocated", name, size, memory)
			}
		}
	}
}

// A dump cut anywhere is damaged, whether its size is known, and whichever.
func TestEveryPrefixIsTruncated(t *testing.T) {
	for name, data := range map[string][]byte{"small": smallFixture(t), "new": newTypes().done()} {
		for n := range len(data) {
			for _, size := range []int64{0, int64(n), int64(len(data))} {
				_, err := inspect(data[:n], rdb.InspectOptions{Size: size})
				if code(err) != rdb.CodeTruncated {
					t.Fatalf("%s: %d of %d bytes, size %d: %v", name, n, len(data), size, err)
				}
			}
		}
	}
	data := fixture(t)
	for n := 0; n < len(data); n += 1 + len(data)/500 {
		if _, err := inspect(data[:n], rdb.InspectOptions{}); code(err) != rdb.CodeTruncated {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
	}
}

func TestEveryFlippedBitIsDamage(t *testing.T) {
	data := bytes.Clone(smallFixture(t))
	for at := range data {
		for bit := range 8 {
			data[at] ^= 1 << bit
			for _, size := range []int64{0, int64(len(data))} {
				if _, err := inspect(data, rdb.InspectOptions{Size: size}); code(err) == "" {
					t.Fatalf("bit %d of byte %d flipped, size %d: %v", bit, at, size, err)
				}
			}
			data[at] ^= 1 << bit
		}
	}
	if _, err := inspect(data, rdb.InspectOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A byte more or less than announced is damage too.
func TestSizeDiffers(t *testing.T) {
	data := smallFixture(t)
	if _, err := inspect(data, rdb.InspectOptions{Size: int64(len(data)) + 1}); code(err) != rdb.CodeTruncated {
		t.Errorf("one byte less than announced gives %v", err)
	}
	if _, err := inspect(data, rdb.InspectOptions{Size: int64(len(data)) - 1}); err == nil {
		t.Error("one byte more than announced is not seen")
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(smallFixture(f))
	f.Add(newTypes().done())
	f.Add(valkeyTypes().done())
	f.Add(oldTypes().done())
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := inspect(data, rdb.InspectOptions{Size: int64(len(data))})
		streamed, errStreamed := rdb.Inspect(context.Background(), iotest.HalfReader(bytes.NewReader(data)), rdb.InspectOptions{})
		if err != nil && code(err) == "" || errStreamed != nil && code(errStreamed) == "" {
			t.Fatalf("neither dump nor damage: %v, %v", err, errStreamed)
		}
		if (err == nil) != (errStreamed == nil) {
			t.Fatalf("the size decides: %v, %v", err, errStreamed)
		}
		if err == nil && (report.Keys != streamed.Keys || report.CRC64 != streamed.CRC64 || report.Bytes != int64(len(data))) {
			t.Fatalf("other reports: %+v, %+v", report, streamed)
		}
	})
}
