package rdb_test

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

const lorem = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua. " +
	"Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat. " +
	"Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur. " +
	"Excepteur sint occaecat cupidatat non proident, sunt in culpa qui officia deserunt mollit anim id est laborum.\x00"

func TestCRC64KnownVectors(t *testing.T) {
	// The check values of crc64.c, its text with the final zero byte of C.
	cases := map[string]uint64{
		"":          0,
		"123456789": 0xe9c6d914c4b8d9ca,
		lorem:       0xc7794709e69683b3,
	}
	for text, want := range cases {
		if got := rdb.UpdateCRC64(0, []byte(text)); got != want {
			t.Errorf("crc64 of %q is %016x, want %016x", text, got, want)
		}
	}
}

// The standard library computes the same polynomial, inverted before and after.
func TestCRC64AgainstStandardLibrary(t *testing.T) {
	table := crc64.MakeTable(0x95ac9329ac4bc9b5)
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 70_000)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 255, 1024, 4095, 65_536, 70_000} {
		want := ^crc64.Update(^uint64(0), table, data[:n])
		if got := rdb.UpdateCRC64(0, data[:n]); got != want {
			t.Errorf("%d bytes give %016x, want %016x", n, got, want)
		}
		var sum rdb.CRC64
		for rest := data[:n]; len(rest) > 0; {
			step := min(1+random.IntN(5000), len(rest))
			sum.Write(rest[:step])
			rest = rest[step:]
		}
		if sum.Sum64() != want {
			t.Errorf("%d bytes in pieces give %016x, want %016x", n, sum.Sum64(), want)
		}
	}
}

// One wrong bit always shows. A checksum is linear: what a flipped bit does to
// it depends on how far the bit is from the end and on nothing else, so one bit
// followed by every number of zero bytes stands for every bit of every dump of
// that length, however its bytes are cut into blocks.
func TestCRC64SeesEveryBit(t *testing.T) {
	longest := 0
	for _, file := range dumpFiles(t) {
		longest = max(longest, len(file.data))
	}
	for bit := range 8 {
		change := rdb.UpdateCRC64(0, []byte{1 << bit})
		for behind := range longest {
			if change == 0 {
				t.Fatalf("bit %d with %d bytes behind it does not show", bit, behind)
			}
			change = rdb.UpdateCRC64(change, []byte{0})
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	a, b, sum := make([]byte, 40_000), make([]byte, 40_000), make([]byte, 40_000)
	for range 50 {
		n := random.IntN(len(a))
		for i := range n {
			a[i], b[i] = byte(random.Uint32()), byte(random.Uint32())
			sum[i] = a[i] ^ b[i]
		}
		if rdb.UpdateCRC64(0, sum[:n]) != rdb.UpdateCRC64(0, a[:n])^rdb.UpdateCRC64(0, b[:n]) {
			t.Fatalf("the checksum of %d bytes is not linear", n)
		}
	}
}
