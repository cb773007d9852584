package rdb

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// Integers are written as strconv writes them: around every power of ten and of
// two, and at random of every length.
func TestPutDecimal(t *testing.T) {
	numbers := []int64{0, math.MinInt64, math.MaxInt64}
	for power := int64(1); power > 0 && power <= math.MaxInt64/10; power *= 10 {
		numbers = append(numbers, power-1, power, power+1, 1-power, -power, -1-power)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for shift := range 64 {
		numbers = append(numbers, 1<<shift-1, 1<<shift, -1<<shift)
		for range 100 {
			numbers = append(numbers, int64(random.Uint64()>>shift), -int64(random.Uint64()>>shift))
		}
	}
	for _, n := range numbers {
		var b [maxDecimal]byte
		if got, want := string(b[:putDecimal(&b, n)]), strconv.FormatInt(n, 10); got != want {
			t.Errorf("%s is written as %s", want, got)
		}
	}
}
