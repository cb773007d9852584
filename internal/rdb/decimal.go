package rdb

import "math/bits"

// maxDecimal is how many bytes putDecimal may write to.
const maxDecimal = 20

// digitPairs are the numbers of two digits, one behind the other.
const digitPairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"

// putDecimal writes n in decimal to the beginning of dst and returns how many
// bytes that are. Integers are a good part of what dumps hold, and the most
// laborious to write as a digest takes them.
func putDecimal(dst *[maxDecimal]byte, n int64) int {
	at, u := 0, uint64(n)
	if n < 0 {
		dst[0], at, u = '-', 1, -u
	}
	if u < 10 {
		dst[at] = '0' + byte(u)
		return at + 1
	}
	end := at + decimalDigits(u)
	at = end
	// Eight digits at a time, so that one division does not wait for another.
	for u >= 100_000_000 {
		low := uint32(u % 100_000_000)
		u /= 100_000_000
		at -= 8
		high, rest := low/10_000, low%10_000
		putPair(dst, at, high/100)
		putPair(dst, at+2, high%100)
		putPair(dst, at+4, rest/100)
		putPair(dst, at+6, rest%100)
	}
	left := uint32(u)
	for left >= 100 {
		at -= 2
		putPair(dst, at, left%100)
		left /= 100
	}
	if left < 10 {
		dst[at-1] = '0' + byte(left)
	} else {
		putPair(dst, at-2, left)
	}
	return end
}

func putPair(dst *[maxDecimal]byte, at int, pair uint32) {
	dst[at], dst[at+1] = digitPairs[2*pair], digitPairs[2*pair+1]
}

// powersOfTen are 10 to the index, but for the first: even zero has a digit.
var powersOfTen = [...]uint64{0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// decimalDigits is how many digits a number has. Its length in bits says that,
// by the logarithm of two, or one too few.
func decimalDigits(u uint64) int {
	digits := bits.Len64(u) * 1233 >> 12
	_, less := bits.Sub64(u, powersOfTen[digits], 0)
	return digits + 1 - int(less)
}
