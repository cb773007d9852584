package rdb

import (
	"encoding/binary"
	"errors"
	"slices"
)

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
	dst = slices.Grow(dst, size)
	out := dst[start : start+size]
	at := 0 // in out
	for i := 0; i < len(packed); {
		control := int(packed[i])
		i++
		if control < 32 { // a run of literals
			n := control + 1
			if n > len(packed)-i {
				return dst, errLZFShort
			}
			if n > len(out)-at {
				return dst, errLZFLong
			}
			// A copy of fixed length is much faster, where what it overwrites is
			// still to be written.
			if i+lzfRun <= len(packed) && at+lzfRun <= len(out) {
				*(*[lzfRun]byte)(out[at:]) = *(*[lzfRun]byte)(packed[i:])
			} else {
				copy(out[at:], packed[i:i+n])
			}
			at += n
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
		from := at - (control&31<<8 | int(packed[i])) - 1
		i++
		if from < 0 {
			return dst, errLZFRef
		}
		if n > len(out)-at {
			return dst, errLZFLong
		}
		lzfCopy(out, at, from, n)
		at += n
	}
	if at != len(out) {
		return dst, errLZFLess
	}
	return dst[:start+size], nil
}

const (
	lzfRun  = 32 // the longest run of literals
	lzfWord = 16
)

// lzfCopy repeats n bytes that were written before, at from. They may overlap
// those that are being written, and then repeat themselves.
func lzfCopy(out []byte, at, from, n int) {
	// Words of fixed length are much faster, where what the last one overwrites is
	// still to be written.
	if at+n+lzfWord <= len(out) {
		switch distance := at - from; {
		case distance >= lzfWord:
			for end := at + n; at < end; at, from = at+lzfWord, from+lzfWord {
				*(*[lzfWord]byte)(out[at:]) = *(*[lzfWord]byte)(out[from:])
			}
			return
		case distance >= 8:
			for end := at + n; at < end; at, from = at+8, from+8 {
				*(*[8]byte)(out[at:]) = *(*[8]byte)(out[from:])
			}
			return
		case distance == 1:
			word := uint64(out[from]) * 0x0101010101010101
			for end := at + n; at < end; at += 8 {
				binary.LittleEndian.PutUint64(out[at:], word)
			}
			return
		}
	}
	for n > 0 { // each time as much as there is by then
		done := copy(out[at:at+n], out[from:at])
		at += done
		n -= done
	}
}
