package rdb_test

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// listpackOf packs elements as listpack.c does, numbers as numbers.
func listpackOf(elements ...string) string {
	var body []byte
	for _, e := range elements {
		entry := listpackEntry(e)
		body = append(append(body, entry...), listpackBack(len(entry))...)
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(7+len(body)))
	head = binary.LittleEndian.AppendUint16(head, uint16(len(elements)))
	return string(head) + string(body) + "\xff"
}

func listpackEntry(e string) []byte {
	if n, err := strconv.ParseInt(e, 10, 64); err == nil && strconv.FormatInt(n, 10) == e {
		switch {
		case n >= 0 && n < 128:
			return []byte{byte(n)}
		case n >= -4096 && n < 4096:
			return []byte{0xc0 | byte(n>>8)&0x1f, byte(n)}
		}
		return binary.LittleEndian.AppendUint64([]byte{0xf4}, uint64(n))
	}
	switch {
	case len(e) < 64:
		return append([]byte{0x80 | byte(len(e))}, e...)
	case len(e) < 4096:
		return append([]byte{0xe0 | byte(len(e)>>8), byte(len(e))}, e...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte{0xf0}, uint32(len(e))), e...)
}

func listpackBack(n int) []byte {
	switch {
	case n < 1<<7:
		return []byte{byte(n)}
	case n < 1<<14-1:
		return []byte{byte(n >> 7), byte(n) | 0x80}
	}
	return []byte{byte(n >> 14), byte(n>>7) | 0x80, byte(n) | 0x80}
}

// ziplistOf packs elements as ziplist.c does.
func ziplistOf(elements ...string) string {
	body := []byte{}
	previous, last := 0, 10
	for _, e := range elements {
		last = 10 + len(body)
		if previous < 254 {
			body = append(body, byte(previous))
		} else {
			body = binary.LittleEndian.AppendUint32(append(body, 254), uint32(previous))
		}
		body = append(body, ziplistEntry(e)...)
		previous = 10 + len(body) - last
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(11+len(body)))
	head = binary.LittleEndian.AppendUint32(head, uint32(last))
	head = binary.LittleEndian.AppendUint16(head, uint16(len(elements)))
	return string(head) + string(body) + "\xff"
}

func ziplistEntry(e string) []byte {
	if n, err := strconv.ParseInt(e, 10, 64); err == nil && strconv.FormatInt(n, 10) == e {
		le := binary.LittleEndian.AppendUint64(nil, uint64(n))
		switch {
		case n >= 0 && n <= 12:
			return []byte{0xf1 + byte(n)}
		case n >= -128 && n < 128:
			return []byte{0xfe, le[0]}
		case n >= -1<<15 && n < 1<<15:
			return append([]byte{0xc0}, le[:2]...)
		case n >= -1<<23 && n < 1<<23:
			return append([]byte{0xf0}, le[:3]...)
		case n >= -1<<31 && n < 1<<31:
			return append([]byte{0xd0}, le[:4]...)
		}
		return append([]byte{0xe0}, le...)
	}
	switch {
	case len(e) < 64:
		return append([]byte{byte(len(e))}, e...)
	case len(e) < 1<<14:
		return append([]byte{0x40 | byte(len(e)>>8), byte(len(e))}, e...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(len(e))), e...)
}

// The lengths at which a listpack's backward length grows are its trap: the
// greatest number of a size takes the next. The server is asked.
func TestListpackLengths(t *testing.T) {
	s := startServer(t, large...)
	for _, n := range []int{0, 1, 62, 63, 64, 125, 126, 127, 128, 4093, 4094, 4095, 4096, 16376, 16377, 16378, 16379, 16380, 16381, 16382, 16383, 16384, 2097145, 2097146, 2097147, 2097148} {
		s.do("HSET", "h:"+strconv.Itoa(n), "f", strings.Repeat("x", n))
	}
	for _, n := range []int64{0, 127, 128, -1, 4095, 4096, -4096, -4097, 32767, 32768, -32768, -32769, 8388607, 8388608, -8388608, -8388609, 2147483647, 2147483648, -2147483648, -2147483649, 9223372036854775807, -9223372036854775808} {
		s.do("HSET", "numbers", strconv.FormatInt(n, 10), n)
	}
	s.do("CONFIG", "SET", "hash-max-listpack-value", 200_000_0)
	packed := s.save()
	sets := startServer(t, other...)
	for _, key := range s.do("KEYS", "*").([]any) {
		sets.do("RESTORE", key, 0, s.do("DUMP", key))
	}
	sameDigests(t, digests(t, packed), digests(t, sets.save()))
}

// packedDamage is each way a packed value can be broken.
func packedDamage() []damageGroup {
	hash := func(blob string) []byte { return newDump(10).key(16, "k").text(blob).unsealed() }
	list := func(blob string) []byte { return newDump(9).key(10, "k").text(blob).unsealed() }
	zipmap := func(blob string) []byte { return newDump(9).key(9, "k").text(blob).unsealed() }
	lp := listpackOf("a", "b")
	zl := ziplistOf("a", "b", "300")
	change := func(blob string, at int, b byte) string { return blob[:at] + string([]byte{b}) + blob[at+1:] }
	return []damageGroup{
		{check: "listpack", deep: true, rows: []damageRow{
			{"listpack without header", hash("\x06\x00\x00\x00\x00\x00"), "value at byte 12: a listpack of 6 bytes has no header"},
			{"listpack of another length", hash(change(lp, 0, 99)), "value at byte 12: a listpack of 13 bytes says it has 99"},
			{"listpack of another count", hash(change(lp, 4, 3)), "value at byte 12: a listpack of 2 elements says it has 3"},
			{"listpack without end", hash(change(change(lp, 0, byte(len(lp)-1)), len(lp)-2, 2)[:len(lp)-1]), "value at byte 12: a listpack has no end"},
			{"listpack that ends early", hash(change(lp, 6, 0xff)), "value at byte 12: a listpack ends 6 bytes early"},
			{"listpack with an unknown element", hash(change(lp, 6, 0xf5)), "value at byte 12: byte 0xf5 begins no element of a listpack"},
			{"listpack with a long element", hash(change(lp, 6, 0xbf)), "value at byte 12: a listpack's element of 64 bytes has 7"},
			{"listpack cut in a length", hash("\x08\x00\x00\x00\xff\xff\xf0\xff"), "value at byte 12: a listpack ends inside a length"},
			{"listpack cut in a short length", hash("\x07\x00\x00\x00\xff\xff\xe1"), "value at byte 12: a listpack ends inside a length"},
			{"listpack without a length behind", hash(change(lp, 8, 9)), "value at byte 12: a listpack's element of 2 bytes is not followed by its length"},
		}},
		{check: "quicklist", deep: true, rows: []damageRow{
			{"node that is no listpack", newDump(10).key(18, "k").num(1).num(2).text("listpack").unsealed(), "value at byte 14: a listpack of 8 bytes says it has 1953720684"},
			{"node that is no ziplist", newDump(9).key(14, "k").num(1).text("ziplist here").unsealed(), "value at byte 13: a ziplist of 12 bytes says it has 1819306362"},
			{"second node that is broken", newDump(10).key(18, "k").num(2).num(1).text("plain").num(2).text(change(lp, 4, 3)).unsealed(), "value at byte 21: a listpack of 2 elements says it has 3"},
		}},
		{check: "ziplist", deep: true, rows: []damageRow{
			{"ziplist without header", list("\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "value at byte 12: a ziplist of 10 bytes has no header"},
			{"ziplist of another length", list(change(zl, 0, 99)), "value at byte 12: a ziplist of 21 bytes says it has 99"},
			{"ziplist with another last element", list(change(zl, 4, 11)), "value at byte 12: a ziplist's last element is at 16 and said to be at 11"},
			{"ziplist with a last element beyond", list(change(zl, 4, 99)), "value at byte 12: a ziplist of 21 bytes says its last element is at 99"},
			{"ziplist of another count", list(change(zl, 8, 9)), "value at byte 12: a ziplist of 3 elements says it has 9"},
			{"ziplist with another element before", list(change(zl, 13, 9)), "value at byte 12: a ziplist's element says the one before it takes 9 bytes instead of 3"},
			{"ziplist with an unknown element", list(change(zl, 11, 0x81)), "value at byte 12: byte 0x81 begins no element of a ziplist"},
			{"ziplist with a long element", list(change(zl, 11, 0x3f)), "value at byte 12: a ziplist's element of 63 bytes has 9"},
			{"ziplist that ends early", list(change(zl, 10, 0xff)), "value at byte 12: a ziplist ends 10 bytes early"},
			{"ziplist without end", list("\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x01a"), "value at byte 12: a ziplist has no end"},
			{"ziplist cut in an element", list("\x0b\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00"), "value at byte 12: a ziplist ends inside an element"},
			{"ziplist cut in the length before", list("\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\xfe\x00\x00"), "value at byte 12: a ziplist ends inside a length"},
			{"ziplist cut in a length", list("\x0c\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x40"), "value at byte 12: a ziplist ends inside a length"},
			{"ziplist cut in a long length", list("\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x80\x00"), "value at byte 12: a ziplist ends inside a length"},
		}},
		{check: "intset", deep: true, rows: []damageRow{
			{"intset without header", newDump(9).key(11, "k").text("\x02\x00\x00\x00").unsealed(), "value at byte 12: an intset of 4 bytes has no header"},
			{"intset of no width", newDump(9).key(11, "k").text("\x03\x00\x00\x00\x00\x00\x00\x00").unsealed(), "value at byte 12: an intset's numbers cannot take 3 bytes"},
			{"intset of another count", newDump(9).key(11, "k").text("\x02\x00\x00\x00\x02\x00\x00\x00ab").unsealed(), "value at byte 12: an intset of 10 bytes cannot hold 2 numbers of 2 bytes"},
			{"number of an intset twice", newDump(9).key(11, "k").text("\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\x05\x00").unsealed(), "value at byte 12: an intset's 5 stands behind 5"},
			{"intset out of order", newDump(9).key(11, "k").text("\x02\x00\x00\x00\x02\x00\x00\x00\x06\x00\x05\x00").unsealed(), "value at byte 12: an intset's 5 stands behind 6"},
		}},
		{check: "zipmap", deep: true, rows: []damageRow{
			{"zipmap without header", newDump(9).key(9, "k").text("\x00").unsealed(), "value at byte 12: a zipmap of 1 bytes has no header"},
			{"zipmap without value", newDump(9).key(9, "k").text("\x01\x01f\xff").unsealed(), "value at byte 12: a zipmap ends in the middle"},
			{"zipmap of another count", newDump(9).key(9, "k").text("\x02\x01f\x01\x00v\xff").unsealed(), "value at byte 12: a zipmap of 1 fields says it has 2"},
			{"zipmap without end", newDump(9).key(9, "k").text("\x01\x01f\x01\x00v").unsealed(), "value at byte 12: a zipmap has no end"},
			{"zipmap with a long element", newDump(9).key(9, "k").text("\x01\x09f\xff").unsealed(), "value at byte 12: a zipmap's element of 9 bytes has 2"},
			{"zipmap that ends early", zipmap("\x01\x01f\x01\x00v\xff\x00"), "value at byte 12: a zipmap ends in the middle"},
			{"zipmap cut in a long length", zipmap("\x01\xfe\x00\x00"), "value at byte 12: a zipmap ends inside a length"},
			{"zipmap cut before the unused bytes", zipmap("\x01\x01f\x01"), "value at byte 12: a zipmap ends inside a length"},
			{"zipmap with more unused bytes than there are", zipmap("\x01\x01f\x01\x05v\xff"), "value at byte 12: a zipmap's element of 1 bytes has 2"},
		}},
		{check: "hash", deep: true, rows: []damageRow{
			{"hash of odd length", hash(listpackOf("a", "b", "c")), "value at byte 12: a hash's last field has no value"},
			{"ziplist hash of odd length", newDump(9).key(13, "k").text(ziplistOf("a", "b", "c")).unsealed(), "value at byte 12: a hash's last field has no value"},
		}},
		{check: "sorted set", deep: true, rows: []damageRow{
			{"sorted set of odd length", newDump(10).key(17, "k").text(listpackOf("a")).unsealed(), "value at byte 12: a sorted set's last member has no score"},
			{"sorted set without number", newDump(10).key(17, "k").text(listpackOf("a", "b")).unsealed(), `value at byte 12: "b" is no score`},
			{"sorted set with text for a score", newDump(10).key(3, "k").num(1).text("a").raw(1, 'x').unsealed(), `value at byte 15: "x" is no score`},
			{"score that is no number", newDump(10).key(3, "k").num(1).text("a").raw(253).unsealed(), "value at byte 15: a sorted set's score is not a number"},
			{"binary score that is no number", newDump(9).key(5, "k").num(1).text("a").u64(0x7ff8000000000000).unsealed(), "value at byte 15: a sorted set's score is not a number"},
			{"packed score that is no number", newDump(9).key(12, "k").text(ziplistOf("a", "nan")).unsealed(), "value at byte 12: a sorted set's score is not a number"},
		}},
		{check: "template", deep: true, rows: []damageRow{
			{"template unknown", newDump(15).key(30, "k").text(listpackOf("7", "v")).unsealed(), `value at byte 12: hash template "7" was not defined before`},
			{"template with fewer values", newDump(15).raw(242, 7, 2).text("a", "b").key(30, "k").text(listpackOf("7", "v")).unsealed(), "value at byte 19: a hash has 1 values for the 2 fields of its template"},
			{"template with more values", newDump(15).raw(242, 7, 1).text("a").key(30, "k").text(listpackOf("7", "v", "w")).unsealed(), "value at byte 17: a hash has more values than the 1 fields of its template"},
			{"template of no id", newDump(15).key(30, "k").text(listpackOf()).unsealed(), "value at byte 12: a hash names no template"},
		}},
	}
}

// A digest never reads outside what is there, whatever byte is wrong.
func TestDigestOfEveryFlippedBit(t *testing.T) {
	for name, data := range map[string][]byte{"small": bytes.Clone(smallFixture(t)), "new": newTypes().done(), "old": oldTypes().done()} {
		for at := range data {
			for bit := range 8 {
				data[at] ^= 1 << bit
				if _, err := inspect(data, rdb.InspectOptions{Digest: true, Workers: 1}); code(err) == "" {
					t.Fatalf("%s: bit %d of byte %d flipped: %v", name, bit, at, err)
				}
				data[at] ^= 1 << bit
			}
		}
	}
}
