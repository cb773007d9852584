package rdb_test

import (
	"fmt"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

const (
	newestRedis  = 15
	oldestValkey = 80
	newestValkey = 81
)

// value is a value written by hand, after rdb.c of the version it is from.
type value struct {
	name   string
	valkey bool
	typ    byte
	redis  int // the first format version of Redis that has it; 0: none
	valk   int // of Valkey's own versions
	body   []byte
	same   string // values of one name here are the same value in other encodings
}

// values are at least one of every type.
func values() []value {
	b := func() *builder { return new(builder) }
	pair := listpackOf("a", "x", "b", "y")
	all := []value{
		{"plain", false, 0, 1, 80, b().text("12").data, "string"},
		{"8 bits", false, 0, 1, 80, b().raw(0xc0, 12).data, "string"},
		{"16 bits", false, 0, 1, 80, b().raw(0xc1, 12, 0).data, "string"},
		{"32 bits", false, 0, 1, 80, b().raw(0xc2, 12, 0, 0, 0).data, "string"},
		{"compressed", false, 0, 1, 80, b().raw(0xc3, 3, 2, 1, '1', '2').data, "string"},
		{"length in two bytes", false, 0, 1, 80, b().raw(0x40, 2, '1', '2').data, "string"},
		{"length in four bytes", false, 0, 1, 80, b().raw(0x80, 0, 0, 0, 2, '1', '2').data, "string"},
		{"length in eight bytes", false, 0, 1, 80, b().raw(0x81, 0, 0, 0, 0, 0, 0, 0, 2, '1', '2').data, "string"},
		{"list", false, 1, 1, 80, b().num(2).text("a").raw(0xc0, 7).data, "list"},
		{"list in a ziplist", false, 10, 1, 80, b().text(ziplistOf("a", "7")).data, "list"},
		{"quicklist of ziplists", false, 14, 7, 80, b().num(2).text(ziplistOf("a"), ziplistOf("7")).data, "list"},
		{"quicklist", false, 18, 10, 80, b().num(2).num(1).text("a").num(2).text(listpackOf("7")).data, "list"},
		{"set", false, 2, 1, 80, b().num(2).text("2", "1").data, "set"},
		{"intset", false, 11, 1, 80, b().text("\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x02\x00").data, "set"},
		{"wide intset", false, 11, 1, 80, b().text("\x08\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00").data, "set"},
		{"set in a listpack", false, 20, 11, 80, b().text(listpackOf("1", "2")).data, "set"},
		{"zset with text", false, 3, 1, 80, b().num(2).text("m").raw(3, '1', '.', '5').text("i").raw(254).data, "zset"},
		{"zset", false, 5, 8, 80, b().num(2).text("i").u64(0x7ff0000000000000).text("m").double(1.5).data, "zset"},
		{"zset in a ziplist", false, 12, 1, 80, b().text(ziplistOf("m", "1.5", "i", "inf")).data, "zset"},
		{"zset in a listpack", false, 17, 10, 80, b().text(listpackOf("m", "1.5", "i", "inf")).data, "zset"},
		{"hash", false, 4, 1, 80, b().num(2).text("b", "y", "a", "x").data, "hash"},
		{"zipmap", false, 9, 1, 80, b().text("\x02\x01a\x01\x00x\x01b\x01\x02y..\xff").data, "hash"},
		{"hash in a ziplist", false, 13, 1, 80, b().text(ziplistOf("a", "x", "b", "y")).data, "hash"},
		{"hash in a listpack", false, 16, 10, 80, b().text(pair).data, "hash"},
		{"hash of 7.4 RC", false, 22, 12, 0, b().num(2).num(0).text("a", "x").num(0).text("b", "y").data, "hash"},
		{"expiring hash of 7.4 RC", false, 22, 12, 0, b().num(2).num(0).text("a", "x").num(1234).text("b", "y").data, "expiring"},
		{"packed hash of 7.4 RC", false, 23, 12, 0, b().text(listpackOf("b", "y", "1234", "a", "x", "0")).data, "expiring"},
		{"hash with metadata", false, 24, 12, 0, b().u64(1234).num(2).num(0).text("a", "x").num(1).text("b", "y").data, "expiring"},
		{"packed hash with metadata", false, 25, 12, 0, b().u64(1234).text(listpackOf("b", "y", "1234", "a", "x", "0")).data, "expiring"},
		{"hash of Valkey 9", true, 22, 0, 80, b().num(2).text("a", "x").u64(1<<64-1).text("b", "y").u64(1234).data, "expiring"},
		{"template in a listpack", false, 30, 15, 0, b().text(listpackOf("7", "x", "y")).data, "hash"},
		{"template", false, 32, 15, 0, b().num(7).text("x", "y").data, "hash"},
		{"module", false, 7, 8, 80, b().num(moduleID("testtype-", 3)).num(1).num(1<<40).num(2).num(3).num(3).raw(0, 0, 0, 0).num(4).double(2).num(5).text("s").num(0).data, "module"},
		{"array", false, 28, 14, 0, b().num(3).num(1).num(77).num(0).num(0).text("5").num(1 << 40).num(2).double(1.5).num(1<<40 + 1).num(3).text("small").data, "array"},
		{"array with numbers", false, 28, 14, 0, b().num(3).num(1).num(77).num(0).num(1).u64(5).num(1 << 40).num(2).double(1.5).num(1<<40 + 1).num(0).text("small").data, "array"},
	}
	for i, typ := range []byte{15, 19, 21, 26, 27} {
		valkey := 80
		if typ > 21 {
			valkey = 0
		}
		all = append(all, value{fmt.Sprint("stream ", i+1), false, typ, []int{9, 10, 11, 13, 14}[i], valkey, streamBody(typ), "stream"})
	}
	return all
}

// streamBody is a stream of one entry and a group with a consumer that has it
// pending, in the layout of a type.
func streamBody(typ byte) []byte {
	b := new(builder).num(1).text(id1, listpackOf("1", "0", "1", "f", "0", "2", "0", "0", "v", "4"))
	b.num(1).num(1).num(1) // length, last id
	if typ >= 19 {
		b.num(1).num(1).num(0).num(0).num(1) // first id, greatest deleted id, added
	}
	b.num(1).text("g").num(1).num(1)
	if typ >= 19 {
		b.num(1) // read
	}
	b.num(1).raw([]byte(id1)...).u64(5).num(1)
	b.num(1).text("c").u64(6)
	if typ >= 21 {
		b.u64(7) // last active
	}
	b.num(1).raw([]byte(id1)...)
	if typ >= 27 {
		b.num(0) // released
	}
	if typ >= 26 {
		b.num(100).num(10).num(1).text("producer").num(1).text("id").num(1).num(1).num(3).num(4)
	}
	return b.data
}

// Every value type is read, skipped and digested in every version that has it,
// is unknown in all others, and has the digest of the same value in any encoding.
func TestEveryTypeInEveryVersion(t *testing.T) {
	digests, types := map[string]rdb.Digest{}, map[byte]bool{}
	for _, v := range values() {
		types[v.typ] = true
		eachVersion(func(valkey bool, version int, begin func() *builder) {
			since := v.redis
			if valkey {
				since = v.valk
			}
			if v.typ == 22 && v.valkey != valkey {
				return // the number is another type's there
			}
			b := begin()
			if !valkey && version >= 15 {
				b.raw(242, 7, 2).text("a", "b")
			}
			data := b.key(v.typ, "k").raw(v.body...).done()
			for _, o := range []rdb.InspectOptions{{}, {Deep: true, Size: int64(len(data))}, {Digest: true}} {
				report, err := inspect(data, o)
				if since == 0 || version < since {
					if code(err) != rdb.CodeType {
						t.Errorf("%s in %s %d: %v", v.name, report.Engine, version, err)
					}
					continue
				}
				if err != nil || report.Keys != 1 || report.Version != version {
					t.Errorf("%s in %s %d: %v, %d keys", v.name, report.Engine, version, err, report.Keys)
				}
				if !o.Digest {
					continue
				}
				if want, seen := digests[v.same]; seen && want != report.Digest {
					t.Errorf("%s in %s %d: its digest is not that of the other encodings", v.name, report.Engine, version)
				}
				digests[v.same] = report.Digest
			}
		})
	}
	for typ := byte(0); typ <= 32; typ++ {
		unreadable := typ == 6 || typ == 8 || typ == 29 || typ == 31 // 4.0 RC, never assigned, only in DUMP payloads
		if types[typ] == unreadable {
			t.Errorf("type %d is read: %t", typ, types[typ])
		}
	}
}

// eachVersion calls f for every format version, with a way to begin its dumps.
func eachVersion(f func(valkey bool, version int, begin func() *builder)) {
	for version := 1; version <= newestRedis; version++ {
		f(false, version, func() *builder { return newDump(version) })
	}
	for version := oldestValkey; version <= newestValkey; version++ {
		f(true, version, func() *builder { return newValkeyDump(version) })
	}
}

// Every opcode is read in every version that has it, and damage in all others.
func TestEveryOpcodeInEveryVersion(t *testing.T) {
	b := func() *builder { return new(builder) }
	cases := []struct {
		name          string
		op            byte
		redis, valkey int // the first version that has it; 0: none
		body          []byte
	}{
		{"hash template", 242, 15, 0, b().num(1).num(1).text("f").data},
		{"key metadata", 243, 13, 0, b().num(1).raw('A', 'B', 'C', 'D').num(2).num(5).num(0).str("a", "v").data},
		{"slot import", 243, 0, 80, b().text("job").num(1).num(5).num(6).data},
		{"slot info", 244, 12, 80, b().num(15495).num(1).num(0).str("a", "v").data},
		{"function", 245, 10, 80, b().text("#!lua name=f").data},
		{"function of a release candidate", 246, 0, 0, b().text("code").data},
		{"module data", 247, 9, 80, b().num(moduleID("auxmodule", 1)).num(2).num(1).num(0).data},
		{"idle time", 248, 9, 80, b().num(70_000).str("a", "v").data},
		{"use counter", 249, 9, 80, b().raw(200).str("a", "v").data},
		{"fact", 250, 7, 80, b().text("name", "value").data},
		{"database's size", 251, 7, 80, b().num(0).num(0).data},
		{"expiry in milliseconds", 252, 1, 80, b().u64(4102444800000).str("a", "v").data},
		{"expiry in seconds", 253, 1, 80, b().raw(0, 0, 0, 0x70).str("a", "v").data},
		{"database", 254, 1, 80, b().num(3).data},
	}
	for _, c := range cases {
		eachVersion(func(valkey bool, version int, begin func() *builder) {
			since := c.redis
			if valkey {
				since = c.valkey
			}
			if c.op == 243 && since == 0 && (valkey || version >= 13) {
				return // the number is another opcode's there
			}
			data := begin().raw(c.op).raw(c.body...).done()
			for _, o := range []rdb.InspectOptions{{}, {Deep: true, Size: int64(len(data))}, {Digest: true}} {
				_, err := inspect(data, o)
				if has := since > 0 && version >= since; has != (err == nil) || !has && code(err) != rdb.CodeOpcode {
					t.Errorf("%s, opcode %d in version %d: %v", c.name, c.op, version, err)
				}
			}
		})
	}
}
