package rdb

import "encoding/binary"

// The checksum by carry-less multiplication, after "Fast CRC Computation for
// Generic Polynomials Using PCLMULQDQ Instruction" (Gopal and others, Intel,
// 2009), in its form for reflected checksums.
//
// To a CRC the data is a polynomial over GF(2), the earliest bit its highest
// power, and only its remainder modulo the polynomial of Jones, P, counts. A
// block H·x⁶⁴+L of 128 bits that stands n bits before another may therefore be
// replaced by H·(xⁿ⁺⁶⁴ mod P) + L·(xⁿ mod P), which is shorter than 128 bits and
// is added to the other. Four blocks are moved over the next four at once, since
// a multiplication takes longer than it keeps the multiplier; at the end the
// four are moved into one, and that one is summed by tables.
//
// Numbers are reflected: bit 0 is the highest power. Multiplying two such
// numbers of 64 bits gives 127 bits where 128 are read, so the product stands
// for x times what is meant, and each key has one power less.
const (
	foldBlock = 64            // bytes that foldCRC64 takes at once
	minFold   = 2 * foldBlock // below it tables are as fast
)

// foldKeys are, in pairs, for the half of a block that stands first in memory
// and for the other, how blocks move over foldBlock bytes and over one block.
// The test beside computes them anew.
var foldKeys = [4]uint64{
	0xaf86efb16d9ab4fb, // x⁵⁷⁵ mod P, reflected
	0xf49784a634f014e4, // x⁵¹¹ mod P
	0xd9d7be7d505da32c, // x¹⁹¹ mod P
	0x381d0015c96f4444, // x¹²⁷ mod P
}

// foldedCRC64 is UpdateCRC64 of whole blocks, at least one.
func foldedCRC64(crc uint64, blocks []byte) uint64 {
	var left [16]byte
	first, second := foldCRC64(crc, blocks)
	binary.LittleEndian.PutUint64(left[:8], first)
	binary.LittleEndian.PutUint64(left[8:], second)
	return chainCRC64(0, left[:])
}
