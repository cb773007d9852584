package rdb_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// envelopeDamage is what is wrong around the values, and with their lengths.
func envelopeDamage() []damageGroup {
	only7 := slot.SetOf(slot.Range{First: 7, Last: 7})
	const huge = 1 << 50
	return []damageGroup{
		{check: "magic", rows: []damageRow{
			{"other file", []byte("PK\x03\x04 something else"), "magic at byte 0: \"PK\\x03\\x04 some\" begins no dump"},
			{"compressed by Valkey", []byte("VKCS\x01\x01\x00\x00..."), "magic at byte 0: a dump inside Valkey's compressed envelope (VKCS) cannot be read: save it with rdb compression of the stream off"},
			{"no version", []byte("REDIS00x1\xff"), `magic at byte 0: "REDIS00x1" carries no version`},
		}},
		{check: "version", rows: []damageRow{
			{"version 0", newDump(0).done(), "version at byte 0: redis format version 0 is unknown: 1 to 15 can be read"},
			{"newer Redis", newDump(16).done(), "version at byte 0: redis format version 16 is unknown: 1 to 15 can be read"},
			{"older Valkey", newValkeyDump(79).done(), "version at byte 0: valkey format version 79 is unknown: 80 to 81 can be read"},
			{"newer Valkey", newValkeyDump(82).done(), "version at byte 0: valkey format version 82 is unknown: 80 to 81 can be read"},
		}},
		{check: "end", rows: []damageRow{
			{"empty file", nil, "truncated at byte 0: the dump ends here, before its footer"},
			{"no end", newDump(10).str("a", "b").data, "truncated at byte 14: the dump ends here, before its footer"},
			{"no footer", newDump(10).raw(255).data, "truncated at byte 10: the dump ends here, before its footer"},
			{"half a footer", newDump(10).raw(255, 1, 2, 3).data, "truncated at byte 13: the dump ends here, before its footer"},
		}},
		{check: "length", rows: []damageRow{
			{"no such length", newDump(10).key(0, "a").raw(0x82).unsealed(), "length at byte 12: byte 0x82 begins no length"},
			{"no such encoding", newDump(10).key(0, "a").raw(0xc4).unsealed(), "length at byte 12: byte 0xc4 begins no length"},
			{"encoding for a number", newDump(10).key(1, "a").raw(0xc0, 1).unsealed(), "length at byte 12: a string's encoding stands where a number is expected"},
			{"key too long", newDump(10).raw(0).num(huge).unsealed(), "length at byte 10: a string of 1125899906842624 bytes stands where at most 536870912 are allowed"},
			{"aux name too long", newDump(10).raw(250).num(huge).unsealed(), "length at byte 10: a string of 1125899906842624 bytes stands where at most 1024 are allowed"},
			{"compressed aux name too long", newDump(10).raw(250, 0xc3).num(20).num(1500).raw(make([]byte, 20)...).unsealed(), "length at byte 11: a string of 1500 bytes stands where at most 1024 are allowed"},
		}},
		{check: "length against the dump's size", sized: true, rows: []damageRow{
			{"key beyond the end", newDump(10).raw(0).num(5000).raw('a', 'b').unsealed(), "truncated at byte 12: 5000 bytes are announced here and at most 11 can follow"},
			{"value beyond the end", newDump(10).key(0, "a").num(1<<40).raw('a', 'b').unsealed(), "truncated at byte 21: 1099511627776 bytes are announced here and at most 11 can follow"},
			{"compressed value beyond the end", newDump(10).key(0, "a").raw(0xc3).num(5000).num(6000).unsealed(), "truncated at byte 17: 5000 bytes are announced here and at most 9 can follow"},
			{"more items than bytes", newDump(10).key(1, "a").num(40).text("x", "y").unsealed(), "truncated at byte 12: 40 items are announced here and at most 13 bytes can follow"},
			{"more scored members than bytes", newDump(10).key(5, "a").num(4).text("x").double(1).unsealed(), "truncated at byte 12: 4 items are announced here and at most 19 bytes can follow"},
			{"module's text beyond the end", newDump(9).key(7, "a").num(1).num(5).num(5000).unsealed(), "truncated at byte 16: 5000 bytes are announced here and at most 9 can follow"},
		}},
		{check: "length against the dump's size", missing: 3, rows: []damageRow{
			{"source ends in a record", newDump(10).str("a", "b").data, "truncated at byte 14: the dump ends here, 3 bytes before its announced size"},
			{"source ends at the footer", newDump(10).str("a", "b").done(), "truncated at byte 23: the dump ends here, 3 bytes before its announced size"},
		}},
		{check: "length without the dump's size", unsized: true, rows: []damageRow{
			{"more items than any dump has bytes", newDump(10).key(1, "a").num(1 << 63).unsealed(), "truncated at byte 12: 9223372036854775808 items are announced here and at most 9223372036854775807 bytes can follow"},
		}},
		{check: "type", rows: []damageRow{
			{"type never assigned", newDump(10).key(8, "a").unsealed(), "type at byte 9: value type 8 is unknown in redis format version 10"},
			{"type of a later version", newDump(9).key(16, "a").unsealed(), "type at byte 9: value type 16 is unknown in redis format version 9"},
			{"type of the other engine", newValkeyDump(80).key(24, "a").unsealed(), "type at byte 9: value type 24 is unknown in valkey format version 80"},
			{"module of a release candidate", newDump(8).key(6, "a").unsealed(), "type at byte 9: value type 6 is a module value of the Redis 4.0 release candidates, which does not tell its own length"},
			{"rate limiter", newDump(15).key(33, "a").unsealed(), "type at byte 9: value type 33 is an experimental rate limiter, whose layout is not settled"},
			{"template of a payload", newDump(15).key(29, "a").unsealed(), "type at byte 9: value type 29 is a self-contained hash template, which belongs in a DUMP payload and not in a dump"},
			{"type 34", newDump(15).key(34, "a").unsealed(), "type at byte 9: value type 34 is unknown in redis format version 15"},
			{"opcode below all", newDump(10).raw(241).unsealed(), "type at byte 9: value type 241 is unknown in redis format version 10"},
		}},
		{check: "opcode", rows: []damageRow{
			{"opcode of a later version", newDump(10).raw(244).unsealed(), "opcode at byte 9: opcode 244 is unknown in redis format version 10"},
			{"function of a release candidate", newDump(10).raw(246).unsealed(), "opcode at byte 9: opcode 246 is a function of the Redis 7.0 release candidates, which no release loads"},
			{"forkless save", newValkeyDump(81).raw(242).unsealed(), "opcode at byte 9: opcode 242 is a command of a forkless save: the keys before it are not yet what the dump stands for"},
			{"expiry before no key", newDump(10).raw(252).u64(1).selectDB(0).unsealed(), "opcode at byte 18: opcode 254 stands where a key is expected: an expiry or another attribute precedes it"},
			{"two expiries", newDump(10).raw(252).u64(1).raw(252).u64(1).str("a", "b").unsealed(), "opcode at byte 18: opcode 252 stands twice before one key"},
			{"two idle times", newDump(10).raw(248, 1, 248, 1).str("a", "b").unsealed(), "opcode at byte 11: opcode 248 stands twice before one key"},
			{"two use counters", newDump(10).raw(249, 1, 249, 1).str("a", "b").unsealed(), "opcode at byte 11: opcode 249 stands twice before one key"},
			{"two sets of metadata", newDump(13).raw(243, 1, 'A', 'B', 'C', 'D', 0, 243, 1, 'A', 'B', 'C', 'D', 0).str("a", "b").unsealed(), "opcode at byte 16: opcode 243 stands twice before one key"},
			{"expiry at the end", newDump(10).raw(253, 1, 0, 0, 0).unsealed(), "opcode at byte 14: opcode 255 stands where a key is expected: an expiry or another attribute precedes it"},
		}},
		{check: "database", rows: []damageRow{
			{"database too high", newDump(10).selectDB(1 << 31).unsealed(), "db at byte 9: there is no database 2147483648"},
		}},
		{check: "LZF", rows: []damageRow{
			{"string in no bytes", newDump(10).raw(0, 0xc3, 0, 5).unsealed(), "lzf at byte 11: 0 compressed bytes cannot hold 5"},
			{"too much in few bytes", newDump(10).raw(0, 0xc3).num(2).num(400).unsealed(), "lzf at byte 11: 2 compressed bytes cannot hold 400"},
			{"too little in many bytes", newDump(10).raw(0, 0xc3).num(100).num(50).unsealed(), "lzf at byte 11: 100 compressed bytes cannot hold 50"},
			{"value in no bytes", newDump(10).key(0, "a").raw(0xc3, 0, 5).unsealed(), "lzf at byte 13: 0 compressed bytes cannot hold 5"},
			{"reference before the start", lzfKey(0x20, 0x05), "lzf at byte 11: a string of 8 bytes compressed to 2: a reference reaches before the first byte"},
			{"run past the end", lzfKey(0x04, 'a'), "lzf at byte 11: a string of 8 bytes compressed to 2: a run or a reference reaches past the compressed bytes"},
			{"too short", lzfKey(0x01, 'a', 'b'), "lzf at byte 11: a string of 8 bytes compressed to 3: it holds fewer bytes than announced"},
			{"too long", lzfKey(0x03, 'a', 'b', 'c', 'd', 0xe0, 1, 0), "lzf at byte 11: a string of 8 bytes compressed to 8: it holds more bytes than announced"},
			{"reference past the end", lzfKey(0x00, 'a', 0xe0), "lzf at byte 11: a string of 8 bytes compressed to 3: a run or a reference reaches past the compressed bytes"},
			{"long reference past the end", lzfKey(0x00, 'a', 0xe0, 1), "lzf at byte 11: a string of 8 bytes compressed to 4: a run or a reference reaches past the compressed bytes"},
			{"run longer than announced", lzfKey(0x00, 'a', 0xa0, 0, 0x00, 'b'), "lzf at byte 11: a string of 8 bytes compressed to 6: it holds more bytes than announced"},
		}},
		{check: "slot range", rows: []damageRow{
			{"slot too high", newDump(12).raw(244).num(16384).num(0).num(0).unsealed(), "slot-range at byte 9: there is no slot 16384"},
			{"slot too high in Valkey", newDump(11).aux("slot-info", "16384,1,0").unsealed(), "slot-range at byte 9: there is no slot 16384"},
			{"range of slots backwards", newValkeyDump(80).raw(243).text("job").num(1).num(5).num(4).unsealed(), "slot-range at byte 15: 5-4 is no range of slots"},
			{"range of slots beyond the last", newValkeyDump(80).raw(243).text("job").num(1).num(5).num(16384).unsealed(), "slot-range at byte 15: 5-16384 is no range of slots"},
		}},
		{check: "slot-info", rows: []damageRow{
			{"fewer keys than announced", newDump(12).raw(244).num(15495).num(2).num(0).str("a", "b").unsealed(), "slot-info at byte 19: slot 15495 was announced with 2 keys, 0 of them expiring, and has 1, 0 of them expiring"},
			{"fewer expiring than announced", newDump(12).raw(244).num(15495).num(1).num(1).str("a", "b").unsealed(), "slot-info at byte 19: slot 15495 was announced with 1 keys, 1 of them expiring, and has 1, 0 of them expiring"},
			{"more keys than announced", newDump(12).raw(244).num(15495).num(0).num(0).str("a", "b").selectDB(1).unsealed(), "slot-info at byte 19: slot 15495 was announced with 0 keys, 0 of them expiring, and has 1, 0 of them expiring"},
			{"key in another slot's section", newDump(12).raw(244).num(7).num(1).num(0).str("a", "b").unsealed(), `slot-info at byte 13: key "a" of slot 15495 stands among the keys of slot 7`},
			{"slot announced twice", newDump(12).raw(244).num(7).num(0).num(0).raw(244).num(7).num(0).num(0).unsealed(), "slot-info at byte 13: slot 7 is announced twice"},
			{"slot-info without numbers", newDump(11).aux("slot-info", "7,x,0").unsealed(), `slot-info at byte 9: "7,x,0" announces no slot`},
			{"slot-info of two numbers", newDump(11).aux("slot-info", "7,0").unsealed(), `slot-info at byte 9: "7,0" announces no slot`},
			{"fewer keys than Valkey announced", newDump(11).aux("slot-info", "15495,2,0").str("a", "b").unsealed(), "slot-info at byte 35: slot 15495 was announced with 2 keys, 0 of them expiring, and has 1, 0 of them expiring"},
			{"fewer keys than announced in the next slot's place", newDump(12).raw(244).num(15495).num(2).num(0).str("a", "b").raw(244).num(7).num(0).num(0).unsealed(), "slot-info at byte 19: slot 15495 was announced with 2 keys, 0 of them expiring, and has 1, 0 of them expiring"},
		}},
		{check: "keys in their slots", o: rdb.InspectOptions{Owned: &only7}, rows: []damageRow{
			{"key of a foreign slot", newDump(10).str("a", "b").done(), `slot-owner at byte 9: key "a" belongs to slot 15495, which its shard does not own`},
		}},
		{check: "quicklist", rows: []damageRow{
			{"unknown list node", newDump(10).key(18, "a").num(1).num(3).text("").unsealed(), "value at byte 13: a list's node has the unknown container 3"},
		}},
		{check: "array", rows: []damageRow{
			{"unknown array tag", newDump(14).key(28, "a").num(1).num(0).num(0).num(4).unsealed(), "value at byte 15: an array's element has the unknown tag 4"},
			{"unknown array flag", newDump(14).key(28, "a").num(1).num(2).raw(0, 0).unsealed(), "value at byte 13: an array's insert flag is 2"},
		}},
		{check: "template", rows: []damageRow{
			{"template not defined", newDump(15).key(32, "a").num(5).unsealed(), "value at byte 12: hash template 5 was not defined before"},
			{"template without fields", newDump(15).raw(242).num(1).num(0).unsealed(), "value at byte 9: hash template 1 with 0 fields: its id must be new and its fields at least one"},
			{"template defined twice", newDump(15).raw(242, 1, 1).text("f").raw(242, 1, 1).text("f").unsealed(), "value at byte 14: hash template 1 with 1 fields: its id must be new and its fields at least one"},
		}},
		{check: "module", rows: []damageRow{
			{"unknown code in a module's value", newDump(9).key(7, "a").num(1).num(6).unsealed(), "module at byte 13: a module's value holds the unknown code 6"},
			{"module data without position", newDump(9).raw(247).num(1).num(5).unsealed(), "module at byte 11: a module's data begins with code 5 instead of its position"},
			{"metadata of too many classes", newDump(13).raw(243).num(8).unsealed(), "module at byte 10: a key carries metadata of 8 classes"},
			{"metadata of no class", newDump(13).raw(243).num(0).unsealed(), "module at byte 10: a key carries metadata of 0 classes"},
			{"unknown code in a module's data", newDump(9).raw(247).num(1).num(2).num(1).num(6).unsealed(), "module at byte 13: a module's value holds the unknown code 6"},
			{"unknown code in a key's metadata", newDump(13).raw(243, 1, 'A', 'B', 'C', 'D', 6).unsealed(), "module at byte 15: a module's value holds the unknown code 6"},
		}},
		{check: "CRC64", rows: []damageRow{
			{"other checksum", flip(newDump(10).str("a", "b").done(), 13), "crc64 at byte 15: the file says 65cca2c70ea9ef4f, its bytes give ec253d3a7d143026"},
		}},
		{check: "nothing after the footer", rows: []damageRow{
			{"byte after the footer", append(newDump(10).done(), 0), "trailing at byte 18: bytes follow the footer"},
			{"footer in a version without", append(newDump(3).done(), 0), "trailing at byte 10: bytes follow the footer"},
			{"another dump after the footer", append(newDump(10).done(), newDump(10).done()...), "trailing at byte 18: bytes follow the footer"},
		}},
		{check: "duplicate keys", o: rdb.InspectOptions{Duplicates: true}, rows: []damageRow{
			{"name twice", newDump(10).str("a", "1").str("b", "2").str("a", "3").unsealed(), `duplicate at byte 19: key "a" stands in database 0 for the second time`},
			{"name twice in database 3", newDump(10).str("a", "1").selectDB(3).str("a", "2").str("a", "3").unsealed(), `duplicate at byte 21: key "a" stands in database 3 for the second time`},
		}},
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

// No type believes a count or a length, however deeply it is read.
func TestLyingCountsOfEveryType(t *testing.T) {
	for _, v := range values() {
		for cut := range len(v.body) {
			for _, lie := range []uint64{1 << 20, 1 << 32, 1 << 50, 1<<64 - 1} {
				body := new(builder).raw(v.body[:cut]...).num(lie).raw(v.body[cut:]...).data
				data := newestFor(v.valkey).key(v.typ, "k").raw(body...).unsealed()
				readDump(t, data, rdb.Options{Digest: true})
				readDump(t, data, rdb.Options{Deep: true, Size: int64(len(data))})
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
