package rdb

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// Digest is a 128-bit number that stands for the logical value of one key, or,
// added up, for those of a set of keys: two sets hold the same data if their
// sums are equal, whatever the order and the encodings. DIGEST.md defines it
// to the byte. The zero value is the sum of no keys.
type Digest struct{ hi, lo uint64 }

const (
	// DigestSize is the length of a digest's bytes.
	DigestSize = 16
	// DigestVersion is the version of the definition: digests of different
	// versions say nothing about each other.
	DigestVersion = 2
)

// Add returns the sum of both, modulo 2^128.
func (d Digest) Add(other Digest) Digest {
	lo, carry := bits.Add64(d.lo, other.lo, 0)
	hi, _ := bits.Add64(d.hi, other.hi, carry)
	return Digest{hi, lo}
}

// Sub takes away what Add added.
func (d Digest) Sub(other Digest) Digest {
	lo, borrow := bits.Sub64(d.lo, other.lo, 0)
	hi, _ := bits.Sub64(d.hi, other.hi, borrow)
	return Digest{hi, lo}
}

// Bytes is the number in sixteen bytes, the most significant first.
func (d Digest) Bytes() (b [DigestSize]byte) {
	binary.BigEndian.PutUint64(b[:8], d.hi)
	binary.BigEndian.PutUint64(b[8:], d.lo)
	return b
}

// DigestOf reads what [Digest.Bytes] gives.
func DigestOf(b [DigestSize]byte) Digest {
	return Digest{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// String writes the number in 32 hexadecimal digits.
func (d Digest) String() string {
	b := d.Bytes()
	return hex.EncodeToString(b[:])
}

// MarshalText writes the form of [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [Digest.MarshalText] writes.
func (d *Digest) UnmarshalText(text []byte) error {
	var b [DigestSize]byte
	if len(text) != 2*DigestSize {
		return fmt.Errorf("parse digest %q: want %d hexadecimal digits", text, 2*DigestSize)
	}
	if _, err := hex.Decode(b[:], text); err != nil {
		return fmt.Errorf("parse digest %q: %w", text, err)
	}
	*d = DigestOf(b)
	return nil
}
