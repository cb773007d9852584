package rdb

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// References of every length, from every distance that is copied in a way of its
// own, repeat what a copy byte by byte does and touch nothing before the place;
// behind it they may, as far as it is still to be written.
func TestLZFCopy(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for distance := 1; distance <= 40; distance++ {
		for n := 1; n <= 264; n++ {
			for _, behind := range []int{0, 1, 15, 16, 64} {
				out := randomBytes(random, 50+n+behind)
				want := bytes.Clone(out)
				at := 50
				for i := range n {
					want[at+i] = want[at-distance+i]
				}
				lzfCopy(out, at, at-distance, n)
				if !bytes.Equal(out[:at+n], want[:at+n]) {
					t.Fatalf("%d bytes from %d before, with %d behind: %x, want %x", n, distance, behind, out[:at+n], want[:at+n])
				}
			}
		}
	}
}
