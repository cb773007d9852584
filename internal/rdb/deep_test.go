package rdb_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

const (
	id1 = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"
	id2 = "\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01"
)

// streamOf is a stream (RDB 9) of one entry per node, with one group per name,
// each with the given pending entries and consumers.
func streamOf(nodes []string, groups []string, pending []string, consumers map[string][]string) []byte {
	b := newDump(9).key(15, "k").num(uint64(len(nodes)))
	for _, id := range nodes {
		b.text(id, listpackOf("1", "0", "1", "f", "0", "2", "0", "0", "v", "4"))
	}
	b.num(uint64(len(nodes))).num(2).num(1).num(uint64(len(groups)))
	for _, group := range groups {
		b.text(group).num(1).num(1).num(uint64(len(pending)))
		for _, id := range pending {
			b.raw([]byte(id)...).u64(5).num(1)
		}
		b.num(uint64(len(consumers)))
		for consumer, ids := range consumers {
			b.text(consumer).u64(5).num(uint64(len(ids)))
			for _, id := range ids {
				b.raw([]byte(id)...)
			}
		}
	}
	return b.unsealed()
}

// streamNodeOf is a stream (RDB 9) of one node, packed as given.
func streamNodeOf(elements ...string) []byte {
	return newDump(9).key(15, "k").num(1).text(id1, listpackOf(elements...)).num(1).num(0).num(1).num(0).unsealed()
}

// largeLZF is a string compressed into references as long as they come, and what
// is given behind them. A string above 256 KiB is unpacked piece by piece.
func largeLZF(size uint64, tail ...byte) []byte {
	body := []byte{0, 'a'}
	for range 1136 {
		body = append(body, 0xe0, 0xff, 0) // 264 bytes each
	}
	body = append(body, tail...)
	return newDump(9).key(0, "k").raw(0xc3).num(uint64(len(body))).num(size).raw(body...).unsealed()
}

// deepDamage is what the server looks for under sanitize-dump-payload.
func deepDamage() []damageGroup {
	one := []string{id1}
	held := map[string][]string{"c": one}
	hash := func(version int, typ byte) *builder { return newDump(version).key(typ, "k") }
	return []damageGroup{
		{check: "sound", deep: true, rows: []damageRow{
			{"sound stream", streamOf([]string{id1, id2}, []string{"g", "h"}, one, held), ""},
			{"value as its field", hash(10, 16).text(listpackOf("f", "f", "g", "f")).unsealed(), ""},
			{"expiring fields", hash(12, 25).u64(5).text(listpackOf("f", "v", "5", "g", "w", "5", "h", "x", "0", "i", "y", "0")).unsealed(), ""},
			{"empty stream", newDump(9).key(15, "k").num(0).num(0).num(0).num(0).num(0).unsealed(), ""},
			{"nodes out of order", streamOf([]string{id2, id1}, nil, nil, nil), ""},
		}},
		{check: "empty value", deep: true, rows: []damageRow{
			{"no list", hash(9, 1).num(0).unsealed(), `value at byte 12: the list "k" is empty`},
			{"no list in nodes", hash(10, 18).num(1).num(2).text(listpackOf()).unsealed(), `value at byte 12: the list "k" is empty`},
			{"no set", hash(9, 2).num(0).unsealed(), `value at byte 12: the set "k" is empty`},
			{"no intset", hash(9, 11).text("\x02\x00\x00\x00\x00\x00\x00\x00").unsealed(), `value at byte 12: the set "k" is empty`},
			{"no sorted set", hash(9, 12).text(ziplistOf()).unsealed(), `value at byte 12: the zset "k" is empty`},
			{"no hash", hash(10, 16).text(listpackOf()).unsealed(), `value at byte 12: the hash "k" is empty`},
		}},
		{check: "duplicate members", deep: true, rows: []damageRow{
			{"member twice", hash(9, 2).num(3).text("a", "b", "a").unsealed(), `duplicate at byte 17: member "a" is in its value for the second time`},
			{"number twice, as text and encoded", hash(9, 2).num(2).raw(0xc0, 7).text("7").unsealed(), `duplicate at byte 15: member "7" is in its value for the second time`},
			{"packed member twice", hash(11, 20).text(listpackOf("12", "b", "12")).unsealed(), `duplicate at byte 12: member "12" is in its value for the second time`},
			{"long member twice", hash(9, 2).num(2).text(strings.Repeat("x", 9000), strings.Repeat("x", 9000)).unsealed(), "duplicate at byte 9015: a long member is in its value for the second time"},
			{"scored member twice", hash(9, 5).num(2).text("a").double(1).text("a").double(2).unsealed(), `duplicate at byte 23: member "a" is in its value for the second time`},
			{"packed scored member twice", hash(9, 12).text(ziplistOf("a", "1", "a", "2")).unsealed(), `duplicate at byte 12: member "a" is in its value for the second time`},
			{"field twice", hash(9, 4).num(2).text("f", "v", "f", "w").unsealed(), `duplicate at byte 17: member "f" is in its value for the second time`},
			{"field of a zipmap twice", hash(9, 9).text("\x02\x01f\x01\x00v\x01f\x01\x00w\xff").unsealed(), `duplicate at byte 12: member "f" is in its value for the second time`},
			{"field of a ziplist twice", hash(9, 13).text(ziplistOf("f", "v", "f", "w")).unsealed(), `duplicate at byte 12: member "f" is in its value for the second time`},
			{"field of a listpack twice", hash(10, 16).text(listpackOf("f", "v", "f", "w")).unsealed(), `duplicate at byte 12: member "f" is in its value for the second time`},
			{"expiring field twice", hash(12, 25).u64(5).text(listpackOf("f", "v", "5", "f", "w", "6")).unsealed(), `duplicate at byte 20: member "f" is in its value for the second time`},
			{"Valkey's field twice", newValkeyDump(80).key(22, "k").num(2).text("f", "v").u64(5).text("f", "v").u64(5).unsealed(), `duplicate at byte 25: member "f" is in its value for the second time`},
			{"template's field twice", newDump(15).raw(242, 7, 2).text("a", "a").unsealed(), `duplicate at byte 14: member "a" is in its value for the second time`},
			{"node twice", streamOf([]string{id1, id1}, nil, nil, nil), "duplicate at byte 60: member \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\" is in its value for the second time"},
			{"group twice", streamOf([]string{id1}, []string{"g", "g"}, one, held), `duplicate at byte 122: member "g" is in its value for the second time`},
			{"consumer twice", newDump(9).key(15, "k").num(1).text(id1, listpackOf("1", "0", "1", "f", "0", "2", "0", "0", "v", "4")).num(1).num(2).num(1).num(1).text("g").num(1).num(1).num(0).num(2).text("c").u64(5).num(0).text("c").u64(5).num(0).unsealed(), `duplicate at byte 81: member "c" is in its value for the second time`},
		}},
		{check: "field expiry", deep: true, rows: []damageRow{
			{"expiring fields out of order", hash(12, 25).u64(5).text(listpackOf("f", "v", "6", "g", "w", "5")).unsealed(), "value at byte 20: a field that expires at 5 stands behind one that does at 6"},
			{"expiring field behind one that stays", hash(12, 25).u64(5).text(listpackOf("f", "v", "0", "g", "w", "5")).unsealed(), "value at byte 20: a field that expires at 5 stands behind one that does at 0"},
			{"field that expires too late", hash(12, 25).u64(5).text(listpackOf("f", "v", "281474976710656")).unsealed(), `value at byte 20: "281474976710656" is no field's expiry`},
			{"earliest expiry too late", hash(12, 25).u64(1 << 48).text(listpackOf("f", "v", "5")).unsealed(), "value at byte 12: no field expires at 281474976710656"},
			{"relative expiry too late", hash(12, 24).u64(1<<48-1).num(1).num(2).text("f", "v").unsealed(), "value at byte 21: no field expires at 281474976710656"},
			{"Valkey's expiry before time", newValkeyDump(80).key(22, "k").num(1).text("f", "v").u64(1<<64 - 2).unsealed(), "value at byte 17: no field expires at -2"},
			{"expiring fields without expiry", newDump(12).key(25, "k").u64(0).text(listpackOf("f", "v")).unsealed(), "value at byte 20: a hash's last field has no expiry"},
			{"expiring fields with text", newDump(12).key(25, "k").u64(0).text(listpackOf("f", "v", "x")).unsealed(), `value at byte 20: "x" is no field's expiry`},
			{"expiring fields beyond time", newDump(12).key(24, "k").u64(1<<63).num(1).num(9).text("f", "v").unsealed(), "value at byte 12: no field expires at 9223372036854775808"},
			{"distance from the earliest too great", newDump(12).key(24, "k").u64(5).num(1).num(1<<48+1).text("f", "v").unsealed(), "value at byte 21: a field expires 281474976710656 ms after 5"},
			{"expiry of a release candidate too late", newDump(12).key(22, "k").num(1).num(1<<48).text("f", "v").unsealed(), "value at byte 13: no field expires at 281474976710656"},
			{"packed expiry of a release candidate too late", newDump(12).key(23, "k").text(listpackOf("f", "v", "281474976710656")).unsealed(), `value at byte 12: "281474976710656" is no field's expiry`},
		}},
		{check: "stream", deep: true, rows: []damageRow{
			{"entries without nodes", newDump(9).key(15, "k").num(0).num(1).num(2).num(1).num(0).unsealed(), "value at byte 13: a stream of 0 entries says it has 1"},
			{"entries that are not counted", newDump(10).key(19, "k").num(1).text(id1, listpackOf("1", "0", "1", "f", "0", "2", "1", "0", "v", "4")).num(0).num(1).num(1).num(0).num(0).num(0).num(0).num(1).num(0).unsealed(), "value at byte 60: a stream of 1 entries says it has 0"},
			{"pending entry twice", streamOf([]string{id1}, []string{"g"}, []string{id1, id1}, held), `value at byte 94: pending entries of group "g": an id is not greater than the one before it`},
			{"consumer's pending entry twice", streamOf([]string{id1}, []string{"g"}, one, map[string][]string{"c": {id1, id1}}), `value at byte 95: pending entries of consumer "c": an id is not greater than the one before it`},
			{"pending entry of two consumers", streamOf([]string{id1}, []string{"g"}, one, map[string][]string{"c": one, "d": one}), `value at byte 64: group "g" has other entries pending than its consumers together`},
			{"pending entry of no consumer", streamOf([]string{id1}, []string{"g"}, one, map[string][]string{"c": nil}), `value at byte 64: group "g" has other entries pending than its consumers together`},
			{"pending entry of no group", streamOf([]string{id1}, []string{"g"}, nil, held), `value at byte 64: group "g" has other entries pending than its consumers together`},
			{"stream node of a short id", newDump(9).key(15, "k").num(1).text("abc", listpackOf("a", "b")).num(0).num(0).num(0).num(0).unsealed(), "value at byte 13: a stream's node begins with an id of 3 bytes"},
			{"stream without master's end", streamNodeOf("0", "0", "1", "f", "5"), "value at byte 13: a stream's node: its master entry does not end with 0"},
			{"stream of another count", streamNodeOf("2", "0", "1", "f", "0", "2", "1", "0", "v", "4"), "value at byte 13: a stream's node: it announces other numbers of entries than it has"},
			{"stream with a short entry", streamNodeOf("1", "0", "1", "f", "0", "2", "1", "0"), "value at byte 13: a stream's node: it ends inside an entry"},
			{"stream with another entry's count", streamNodeOf("1", "0", "1", "f", "0", "2", "1", "0", "v", "5"), "value at byte 13: a stream's node: an entry announces another number of elements than it has"},
			{"stream with text for a number", streamNodeOf("1", "0", "1", "f", "0", "2", "x", "0", "v", "4"), "value at byte 13: a stream's node: text stands where a number is expected"},
			{"stream without master", streamNodeOf(), "value at byte 13: a stream's node: it ends inside an entry"},
			{"stream that counts a deleted entry", streamNodeOf("1", "0", "1", "f", "0", "3", "1", "0", "v", "4"), "value at byte 13: a stream's node: it announces other numbers of entries than it has"},
			{"stream with text for flags", streamNodeOf("1", "0", "1", "f", "0", "x", "1", "0", "v", "4"), "value at byte 13: a stream's node: text stands where a number is expected"},
			{"stream with a broken listpack", newDump(9).key(15, "k").num(1).text(id1, "listpack").num(1).num(0).num(1).num(0).unsealed(), "value at byte 13: a listpack of 8 bytes says it has 1953720684"},
			{"pending entries out of order", streamOf([]string{id1}, []string{"g"}, []string{id2, id1}, map[string][]string{"c": {id1, id2}}), `value at byte 94: pending entries of group "g": an id is not greater than the one before it`},
		}},
		{check: "LZF", deep: true, rows: []damageRow{
			{"compressed value that is broken", newDump(9).key(0, "k").raw(0xc3).num(2).num(8).raw(0x20, 5).unsealed(), "lzf at byte 13: a string of 8 bytes compressed to 2: a reference reaches before the first byte"},
			{"run past the end of a large value", largeLZF(300_000, 0x04, 'a'), "lzf at byte 3430: a compressed string is broken: a run or a reference reaches past the compressed bytes"},
			{"reference past the end of a large value", largeLZF(300_000, 0xe0), "lzf at byte 3430: a compressed string is broken: a run or a reference reaches past the compressed bytes"},
			{"large value that is longer", largeLZF(299_000), "lzf at byte 3418: a compressed string is broken: it holds more bytes than announced"},
			{"large value whose last run is longer", largeLZF(299_906, 0x01, 'a', 'b'), "lzf at byte 3430: a compressed string is broken: it holds more bytes than announced"},
			{"large value that is shorter", largeLZF(300_000), "lzf at byte 20: a string of 300000 bytes compressed to 3410: it holds fewer bytes than announced"},
			{"reference before the start of a large value", newDump(9).key(0, "k").raw(0xc3).num(4000).num(300_000).raw(0x20, 5).raw(make([]byte, 3998)...).unsealed(), "lzf at byte 20: a compressed string is broken: a reference reaches before the first byte"},
		}},
	}
}

// A value of more members than are kept is read to its end, and the report says
// that not all of them were told apart.
func TestDeepCrowdedValue(t *testing.T) {
	for _, n := range []int{200_000, 300_000} {
		b := newDump(9).key(2, "k").num(uint64(n))
		for i := range n {
			b.text(strconv.Itoa(i))
		}
		data := b.str("other", "v").unsealed()
		report, err := inspect(data, rdb.InspectOptions{Deep: true, Size: int64(len(data))})
		if err != nil || report.Keys != 2 || report.DuplicatesUnchecked != (n > 200_000) {
			t.Errorf("%d members: %v, unchecked %t", n, err, report.DuplicatesUnchecked)
		}
	}
}

const (
	templateCountDamage = "length at byte 9387977: more than 1048576 hash templates"
	templateBytesDamage = "length at byte 2955831: the field names of hash templates take more than 268435456 bytes"
)

// Hash templates and the names of their fields are kept, so there is an end to
// both.
func TestTemplatesAreBounded(t *testing.T) {
	const name = 8 << 20
	b := newDump(15)
	for id := range 33 {
		body := []byte{1, byte(id), 'a'}
		for range (name - 2) / 264 {
			body = append(body, 0xe0, 0xff, 0)
		}
		body = append(body, byte((name-2)%264-1))
		body = append(body, make([]byte, (name-2)%264)...)
		b.raw(242).num(uint64(id)).num(1).raw(0xc3).num(uint64(len(body))).num(name).raw(body...)
	}
	_, err := inspect(b.unsealed(), rdb.InspectOptions{Deep: true})
	if d := damageOf(err); d == nil || d.Error() != templateBytesDamage {
		t.Errorf("found %v", err)
	}
	b = newDump(15)
	for id := range 1<<20 + 1 {
		b.raw(242).num(uint64(id)).num(1).text("f")
	}
	_, err = inspect(b.unsealed(), rdb.InspectOptions{})
	if d := damageOf(err); d == nil || d.Error() != templateCountDamage {
		t.Errorf("found %v", err)
	}
}

const (
	sharedNodeDamage     = "value at byte 13: a stream's node: the field names that its values share are longer than any use has for them"
	sharedTemplateDamage = "value at byte 1060956: a hash's template: the field names that its values share are longer than any use has for them"
)

// A name that is hashed with each of many values takes no time without bound.
// Each worker has the bound to itself, so one alone shows where it lies.
func TestSharedNamesAreBounded(t *testing.T) {
	const long = 1 << 20
	name := strings.Repeat("x", long)
	entries := []string{"9000", "0", "1", name, "0"}
	for range 9000 {
		entries = append(entries, "2", "1", "0", "v", "4")
	}
	_, err := inspect(streamNodeOf(entries...), rdb.InspectOptions{Deep: true, Workers: 1})
	if d := damageOf(err); d == nil || d.Error() != sharedNodeDamage {
		t.Errorf("in a stream: %.200s", err)
	}
	b := newDump(15).raw(242).num(1).num(1).text(name)
	for range 9000 {
		b.key(32, "k").num(1).text("v")
	}
	_, err = inspect(b.unsealed(), rdb.InspectOptions{Deep: true, Workers: 1})
	if d := damageOf(err); d == nil || d.Error() != sharedTemplateDamage {
		t.Errorf("in a template: %.200s", err)
	}
}

// What a server writes is sound, and Deep digests nothing.
func TestDeepOfAServer(t *testing.T) {
	data := fixture(t)
	report, err := inspect(data, rdb.InspectOptions{Deep: true, Duplicates: true})
	if err != nil || report.SlotDigests != nil || report.Digest != (rdb.Digest{}) || report.DuplicatesUnchecked {
		t.Errorf("%v, digest %s", err, report.Digest)
	}
}
