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

// Each way a packed value can be broken is found, also without a checksum.
func TestPackedDamage(t *testing.T) {
	node := strings.Repeat("\x00", 16)
	stream := func(listpack string) []byte {
		return newDump(9).key(15, "k").num(1).text(node, listpack).num(1).num(0).num(1).num(0).unsealed()
	}
	hash := func(blob string) []byte { return newDump(10).key(16, "k").text(blob).unsealed() }
	list := func(blob string) []byte { return newDump(9).key(10, "k").text(blob).unsealed() }
	lp := listpackOf("a", "b")
	zl := ziplistOf("a", "b", "300")
	change := func(blob string, at int, b byte) string { return blob[:at] + string([]byte{b}) + blob[at+1:] }
	cases := []struct {
		name, detail string
		data         []byte
	}{
		{"listpack without header", "no header", hash("\x06\x00\x00\x00\x00\x00")},
		{"listpack of another length", "says it has", hash(change(lp, 0, 99))},
		{"listpack of another count", "says it has 3", hash(change(lp, 4, 3))},
		{"listpack without end", "no end", hash(change(change(lp, 0, byte(len(lp)-1)), len(lp)-2, 2)[:len(lp)-1])},
		{"listpack that ends early", "early", hash(change(lp, 6, 0xff))},
		{"listpack with an unknown element", "begins no element", hash(change(lp, 6, 0xf5))},
		{"listpack with a long element", "has ", hash(change(lp, 6, 0xbf))},
		{"listpack cut in a length", "inside a length", hash("\x08\x00\x00\x00\xff\xff\xf0\xff")},
		{"listpack without a length behind", "not followed", hash(change(lp, 8, 9))},
		{"hash of odd length", "no value", hash(listpackOf("a", "b", "c"))},
		{"sorted set of odd length", "no score", newDump(10).key(17, "k").text(listpackOf("a")).unsealed()},
		{"sorted set without number", "is no score", newDump(10).key(17, "k").text(listpackOf("a", "b")).unsealed()},
		{"sorted set with text for a score", "is no score", newDump(10).key(3, "k").num(1).text("a").raw(1, 'x').unsealed()},
		{"score that is no number", "not a number", newDump(10).key(3, "k").num(1).text("a").raw(253).unsealed()},
		{"ziplist without header", "no header", list("\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
		{"ziplist of another length", "says it has", list(change(zl, 0, 99))},
		{"ziplist with another last element", "said to be at", list(change(zl, 4, 11))},
		{"ziplist with a last element beyond", "says its last", list(change(zl, 4, 99))},
		{"ziplist of another count", "says it has 9", list(change(zl, 8, 9))},
		{"ziplist with another element before", "the one before", list(change(zl, 13, 9))},
		{"ziplist with an unknown element", "begins no element", list(change(zl, 11, 0x81))},
		{"ziplist with a long element", "has ", list(change(zl, 11, 0x3f))},
		{"ziplist that ends early", "early", list(change(zl, 10, 0xff))},
		{"intset without header", "no header", newDump(9).key(11, "k").text("\x02\x00\x00\x00").unsealed()},
		{"intset of no width", "cannot take", newDump(9).key(11, "k").text("\x03\x00\x00\x00\x00\x00\x00\x00").unsealed()},
		{"intset of another count", "cannot hold", newDump(9).key(11, "k").text("\x02\x00\x00\x00\x02\x00\x00\x00ab").unsealed()},
		{"zipmap without header", "no header", newDump(9).key(9, "k").text("\x00").unsealed()},
		{"zipmap without value", "in the middle", newDump(9).key(9, "k").text("\x01\x01f\xff").unsealed()},
		{"zipmap of another count", "says it has 2", newDump(9).key(9, "k").text("\x02\x01f\x01\x00v\xff").unsealed()},
		{"zipmap without end", "no end", newDump(9).key(9, "k").text("\x01\x01f\x01\x00v").unsealed()},
		{"zipmap with a long element", "has ", newDump(9).key(9, "k").text("\x01\x09f\xff").unsealed()},
		{"expiring fields without expiry", "no value or no expiry", newDump(12).key(25, "k").u64(0).text(listpackOf("f", "v")).unsealed()},
		{"expiring fields with text", "no field's expiry", newDump(12).key(25, "k").u64(0).text(listpackOf("f", "v", "x")).unsealed()},
		{"expiring fields beyond time", "expires", newDump(12).key(24, "k").u64(1<<63).num(1).num(9).text("f", "v").unsealed()},
		{"template unknown", "not defined", newDump(15).key(30, "k").text(listpackOf("7", "v")).unsealed()},
		{"template with fewer values", "1 values for the 2", newDump(15).raw(242, 7, 2).text("a", "b").key(30, "k").text(listpackOf("7", "v")).unsealed()},
		{"template with more values", "more values", newDump(15).raw(242, 7, 1).text("a").key(30, "k").text(listpackOf("7", "v", "w")).unsealed()},
		{"stream node of a short id", "id of 3 bytes", newDump(9).key(15, "k").num(1).text("abc", lp).num(0).num(0).num(0).num(0).unsealed()},
		{"stream without master's end", "does not end with 0", stream(listpackOf("0", "0", "1", "f", "5"))},
		{"stream of another count", "other numbers", stream(listpackOf("2", "0", "1", "f", "0", "2", "1", "0", "v", "4"))},
		{"stream with a short entry", "inside an entry", stream(listpackOf("1", "0", "1", "f", "0", "2", "1", "0"))},
		{"stream with another entry's count", "another number of elements", stream(listpackOf("1", "0", "1", "f", "0", "2", "1", "0", "v", "5"))},
		{"stream with text for a number", "text stands", stream(listpackOf("1", "0", "1", "f", "0", "2", "x", "0", "v", "4"))},
		{"stream without master", "inside an entry", stream(listpackOf())},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := inspect(c.data, rdb.InspectOptions{Digest: true})
			if code(err) != rdb.CodeValue || !strings.Contains(err.Error(), c.detail) {
				t.Errorf("found %v, want it to say %q", err, c.detail)
			}
		})
	}
}

// A digest never reads outside what is there, whatever byte is wrong.
func TestDigestOfEveryFlippedBit(t *testing.T) {
	for name, data := range map[string][]byte{"small": bytes.Clone(smallFixture(t)), "new": newTypes().done(), "old": oldTypes().done()} {
		for at := range data {
			for bit := range 8 {
				data[at] ^= 1 << bit
				if _, err := inspect(data, rdb.InspectOptions{Digest: true}); code(err) == "" {
					t.Fatalf("%s: bit %d of byte %d flipped: %v", name, bit, at, err)
				}
				data[at] ^= 1 << bit
			}
		}
	}
}

func FuzzDigest(f *testing.F) {
	f.Add(smallFixture(f))
	for i, blob := range []string{listpackOf("a", "b", "300", "-70000"), ziplistOf("a", "300", strings.Repeat("x", 300)), "\x02\x00\x00\x00\x01\x00\x00\x00ab"} {
		f.Add(newDump(12).key([]byte{16, 10, 11}[i], "k").text(blob).unsealed())
	}
	f.Add(newTypes().unsealed())
	f.Add(valkeyTypes().unsealed())
	f.Add(oldTypes().unsealed())
	f.Fuzz(func(t *testing.T, data []byte) {
		digested, err := inspect(data, rdb.InspectOptions{Digest: true})
		if err != nil && code(err) == "" {
			t.Fatalf("neither dump nor damage: %v", err)
		}
		// What can be digested can be skipped, over the same bytes.
		skipped, errSkipped := inspect(data, rdb.InspectOptions{})
		if err == nil && (errSkipped != nil || skipped.CRC64 != digested.CRC64 || skipped.Bytes != digested.Bytes) {
			t.Fatalf("digested, but skipped with %v", errSkipped)
		}
	})
}
