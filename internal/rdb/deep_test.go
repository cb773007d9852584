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
	b.num(1).num(2).num(1).num(uint64(len(groups)))
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

// What the server checks under sanitize-dump-payload is checked with Deep, and
// not without.
func TestDeep(t *testing.T) {
	one := []string{id1}
	held := map[string][]string{"c": one}
	hash := func(version int, typ byte) *builder { return newDump(version).key(typ, "k") }
	cases := []struct {
		name, code, detail string
		data               []byte
	}{
		{"sound stream", "", "", streamOf([]string{id1, id2}, []string{"g", "h"}, one, held)},
		{"no list", rdb.CodeValue, "the list \"k\" is empty", hash(9, 1).num(0).unsealed()},
		{"no list in nodes", rdb.CodeValue, "empty", hash(10, 18).num(1).num(2).text(listpackOf()).unsealed()},
		{"no set", rdb.CodeValue, "the set", hash(9, 2).num(0).unsealed()},
		{"no intset", rdb.CodeValue, "the set", hash(9, 11).text("\x02\x00\x00\x00\x00\x00\x00\x00").unsealed()},
		{"no sorted set", rdb.CodeValue, "the zset", hash(9, 12).text(ziplistOf()).unsealed()},
		{"no hash", rdb.CodeValue, "the hash", hash(10, 16).text(listpackOf()).unsealed()},
		{"member twice", rdb.CodeDuplicate, `member "a"`, hash(9, 2).num(3).text("a", "b", "a").unsealed()},
		{"number twice, as text and encoded", rdb.CodeDuplicate, `member "7"`, hash(9, 2).num(2).raw(0xc0, 7).text("7").unsealed()},
		{"packed member twice", rdb.CodeDuplicate, `member "12"`, hash(11, 20).text(listpackOf("12", "b", "12")).unsealed()},
		{"long member twice", rdb.CodeDuplicate, "a long member", hash(9, 2).num(2).text(strings.Repeat("x", 9000), strings.Repeat("x", 9000)).unsealed()},
		{"number of an intset twice", rdb.CodeValue, "stands behind", hash(9, 11).text("\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\x05\x00").unsealed()},
		{"intset out of order", rdb.CodeValue, "5 stands behind 6", hash(9, 11).text("\x02\x00\x00\x00\x02\x00\x00\x00\x06\x00\x05\x00").unsealed()},
		{"scored member twice", rdb.CodeDuplicate, "", hash(9, 5).num(2).text("a").double(1).text("a").double(2).unsealed()},
		{"packed scored member twice", rdb.CodeDuplicate, "", hash(9, 12).text(ziplistOf("a", "1", "a", "2")).unsealed()},
		{"field twice", rdb.CodeDuplicate, `member "f"`, hash(9, 4).num(2).text("f", "v", "f", "w").unsealed()},
		{"field of a zipmap twice", rdb.CodeDuplicate, "", hash(9, 9).text("\x02\x01f\x01\x00v\x01f\x01\x00w\xff").unsealed()},
		{"field of a ziplist twice", rdb.CodeDuplicate, "", hash(9, 13).text(ziplistOf("f", "v", "f", "w")).unsealed()},
		{"field of a listpack twice", rdb.CodeDuplicate, "", hash(10, 16).text(listpackOf("f", "v", "f", "w")).unsealed()},
		{"value as its field", "", "", hash(10, 16).text(listpackOf("f", "f", "g", "f")).unsealed()},
		{"expiring field twice", rdb.CodeDuplicate, "", hash(12, 25).u64(5).text(listpackOf("f", "v", "5", "f", "w", "6")).unsealed()},
		{"expiring fields", "", "", hash(12, 25).u64(5).text(listpackOf("f", "v", "5", "g", "w", "5", "h", "x", "0", "i", "y", "0")).unsealed()},
		{"expiring fields out of order", rdb.CodeValue, "stands behind", hash(12, 25).u64(5).text(listpackOf("f", "v", "6", "g", "w", "5")).unsealed()},
		{"expiring field behind one that stays", rdb.CodeValue, "stands behind", hash(12, 25).u64(5).text(listpackOf("f", "v", "0", "g", "w", "5")).unsealed()},
		{"field that expires too late", rdb.CodeValue, "no field's expiry", hash(12, 25).u64(5).text(listpackOf("f", "v", "281474976710656")).unsealed()},
		{"earliest expiry too late", rdb.CodeValue, "no field expires", hash(12, 25).u64(1 << 48).text(listpackOf("f", "v", "5")).unsealed()},
		{"relative expiry too late", rdb.CodeValue, "no field expires", hash(12, 24).u64(1<<48-1).num(1).num(2).text("f", "v").unsealed()},
		{"Valkey's field twice", rdb.CodeDuplicate, "", newValkeyDump(80).key(22, "k").num(2).text("f", "v").u64(5).text("f", "v").u64(5).unsealed()},
		{"Valkey's expiry before time", rdb.CodeValue, "expires at -2", newValkeyDump(80).key(22, "k").num(1).text("f", "v").u64(1<<64 - 2).unsealed()},
		{"template's field twice", rdb.CodeDuplicate, "", newDump(15).raw(242, 7, 2).text("a", "a").unsealed()},
		{"nodes out of order", "", "", streamOf([]string{id2, id1}, nil, nil, nil)},
		{"node twice", rdb.CodeDuplicate, "", streamOf([]string{id1, id1}, nil, nil, nil)},
		{"entries without nodes", rdb.CodeValue, "no nodes", streamOf(nil, nil, nil, nil)},
		{"group twice", rdb.CodeDuplicate, `member "g"`, streamOf([]string{id1}, []string{"g", "g"}, one, held)},
		{"pending entry twice", rdb.CodeValue, "not greater", streamOf([]string{id1}, []string{"g"}, []string{id1, id1}, held)},
		{"consumer's pending entry twice", rdb.CodeValue, "not greater", streamOf([]string{id1}, []string{"g"}, one, map[string][]string{"c": {id1, id1}})},
		{"pending entry of two consumers", rdb.CodeValue, "other entries pending", streamOf([]string{id1}, []string{"g"}, one, map[string][]string{"c": one, "d": one})},
		{"pending entry of no consumer", rdb.CodeValue, "other entries pending", streamOf([]string{id1}, []string{"g"}, one, map[string][]string{"c": nil})},
		{"pending entry of no group", rdb.CodeValue, "other entries pending", streamOf([]string{id1}, []string{"g"}, nil, held)},
		{"consumer twice", rdb.CodeDuplicate, `member "c"`, newDump(9).key(15, "k").num(1).text(id1, listpackOf("1", "0", "1", "f", "0", "2", "0", "0", "v", "4")).num(1).num(2).num(1).num(1).
			text("g").num(1).num(1).num(0).num(2).text("c").u64(5).num(0).text("c").u64(5).num(0).unsealed()},
		{"compressed value that is broken", rdb.CodeLZF, "", newDump(9).key(0, "k").raw(0xc3).num(2).num(8).raw(0x20, 5).unsealed()},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, o := range []rdb.InspectOptions{{Deep: true}, {Digest: true}, {Deep: true, Size: int64(len(c.data))}} {
				_, err := inspect(c.data, o)
				if code(err) != c.code || err != nil && !strings.Contains(err.Error(), c.detail) {
					t.Errorf("%+v: found %v, want %s %q", o, err, c.code, c.detail)
				}
				if d := damageOf(err); d != nil && (d.Offset < 9 || d.Offset > int64(len(c.data))) {
					t.Errorf("damage at byte %d of %d", d.Offset, len(c.data))
				}
			}
			if _, err := inspect(c.data, rdb.InspectOptions{}); err != nil {
				t.Errorf("not deep: %v", err)
			}
		})
	}
}

// A value of more members than are kept is read to its end, and the report says
// that not all of them were told apart.
func TestDeepCrowdedValue(t *testing.T) {
	for _, n := range []int{400_000, 600_000} {
		b := newDump(9).key(2, "k").num(uint64(n))
		for i := range n {
			b.text(strconv.Itoa(i))
		}
		data := b.str("other", "v").unsealed()
		report, err := inspect(data, rdb.InspectOptions{Deep: true, Size: int64(len(data))})
		if err != nil || report.Keys != 2 || report.DuplicatesUnchecked != (n > 500_000) {
			t.Errorf("%d members: %v, unchecked %t", n, err, report.DuplicatesUnchecked)
		}
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

// Deep finds what is wrong where a digest does, and reads the same bytes.
func FuzzDeep(f *testing.F) {
	f.Add(smallFixture(f))
	f.Add(newDump(9).key(2, "k").num(3).text("a", "b", "a").unsealed())
	f.Add(streamOf([]string{id1, id2}, []string{"g"}, []string{id1}, map[string][]string{"c": {id1}}))
	f.Add(newTypes().unsealed())
	f.Add(valkeyTypes().unsealed())
	f.Add(oldTypes().unsealed())
	f.Fuzz(func(t *testing.T, data []byte) {
		deep, err := inspect(data, rdb.InspectOptions{Deep: true, Duplicates: true})
		digested, errDigested := inspect(data, rdb.InspectOptions{Digest: true, Duplicates: true})
		if code(err) != code(errDigested) || (err == nil) != (errDigested == nil) || deep.Bytes != digested.Bytes {
			t.Fatalf("deep: %v; digested: %v", err, errDigested)
		}
	})
}
