package rdb_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime/metrics"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slotark/slotark/internal/rdb"
)

const (
	// fixedMemory is what any reading may allocate: buffers and first tables.
	fixedMemory = 4 << 20
	// hang is how long a reading of a fuzz test's input, some kilobytes, may take.
	hang = 20 * time.Second
	// memoryRatio is what a byte of input may make it allocate beyond that: LZF
	// makes 88 bytes of one, and a result is copied as it grows.
	memoryRatio = 400
)

// outcome is what came of reading a dump.
type outcome struct {
	err    error
	damage string // the finding; "": none
	first  int64  // where the first record ends
	end    int64
	crc    uint64
	digest rdb.Digest
	keys   int
}

// readDump reads a dump to its end. It fails the test where the reader ends with
// anything but the end or a finding, or takes more memory than the bytes justify.
func readDump(t *testing.T, data []byte, o rdb.Options) (out outcome) {
	t.Helper()
	watch := time.AfterFunc(hang, func() { panic(fmt.Sprintf("%+v: no end with a dump of %d bytes", o, len(data))) })
	defer watch.Stop()
	before := allocated()
	r := rdb.NewReader(bytes.NewReader(data), o)
	for out.err == nil {
		var rec *rdb.Record
		rec, out.err = r.Next()
		if out.err == nil && rec.Kind == rdb.KindKey {
			out.keys++
			out.digest = out.digest.Add(rec.Digest)
		}
		if out.first == 0 && out.err == nil {
			out.first = r.Offset()
		}
	}
	out.end, out.crc = r.Offset(), r.CRC64()
	if took := allocated() - before; took > fixedMemory+memoryRatio*uint64(len(data)) {
		t.Fatalf("%+v: %d bytes allocated for a dump of %d", o, took, len(data))
	}
	if out.err != io.EOF {
		found := damageOf(out.err)
		if found == nil {
			t.Fatalf("%+v: neither the end nor a finding: %v", o, out.err)
		}
		out.damage = found.Error()
	}
	if out.end > int64(len(data)) {
		t.Fatalf("%+v: %d of %d bytes consumed", o, out.end, len(data))
	}
	return out
}

// allocated is how many bytes this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// holdReadings reads a dump in every way and holds the outcomes against each other.
func holdReadings(t *testing.T, data []byte) {
	t.Helper()
	for _, size := range []int64{0, int64(len(data))} {
		skipped := readDump(t, data, rdb.Options{Size: size})
		deep := readDump(t, data, rdb.Options{Size: size, Deep: true})
		digested := readDump(t, data, rdb.Options{Size: size, Digest: true})
		again := readDump(t, data, rdb.Options{Size: size, Digest: true})
		if again.damage != digested.damage || again.digest != digested.digest {
			t.Fatalf("size %d: first %q %s, then %q %s", size, digested.damage, digested.digest, again.damage, again.digest)
		}
		if deep.damage != digested.damage || deep.end != digested.end {
			t.Fatalf("size %d: deep finds %q, a digest %q", size, deep.damage, digested.damage)
		}
		// What is sound deeply is sound, over the same bytes, record by record.
		if deep.first > 0 && deep.first != skipped.first {
			t.Fatalf("size %d: the first record ends at %d deeply and at %d skipped", size, deep.first, skipped.first)
		}
		if deep.damage == "" && (skipped.damage != "" || skipped.end != deep.end || skipped.crc != deep.crc || skipped.keys != deep.keys) {
			t.Fatalf("size %d: sound deeply, and skipped: %q", size, skipped.damage)
		}
	}
}

// FuzzInspect is given whole dumps.
func FuzzInspect(f *testing.F) {
	for _, file := range dumpFiles(f) {
		if len(file.data) <= 2<<10 {
			f.Add(file.data)
		}
	}
	for _, b := range []*builder{newTypes(), valkeyTypes(), oldTypes()} {
		f.Add(b.unsealed())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		holdReadings(t, data)
		o := rdb.InspectOptions{Deep: true, Duplicates: true, Size: int64(len(data))}
		report, err := inspect(data, o)
		o.Size = 0
		streamed, errStreamed := rdb.Inspect(context.Background(), iotest.HalfReader(bytes.NewReader(data)), o)
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

// newestFor is a dump that may hold a type of Redis, or of Valkey.
func newestFor(valkey bool) *builder {
	if valkey {
		return newValkeyDump(80)
	}
	return newDump(15).raw(242, 7, 2).text("a", "b")
}

// FuzzValue is given a value of any type.
func FuzzValue(f *testing.F) {
	for _, v := range values() {
		f.Add(v.valkey, v.typ, v.body)
	}
	f.Fuzz(func(t *testing.T, valkey bool, typ byte, body []byte) {
		holdReadings(t, newestFor(valkey).key(typ, "k").raw(body...).unsealed())
	})
}

// fuzzBlob is given packed collections, each as the value of one of some types.
func fuzzBlob(f *testing.F, types []byte, seeds ...string) {
	for i := range types {
		for _, seed := range seeds {
			f.Add(byte(i), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, blob []byte) {
		typ := types[int(which)%len(types)]
		b := newestFor(false).key(typ, "k")
		switch typ {
		case 14: // a list of one node
			b.num(1)
		case 15: // a stream of one
			b.num(1).text(id1)
		case 18:
			b.num(1).num(2)
		case 24, 25: // behind the earliest expiry
			b.u64(5)
		}
		b.text(string(blob))
		if typ == 15 {
			b.num(1).num(0).num(1).num(0)
		}
		holdReadings(t, b.unsealed())
	})
}

func FuzzListpack(f *testing.F) {
	fuzzBlob(f, []byte{16, 17, 20, 18, 25, 30, 15}, listpackOf(), listpackOf("7", "b"), listpackOf("a", "300", "-70000"),
		listpackOf("a", strings.Repeat("x", 100), "b", strings.Repeat("y", 5000)), listpackOf("f", "v", "5", "g", "w", "0"),
		listpackOf("1", "0", "1", "f", "0", "2", "1", "0", "v", "4"), listpackOf("7", "1", "2"))
}

func FuzzZiplist(f *testing.F) {
	fuzzBlob(f, []byte{10, 12, 13, 14}, ziplistOf(), ziplistOf("a", "300"), ziplistOf("a", "12", "b", "-70000"),
		ziplistOf("a", strings.Repeat("x", 300), "b", strings.Repeat("y", 20_000)), ziplistOf("1", "8388607", "2", "9223372036854775807"))
}

func FuzzIntset(f *testing.F) {
	fuzzBlob(f, []byte{11}, "\x02\x00\x00\x00\x00\x00\x00\x00", "\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00",
		"\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80", "\x08\x00\x00\x00\x01\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08")
}

func FuzzZipmap(f *testing.F) {
	fuzzBlob(f, []byte{9}, "\x00\xff", "\x01\x01f\x01\x00v\xff", "\x02\x01f\x01\x02v..\x01g\x00\x00\xff", "\xfe\xfe\x01\x00\x00\x00f\x01\x00v\xff")
}

// FuzzQuicklist is given the nodes of lists, old and new.
func FuzzQuicklist(f *testing.F) {
	nodes := func() *builder { return new(builder) }
	f.Add(true, nodes().num(2).num(1).text("plain").num(2).text(listpackOf("a", "1")).data)
	f.Add(true, nodes().num(1).num(2).text(listpackOf()).data)
	f.Add(false, nodes().num(2).text(ziplistOf("a"), ziplistOf("b", "2")).data)
	f.Fuzz(func(t *testing.T, isNew bool, body []byte) {
		typ := byte(14)
		if isNew {
			typ = 18
		}
		holdReadings(t, newestFor(false).key(typ, "k").raw(body...).unsealed())
	})
}

// FuzzStream is given streams of the five layouts.
func FuzzStream(f *testing.F) {
	types := []byte{15, 19, 21, 26, 27}
	for i, typ := range types {
		f.Add(byte(i), streamBody(typ))
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		holdReadings(t, newestFor(false).key(types[int(which)%len(types)], "k").raw(body...).unsealed())
	})
}

// FuzzModule is given what modules write: values, data beside the keys, metadata.
func FuzzModule(f *testing.F) {
	values := new(builder).num(moduleID("testtype-", 3)).num(1).num(1<<40).num(2).num(3).num(3).raw(0, 0, 0, 0).num(4).double(2).num(5).text("s").num(0).data
	f.Add(byte(0), values)
	f.Add(byte(1), new(builder).num(moduleID("auxmodule", 1)).num(2).num(1).num(5).text("data").num(0).data)
	f.Add(byte(2), new(builder).num(1).raw('A', 'B', 'C', 'D').num(2).num(5).num(0).str("k", "v").data)
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		b := newestFor(false)
		switch which % 3 {
		case 0:
			b.key(7, "k")
		case 1:
			b.raw(247)
		case 2:
			b.raw(243)
		}
		holdReadings(t, b.raw(body...).unsealed())
	})
}

// FuzzLZF is given compressed strings and how long they say they are: as a key
// one is unpacked at once, as a value piece by piece where it is large. Both say
// the same, and a digest does not see that it was compressed.
func FuzzLZF(f *testing.F) {
	f.Add(uint32(8), []byte{0x07, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})
	f.Add(uint32(8), []byte{0x00, 'a', 0xa0, 0})
	f.Add(uint32(1), []byte{0x20, 0x05})
	large := []byte{0, 'a'}
	for range 1136 {
		large = append(large, 0xe0, 0xff, 0)
	}
	f.Add(uint32(299_905), large)
	f.Add(uint32(299_906), append(large, 0, 'b'))
	f.Fuzz(func(t *testing.T, size uint32, packed []byte) {
		compressed := func(b *builder) *builder {
			return b.raw(0xc3).num(uint64(len(packed))).num(uint64(size)).raw(packed...)
		}
		asKey := compressed(newDump(10).raw(0)).text("v").unsealed()
		asValue := compressed(newDump(10).key(0, "k")).unsealed()
		holdReadings(t, asKey)
		holdReadings(t, asValue)
		rec, errKey := rdb.NewReader(bytes.NewReader(asKey), rdb.Options{}).Next()
		value := readDump(t, asValue, rdb.Options{Digest: true})
		if (errKey == nil) != (value.damage == "") {
			t.Fatalf("as a key: %v; as a value: %q", errKey, value.damage)
		}
		if errKey != nil {
			return
		}
		if len(rec.Key) != int(size) {
			t.Fatalf("%d bytes instead of %d", len(rec.Key), size)
		}
		plain := readDump(t, newDump(10).str("k", string(rec.Key)).unsealed(), rdb.Options{Digest: true})
		if plain.digest != value.digest {
			t.Fatalf("compressed it has the digest %s, plain %s", value.digest, plain.digest)
		}
	})
}
