package rdb

import (
	"math/rand/v2"
	"testing"
)

// crcWays are the ways to make the sum that this processor has. The tables are
// what every other one falls back to, so they are tested everywhere.
func crcWays() map[string]func(uint64, []byte) uint64 {
	ways := map[string]func(uint64, []byte) uint64{"tables": tableCRC64, "chosen": UpdateCRC64}
	if canFold {
		ways["folded"] = func(crc uint64, p []byte) uint64 {
			whole := len(p) &^ (foldBlock - 1)
			if whole > 0 {
				crc = foldedCRC64(crc, p[:whole])
			}
			return plainCRC64(crc, p[whole:])
		}
	}
	return ways
}

// plainCRC64 follows the definition, bit by bit.
func plainCRC64(crc uint64, p []byte) uint64 {
	for _, b := range p {
		crc ^= uint64(b)
		for range 8 {
			crc = crc>>1 ^ crc&1*crcJonesRev
		}
	}
	return crc
}

func randomBytes(random *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func TestCRC64WaysAgreeOnEveryLength(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := randomBytes(random, 1024+64)
	for name, update := range crcWays() {
		for n := range 1025 {
			from, crc := random.IntN(64), random.Uint64()
			p := data[from : from+n]
			if got, want := update(crc, p), plainCRC64(crc, p); got != want {
				t.Fatalf("%s: %d bytes from %d behind %016x give %016x, want %016x", name, n, from, crc, got, want)
			}
		}
	}
}

func TestCRC64WaysAgreeOnEveryAlignment(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	data := randomBytes(random, 3*crcLane+64)
	for name, update := range crcWays() {
		for from := range 64 {
			for _, n := range []int{64, 128, 129, 191, 256, 2*crcLane + 77, 3 * crcLane} {
				p, crc := data[from:from+n], random.Uint64()
				if got, want := update(crc, p), plainCRC64(crc, p); got != want {
					t.Fatalf("%s: %d bytes from %d give %016x, want %016x", name, n, from, got, want)
				}
			}
		}
	}
}

func TestCRC64WaysAgreeOnEverySplit(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	data := randomBytes(random, 777)
	want := plainCRC64(0, data)
	for name, update := range crcWays() {
		for at := range len(data) + 1 {
			if got := update(update(0, data[:at]), data[at:]); got != want {
				t.Fatalf("%s: split at %d gives %016x, want %016x", name, at, got, want)
			}
		}
	}
}

// foldKeys are powers of x, found here by the definition: multiplied by x and
// reduced, the highest power first, then reflected by being written so.
func TestFoldKeys(t *testing.T) {
	for i, power := range []int{8*foldBlock + 63, 8*foldBlock - 1, 128 + 63, 128 - 1} {
		want := uint64(1) << 63 // x⁰, reflected
		for range power {
			want = want>>1 ^ want&1*crcJonesRev
		}
		if foldKeys[i] != want {
			t.Errorf("key %d, x to the %d, is %#016x, want %#016x", i, power, foldKeys[i], want)
		}
	}
}

func FuzzCRC64(f *testing.F) {
	random := rand.New(rand.NewPCG(9, 10))
	f.Add(uint64(0), []byte("123456789"), uint16(4))
	f.Add(^uint64(0), randomBytes(random, 300), uint16(150))
	f.Add(uint64(1), randomBytes(random, 2*crcLane+65), uint16(foldBlock))
	f.Fuzz(func(t *testing.T, crc uint64, data []byte, split uint16) {
		want := plainCRC64(crc, data)
		at := min(int(split), len(data))
		for name, update := range crcWays() {
			if got := update(crc, data); got != want {
				t.Errorf("%s: %016x, want %016x", name, got, want)
			}
			if got := update(update(crc, data[:at]), data[at:]); got != want {
				t.Errorf("%s, split at %d: %016x, want %016x", name, at, got, want)
			}
		}
	})
}

// BenchmarkCRC64 shows the ways beside each other.
func BenchmarkCRC64(b *testing.B) {
	data := randomBytes(rand.New(rand.NewPCG(11, 12)), 128<<10)
	for name, update := range crcWays() {
		b.Run(name, func(b *testing.B) {
			var crc uint64
			for b.Loop() {
				crc = update(crc, data)
			}
			b.ReportMetric(float64(len(data))*float64(b.N)/1e9/b.Elapsed().Seconds(), "GB/s")
		})
	}
}
