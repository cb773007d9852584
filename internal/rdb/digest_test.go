package rdb_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/zeebo/xxh3"
)

// digests returns the digest of every key, by database and name.
func digests(t testing.TB, data []byte) map[string]rdb.Digest {
	t.Helper()
	return digestsFrom(t, bytes.NewReader(data))
}

func digestsFrom(t testing.TB, src io.Reader) map[string]rdb.Digest {
	t.Helper()
	found := map[string]rdb.Digest{}
	r := rdb.NewReader(src, rdb.Options{Digest: true})
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == rdb.KindKey {
			found[fmt.Sprintf("%d %s", rec.DB, rec.Key)] = rec.Digest
		}
	}
}

func sameDigests(t testing.TB, want, got map[string]rdb.Digest) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if d, ok := got[name]; !ok {
			t.Errorf("%q is missing", name)
		} else if d != want[name] {
			t.Errorf("%q has digest %s, want %s", name, d, want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}

// other makes a server choose other encodings for nearly everything.
var other = []string{
	"--hash-max-listpack-entries", "0", "--set-max-intset-entries", "0", "--zset-max-listpack-entries", "0",
	"--list-max-listpack-size", "1", "--list-compress-depth", "0", "--stream-node-max-entries", "7", "--rdbcompression", "no",
}

// large makes a server pack nearly everything.
var large = []string{
	"--hash-max-listpack-entries", "100000", "--hash-max-listpack-value", "100000", "--zset-max-listpack-entries", "100000",
	"--list-max-listpack-size", "-5", "--list-compress-depth", "2", "--stream-node-max-bytes", "0", "--stream-node-max-entries", "0",
}

// The same data has the same digests whatever its encodings, and however it
// came into the server: by commands, by RESTORE, or by loading a dump.
func TestDigestKnowsNoEncoding(t *testing.T) {
	first := startServer(t)
	first.fill("")
	fix(first)
	data := first.save()
	want := digests(t, data)
	for name, settings := range map[string][]string{"other": other, "large": large} {
		t.Run(name+" by commands", func(t *testing.T) {
			s := startServer(t, settings...)
			s.fill("")
			fix(s)
			sameDigests(t, want, digests(t, s.save()))
			sameEncodings(t, first, s)
		})
		t.Run(name+" by RESTORE", func(t *testing.T) {
			s := startServer(t, settings...)
			for _, key := range first.do("KEYS", "*").([]any) {
				ttl := max(first.do("PEXPIRETIME", key).(int64), 0)
				s.do("RESTORE", key, ttl, first.do("DUMP", key), "ABSTTL")
			}
			sameDigests(t, want, digests(t, s.save()))
		})
	}
	t.Run("by one byte", func(t *testing.T) {
		sameDigests(t, want, digestsFrom(t, iotest.OneByteReader(bytes.NewReader(data))))
	})
}

// fix sets what depends on the clock: when pending entries were delivered.
func fix(s *server) {
	s.t.Helper()
	for i := range 16 {
		consumer := "c1"
		if i > 10 {
			consumer = "c2"
		}
		id := fmt.Sprintf("%d-%d", 1000+i/2, i%2+1)
		s.do("XCLAIM", "x:groups", "g1", consumer, 0, id, "TIME", 1700000000000+i, "RETRYCOUNT", i, "JUSTID")
	}
}

// sameEncodings makes sure that the servers really differ.
func sameEncodings(t *testing.T, a, b *server) {
	t.Helper()
	different := 0
	for _, key := range a.do("KEYS", "*").([]any) {
		if a.do("OBJECT", "ENCODING", key) != b.do("OBJECT", "ENCODING", key) {
			different++
		}
	}
	if different < 3 {
		t.Errorf("only %d keys are encoded differently: the test proves nothing", different)
	}
}

// Any change of data changes the digest of exactly that key.
func TestDigestSeesEveryChange(t *testing.T) {
	s := startServer(t)
	s.fill("")
	fix(s)
	before := digests(t, s.save())
	changes := [][]any{
		{"APPEND", "s:text", "!"}, {"SETBIT", "s:bitmap", 3, 1}, {"INCR", "s:int64"}, {"SETRANGE", "s:large", 300_000, "x"},
		{"PERSIST", "s:text"}, {"PEXPIREAT", "s:int8", 4102444800001}, {"PEXPIREAT", "s:int8", 4102444800002},
		{"LSET", "l:small", 0, "b"}, {"RPOPLPUSH", "l:large", "l:large"}, {"LTRIM", "l:large", 1, -1},
		{"SREM", "set:16", -3}, {"SADD", "set:large", "one more"}, {"SADD", "set:64", 1 << 41},
		{"ZADD", "z:small", 5, "m0"}, {"ZINCRBY", "z:large", 0.125, "member-7"}, {"ZREM", "z:geo", "Palermo"},
		{"HSET", "h:small", "f1", "other"}, {"HSET", "h:large", "field-5", "x"}, {"HDEL", "h:large", "field-6"}, {"HINCRBY", "h:small", "n", 1},
		{"XDEL", "x:groups", "1001-1"}, {"XADD", "x:groups", "6000-1", "f", "v"}, {"XACK", "x:groups", "g1", "1004-1"},
		{"XGROUP", "SETID", "x:groups", "g2", "5-5"}, {"XGROUP", "CREATECONSUMER", "x:groups", "g2", "new"}, {"XGROUP", "DESTROY", "x:groups", "g2"},
		{"XCLAIM", "x:groups", "g1", "c2", 0, "1001-2", "TIME", 1700000000003, "RETRYCOUNT", 3, "JUSTID"},
		{"XCLAIM", "x:groups", "g1", "c2", 0, "1001-2", "TIME", 1700000000004, "RETRYCOUNT", 3, "JUSTID"},
		{"XCLAIM", "x:groups", "g1", "c2", 0, "1001-2", "TIME", 1700000000004, "RETRYCOUNT", 4, "JUSTID"},
		{"XSETID", "x:empty", "9-9"},
	}
	for _, change := range changes {
		s.do(change...)
		after := digests(t, s.save())
		key := fmt.Sprintf("0 %s", keyOf(change))
		for name, d := range after {
			if (before[name] == d) == (name == key) {
				t.Errorf("%v: the digest of %q: %s, before %s", change, name, d, before[name])
			}
		}
		before = after
	}
}

func keyOf(command []any) any {
	if command[0] == "XGROUP" {
		return command[2]
	}
	return command[1]
}

// What is only looked at, or moved, keeps its digest or changes it as defined.
func TestDigestLeavesOut(t *testing.T) {
	s := startServer(t, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lfu")
	s.fill("")
	fix(s)
	want := digests(t, s.save())
	for range 100 {
		s.do("GET", "s:text")
	}
	s.try("XREADGROUP", "GROUP", "g1", "c1", "STREAMS", "x:groups", "0") // last seen
	s.do("DEBUG", "RELOAD")
	s.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	s.do("DEBUG", "RELOAD")
	fix(s) // reading one's pending entries counts as delivering them
	sameDigests(t, want, digests(t, s.save()))

	s.do("MOVE", "s:text", 1)
	s.do("RENAME", "s:int8", "renamed")
	got := digests(t, s.save())
	if got["1 s:text"] == want["0 s:text"] || got["0 renamed"] == want["0 s:int8"] {
		t.Error("database and name are not part of the digest")
	}
}

// The definition, written down once more and independently.
func TestDigestDefinition(t *testing.T) {
	u64 := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	str := func(s string) string { return u64(uint64(len(s))) + s }
	h := func(parts ...string) [16]byte {
		sum := xxh3.HashString128(strings.Join(parts, ""))
		return [16]byte(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sum.Hi), sum.Lo))
	}
	for text, want := range map[string]string{"": "99aa06d3014798d86001c324468d497f", "a": "a96faf705af16834e6c632b61e964e1f"} {
		if got := h(text); fmt.Sprintf("%x", got) != want {
			t.Errorf("the hash of %q is %x, xxHash's own %s", text, got, want)
		}
	}
	sum := func(items ...[16]byte) string {
		var total rdb.Digest
		for _, item := range items {
			total = total.Add(rdb.DigestOf(item))
		}
		b := total.Bytes()
		return string(b[:]) + u64(uint64(len(items)))
	}
	key := func(family uint64, name string) string { return "\x01" + u64(family) + u64(3) + u64(0) + str(name) }
	want := map[string][16]byte{
		"3 string": h("\x01", u64(1), u64(3), u64(1), u64(99), str("string"), str("-5")),
		"3 list":   h(key(2, "list"), str("a"), str(""), str("12")),
		"3 set":    h(key(3, "set"), sum(h("\x02", str("a")), h("\x02", str("b")))),
		"3 zset":   h(key(4, "zset"), sum(h("\x03", str("m"), u64(math.Float64bits(1.5))), h("\x03", str("z"), u64(0)))),
		"3 hash":   h(key(5, "hash"), sum(h("\x04", str("f"), str("v"), u64(0)), h("\x04", str("g"), str("w"), u64(1000)))),
	}
	b := newDump(12).selectDB(3)
	b.raw(252).u64(99).key(0, "string").raw(0xc0, 0xfb)
	b.key(1, "list").num(3).text("a", "").raw(0xc0, 12)
	b.key(2, "set").num(2).text("b", "a")
	b.key(5, "zset").num(2).text("m").double(1.5).text("z").double(math.Copysign(0, -1))
	b.key(24, "hash").u64(1000).num(2).num(0).text("f", "v").num(1).text("g", "w")
	got := digests(t, b.done())
	for name, d := range want {
		if got[name] != rdb.DigestOf(d) {
			t.Errorf("%s: %s, want %x", name, got[name], d)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys", len(got))
	}
}

// Hashes with expiring fields, hash templates, arrays, and streams of all
// versions: written as different servers write the same value.
func TestDigestAcrossVersions(t *testing.T) {
	lp := func(elements ...string) string { return listpackOf(elements...) }
	const at = 4102444800000
	fields := map[string][]byte{
		"relative":  newDump(12).selectDB(0).key(24, "k").u64(at).num(3).num(0).text("f", "v").num(1).text("g", "w").num(6).text("h", "").done(),
		"packed":    newDump(12).selectDB(0).key(25, "k").u64(at).text(lp("g", "w", fmt.Sprint(at), "h", "", fmt.Sprint(at+5), "f", "v", "0")).done(),
		"7.4 rc":    newDump(12).selectDB(0).key(22, "k").num(3).num(at).text("g", "w").num(0).text("f", "v").num(at+5).text("h", "").done(),
		"rc packed": newDump(12).selectDB(0).key(23, "k").text(lp("g", "w", fmt.Sprint(at), "h", "", fmt.Sprint(at+5), "f", "v", "0")).done(),
		"Valkey":    newValkeyDump(80).selectDB(0).key(22, "k").num(3).text("h", "").u64(at+5).text("f", "v").u64(math.MaxUint64).text("g", "w").u64(at).done(),
	}
	allEqual(t, fields)
	allEqual(t, map[string][]byte{
		"plain":          newDump(15).selectDB(0).key(4, "k").num(2).text("b", "2", "a", "one").done(),
		"template":       newDump(15).raw(242, 7, 2).text("a", "b").selectDB(0).key(30, "k").text(lp("7", "one", "2")).done(),
		"template array": newDump(15).raw(242, 7, 2).text("a", "b").selectDB(0).key(32, "k").num(7).text("one").raw(0xc0, 2).done(),
	})
	allEqual(t, map[string][]byte{
		"numbers": newDump(14).selectDB(0).key(28, "k").num(2).num(0).num(0).num(1).u64(math.MaxUint64).num(5).num(3).text("x").done(),
		"text":    newDump(14).selectDB(0).key(28, "k").num(2).num(0).num(0).num(0).text("-1").num(5).num(0).text("x").done(),
	})
	streams := map[string][]byte{}
	for typ, version := range map[byte]int{15: 9, 19: 10, 21: 11, 26: 13, 27: 14} {
		b := newDump(version).selectDB(0).key(typ, "k").num(1).text(strings.Repeat("\x00", 7) + "\x09" + strings.Repeat("\x00", 7) + "\x01")
		b.text(lp("1", "1", "1", "f", "0", "2", "0", "0", "v", "4", "3", "0", "1", "gone", "4"))
		b.num(1).num(9).num(2)
		if typ > 15 {
			b.num(9).num(1).num(0).num(0).num(1)
		}
		b.num(1).text("g").num(9).num(1)
		if typ > 15 {
			b.num(1)
		}
		id := append(append(make([]byte, 7), 9), append(make([]byte, 7), 1)...)
		b.num(1).raw(id...).u64(77).num(2).num(1).text("c").u64(88)
		if typ >= 21 {
			b.u64(99)
		}
		b.num(1).raw(id...)
		if typ >= 27 {
			b.num(0)
		}
		if typ >= 26 {
			b.num(100).num(100).num(0).num(0).num(0)
		}
		streams[fmt.Sprint(typ)] = b.done()
	}
	allEqual(t, streams)
}

func allEqual(t *testing.T, dumps map[string][]byte) {
	t.Helper()
	names := slices.Sorted(maps.Keys(dumps))
	want := digests(t, dumps[names[0]])
	for _, name := range names {
		t.Run(name, func(t *testing.T) { sameDigests(t, want, digests(t, dumps[name])) })
	}
}

// Encodings that only older servers write are loaded by this one: its own
// encoding of the same key must have the same digest.
func TestDigestOfOldEncodings(t *testing.T) {
	long := strings.Repeat("l", 300)
	elements := []string{"a", "", "12", "13", "-1", "127", "-129", "40000", "-8388608", "8388608", "2147483648", "-9223372036854775808", "007", long, strings.Repeat("m", 70)}
	pairs := slices.Clone(elements[:14])
	scored := []string{"a", "-inf", "b", "-7", "c", "1.5", "d", "100000", "e", "inf"}
	big := strings.Repeat("v", 300)
	zipmap := "\x02" + "\x01f" + "\x01\x00v" + "\x03big" + "\xfe\x2c\x01\x00\x00\x02" + big + "..\xff"
	b := newDump(9).selectDB(0)
	b.key(1, "list").num(3).text("a", long).raw(0xc1, 0x10, 0x27)
	b.key(10, "list-ziplist").text(ziplistOf(elements...))
	b.key(14, "quicklist").num(2).text(ziplistOf(elements...), ziplistOf("tail"))
	b.key(3, "zset-text").num(4).text("a").raw(3, '1', '.', '5').text("b").raw(254).text("c").raw(255).text("d").raw(2, '-', '0')
	b.key(12, "zset-ziplist").text(ziplistOf(scored...))
	b.key(13, "hash-ziplist").text(ziplistOf(pairs...))
	b.key(9, "hash-zipmap").text(zipmap)
	b.key(11, "intset").text("\x02\x00\x00\x00\x03\x00\x00\x00\xfe\xff\x01\x00\x00\x01")
	b.key(2, "set").num(2).text("a", long)
	data := b.done()

	s := startServer(t)
	var value bytes.Buffer
	r := rdb.NewReader(bytes.NewReader(data), rdb.Options{Capture: &value, Digest: true})
	want := map[string]rdb.Digest{}
	for {
		value.Reset()
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind != rdb.KindKey {
			continue
		}
		want["0 "+string(rec.Key)] = rec.Digest
		if _, err := s.try("RESTORE", string(rec.Key), 0, rdb.DumpPayload(nil, rec.Type, value.Bytes(), 9)); err != nil {
			t.Errorf("%s: %v", rec.Key, err)
		}
	}
	sameDigests(t, want, digests(t, s.save()))
}

// A value longer than any buffer, compressed or not, streams through.
func TestDigestOfLargeStrings(t *testing.T) {
	s := startServer(t)
	text := strings.Repeat("slotark keeps backups. ", 100_000) + string(noise(50_000)) + strings.Repeat("end", 40_000)
	s.do("SET", "string", text)
	s.do("HSET", "hash", "field", text)
	compressed := s.save()
	s.do("CONFIG", "SET", "rdbcompression", "no")
	plain := s.save()
	if len(compressed) > len(plain)/2 {
		t.Fatalf("%d bytes against %d: not compressed", len(compressed), len(plain))
	}
	sameDigests(t, digests(t, plain), digests(t, compressed))
	sameDigests(t, digests(t, plain), digestsFrom(t, iotest.OneByteReader(bytes.NewReader(compressed))))
}

func TestInspectDigests(t *testing.T) {
	data := fixture(t)
	report, err := inspect(data, rdb.InspectOptions{Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	var total, slots rdb.Digest
	for _, d := range digests(t, data) {
		total = total.Add(d)
	}
	for _, d := range report.SlotDigests {
		slots = slots.Add(d)
	}
	if report.Digest != total || slots != total || total == (rdb.Digest{}) {
		t.Errorf("the report's digest is %s, its slots' %s, the keys' %s", report.Digest, slots, total)
	}
	if without, err := inspect(data, rdb.InspectOptions{}); err != nil || without.SlotDigests != nil || without.CRC64 != report.CRC64 {
		t.Errorf("without digests: %v, %x", err, without.CRC64)
	}
}

func TestDigestArithmetic(t *testing.T) {
	most := rdb.DigestOf([16]byte(bytes.Repeat([]byte{0xff}, 16)))
	one := rdb.DigestOf([16]byte{15: 1})
	if got := most.Add(one); got != (rdb.Digest{}) {
		t.Errorf("2^128-1 and 1 give %s", got)
	}
	carry := rdb.DigestOf([16]byte{7: 0, 8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff, 15: 0xff}).Add(one)
	if carry.String() != "00000000000000010000000000000000" || carry.Sub(one).Add(one) != carry || (rdb.Digest{}).Sub(one) != most {
		t.Errorf("carry gives %s", carry)
	}
	text, err := json.Marshal(carry)
	var back rdb.Digest
	if err != nil || json.Unmarshal(text, &back) != nil || back != carry {
		t.Errorf("%s came back as %s, %v", text, back, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("x", 32), strings.Repeat("0", 34)} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a digest", bad)
		}
	}
}
