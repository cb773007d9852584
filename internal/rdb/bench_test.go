package rdb_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// benchDumps are dumps of typical shapes, some tens of megabytes each.
func benchDumps() map[string][]byte {
	small := newDump(10).selectDB(0)
	for i := range 500_000 {
		small.raw(252).u64(4102444800000).str(fmt.Sprintf("session:%08d", i), string(noise(24)))
	}
	medium := newDump(10).selectDB(0)
	body := string(noise(1024))
	for i := range 50_000 {
		medium.str(fmt.Sprintf("page:%08d", i), body)
	}
	hashes := newDump(10).selectDB(0)
	for i := range 5_000 {
		hashes.key(4, fmt.Sprintf("user:%08d", i)).num(200)
		for f := range 200 {
			hashes.text(fmt.Sprintf("field-%d", f), "some value of it")
		}
	}
	large := newDump(10).selectDB(0).str("a", string(noise(64<<20)))
	packed := newDump(10).selectDB(0)
	var fields []string
	for f := range 40 {
		fields = append(fields, fmt.Sprintf("field-%d", f), "some value of it")
	}
	blob := listpackOf(fields...)
	for i := range 20_000 {
		packed.key(16, fmt.Sprintf("user:%08d", i)).text(blob)
	}
	return map[string][]byte{"packed": packed.done(), "small": small.done(), "1KiB": medium.done(), "hashes": hashes.done(), "64MiB": large.done()}
}

func BenchmarkInspect(b *testing.B) { benchInspect(b, false) }

func BenchmarkDigest(b *testing.B) { benchInspect(b, true) }

func benchInspect(b *testing.B, digest bool) {
	for name, data := range benchDumps() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := inspect(data, rdb.InspectOptions{Size: int64(len(data)), Digest: digest}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	data := benchDumps()["small"]
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r := rdb.NewReader(bytes.NewReader(data), rdb.Options{})
		for {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
