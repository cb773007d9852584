package rdb

import "errors"

// lzfMaxRatio is the most one compressed byte can stand for: a three-byte
// reference copies up to 264 bytes.
const lzfMaxRatio = 88

var (
	errLZFShort = errors.New("a run or a reference reaches past the compressed bytes")
	errLZFRef   = errors.New("a reference reaches before the first byte")
	errLZFLong  = errors.New("it holds more bytes than announced")
	errLZFLess  = errors.New("it holds fewer bytes than announced")
)

// lzfPlausible tells whether packed bytes of LZF can hold exactly size bytes.
func lzfPlausible(packed, size uint64) bool {
	return packed > 0 && size > 0 &&
		size/lzfMaxRatio <= packed && // at best all references
		packed <= size+size/32+1 // at worst all literals, 32 to a run
}

// lzfAppend decompresses packed onto dst and expects exactly size bytes of it.
// The caller has checked with [lzfPlausible] that size is in proportion.
func lzfAppend(dst, packed []byte, size int) ([]byte, error) {
	start := len(dst)
	end := start + size
	for i := 0; i < len(packed); {
		control := int(packed[i])
		i++
		if control < 32 { // a run of literals
			n := control + 1
			if n > len(packed)-i {
				return dst, errLZFShort
			}
			if n > end-len(dst) {
				return dst, errLZFLong
			}
			dst = append(dst, packed[i:i+n]...)
			i += n
			continue
		}
		n := control>>5 + 2
		if n == 9 {
			if i >= len(packed) {
				return dst, errLZFShort
			}
			n += int(packed[i])
			i++
		}
		if i >= len(packed) {
			return dst, errLZFShort
		}
		from := len(dst) - (control&31<<8 | int(packed[i])) - 1
		i++
		if from < start {
			return dst, errLZFRef
		}
		if n > end-len(dst) {
			return dst, errLZFLong
		}
		// The source may overlap what is being written: byte after byte then.
		if from+n <= len(dst) {
			dst = append(dst, dst[from:from+n]...)
			continue
		}
		for range n {
			dst = append(dst, dst[from])
			from++
		}
	}
	if len(dst) != end {
		return dst, errLZFLess
	}
	return dst, nil
}
