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
