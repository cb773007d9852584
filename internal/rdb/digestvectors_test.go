package rdb_test

import (
	"math"
	"strings"
	"testing"
)

// One key of each family, with the digests that DIGEST.md gives them. These were
// computed from that document alone, in Python with the bindings of libxxhash
// 0.8.1 (xxh3_128, struct.pack and the built-in integers), not by this package:
// they change only with a new version of the digest.
func TestDigestVectors(t *testing.T) {
	id := func(n byte) string { return strings.Repeat("\x00", 7) + string(n) }
	want := map[string]string{
		"3 string": "0db8a011b572b9aa2cc7c194d65b190a", // "-5", expires at 99
		"3 list":   "52bdfd46ee5f6966253d3cf8295ea1fb", // "a", "", "12"
		"3 set":    "f4a156500e7cf538cce6515cb8ab5d10", // "a", "b"
		"3 zset":   "63d619142e2fca88ab97abc5a1ab00c3", // "m" at 1.5, "z" at -0
		"3 hash":   "71e39e2d3a2e1fee5814c3117b29a787", // "f" = "v", "g" = "w" until 1000
		// 5-1 with f = v and 6-0 with f = w, x = y; 6-0 is the last, 4-7 the greatest
		// deleted, 3 ever added; group g stands at 6-0, its consumer c was given 5-1
		// twice, last at 1700.
		"3 stream": "96811213967be73f22c8494eb4a6ff92",
		"3 module": "a4d7306848b2ec58f71dc351a5eeac2b", // unsigned 7, "abc", double 2.5, float 0.5, signed -1
		"3 array":  "0b7822698b874408ef01d74d9e6083ac", // "x" at 2, the float 0.5 at 9, cursor 10
	}
	b := newDump(14).selectDB(3)
	b.raw(252).u64(99).key(0, "string").raw(0xc0, 0xfb)
	b.key(1, "list").num(3).text("a", "").raw(0xc0, 12)
	b.key(2, "set").num(2).text("b", "a")
	b.key(5, "zset").num(2).text("m").double(1.5).text("z").double(math.Copysign(0, -1))
	b.key(24, "hash").u64(1000).num(2).num(0).text("f", "v").num(1).text("g", "w")
	b.key(19, "stream").num(1).text(id(5) + id(1))
	b.text(listpackOf("2", "0", "1", "f", "0", "2", "0", "0", "v", "4", "0", "1", "-1", "2", "f", "w", "x", "y", "8"))
	b.num(2).num(6).num(0).num(5).num(1).num(4).num(7).num(3)
	b.num(1).text("g").num(6).num(0).num(2)
	b.num(1).raw([]byte(id(5) + id(1))...).u64(1700).num(2)
	b.num(1).text("c").u64(88).num(1).raw([]byte(id(5) + id(1))...)
	b.key(7, "module").num(0x1122334455667788).num(2).num(7).num(5).text("abc").num(4).double(2.5)
	b.num(3).raw(0, 0, 0, 0x3f).num(1).num(1<<64 - 1).num(0)
	b.key(28, "array").num(2).num(1).num(10).num(2).num(0).text("x").num(9).num(2).double(0.5)

	got := digests(t, b.done())
	for name, digest := range want {
		if got[name].String() != digest {
			t.Errorf("%s has the digest %s, want %s", name, got[name], digest)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}
