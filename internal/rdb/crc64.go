package rdb

import "encoding/binary"

// CRC64 is the checksum of dumps and DUMP payloads: CRC-64/REDIS, polynomial
// 0xad93d23594c935a9 of Jones, reflected, initial value 0, no final inversion
// (crc64.c). The zero value is ready to use. It is a hash.Hash64.
type CRC64 struct{ sum uint64 }

// Write adds p to the checksum. It never fails.
func (c *CRC64) Write(p []byte) (int, error) {
	c.sum = UpdateCRC64(c.sum, p)
	return len(p), nil
}

// Sum appends the checksum as a dump's footer holds it: little-endian.
func (c *CRC64) Sum(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, c.sum) }

// Sum64 is the checksum of what was written.
func (c *CRC64) Sum64() uint64 { return c.sum }

// Reset makes it the checksum of nothing.
func (c *CRC64) Reset() { c.sum = 0 }

// Size is the checksum's length in bytes.
func (c *CRC64) Size() int { return 8 }

// BlockSize is the length of writes that suit the algorithm, in bytes.
func (c *CRC64) BlockSize() int { return crcSlices }

const (
	crcSlices   = 8
	crcJonesRev = 0x95ac9329ac4bc9b5
	// crcLane is the length of each of two stretches that are summed at once.
	crcLane = 4 << 10
)

var (
	// crcTables[k][b] is the checksum of byte b followed by k zero bytes: eight
	// bytes are folded with independent look-ups instead of dependent ones.
	crcTables = buildCRCTables()
	// crcShift[k][b] is what byte b at place k of a checksum becomes by crcLane
	// further zero bytes.
	crcShift = buildCRCShift()
)

func buildCRCTables() *[crcSlices][256]uint64 {
	var tables [crcSlices][256]uint64
	for i := range 256 {
		crc := uint64(i)
		for range 8 {
			crc = crc>>1 ^ crc&1*crcJonesRev
		}
		tables[0][i] = crc
	}
	for i := range 256 {
		crc := tables[0][i]
		for k := 1; k < crcSlices; k++ {
			crc = tables[0][byte(crc)] ^ crc>>8
			tables[k][i] = crc
		}
	}
	return &tables
}

// buildCRCShift uses that a CRC is linear: what a byte becomes is the sum of
// what its bits become.
func buildCRCShift() *[8][256]uint64 {
	var shift [8][256]uint64
	zeros := make([]byte, crcLane)
	for k := range shift {
		for bit := range 8 {
			moved := chainCRC64(1<<(8*k+bit), zeros)
			for b := range 256 {
				if b>>bit&1 == 1 {
					shift[k][b] ^= moved
				}
			}
		}
	}
	return &shift
}

// UpdateCRC64 returns the checksum of the bytes behind crc followed by p: by
// carry-less multiplication where the processor has it and there is enough of
// it, else by tables.
func UpdateCRC64(crc uint64, p []byte) uint64 {
	if canFold && len(p) >= minFold {
		whole := len(p) &^ (foldBlock - 1)
		crc = foldedCRC64(crc, p[:whole])
		p = p[whole:]
	}
	return tableCRC64(crc, p)
}

// tableCRC64 is UpdateCRC64 by tables.
//
// A checksum is a chain of dependent look-ups, so one alone leaves the
// processor waiting: two neighbouring lanes are summed side by side, and the
// first is then moved over the second, which the linearity of a CRC that
// begins with zero allows. That is 1.4 times as fast as sixteen bytes at once.
func tableCRC64(crc uint64, p []byte) uint64 {
	for len(p) >= 2*crcLane {
		a, b := chainTwoCRC64(crc, p[:crcLane], p[crcLane:2*crcLane])
		crc = b
		for k := range crcShift {
			crc ^= crcShift[k][byte(a>>(8*k))]
		}
		p = p[2*crcLane:]
	}
	return chainCRC64(crc, p)
}

func chainCRC64(crc uint64, p []byte) uint64 {
	t := crcTables
	for len(p) >= crcSlices {
		a := crc ^ binary.LittleEndian.Uint64(p)
		crc = t[7][byte(a)] ^ t[6][byte(a>>8)] ^ t[5][byte(a>>16)] ^ t[4][byte(a>>24)] ^
			t[3][byte(a>>32)] ^ t[2][byte(a>>40)] ^ t[1][byte(a>>48)] ^ t[0][a>>56]
		p = p[crcSlices:]
	}
	for _, b := range p {
		crc = t[0][byte(crc)^b] ^ crc>>8
	}
	return crc
}

// chainTwoCRC64 sums p behind crc, and q of the same length, a multiple of
// eight, behind nothing.
func chainTwoCRC64(crc uint64, p, q []byte) (uint64, uint64) {
	t := crcTables
	q = q[:len(p)]
	var second uint64
	for i := 0; i+8 <= len(p); i += 8 {
		a := crc ^ binary.LittleEndian.Uint64(p[i:])
		b := second ^ binary.LittleEndian.Uint64(q[i:])
		crc = t[7][byte(a)] ^ t[6][byte(a>>8)] ^ t[5][byte(a>>16)] ^ t[4][byte(a>>24)] ^
			t[3][byte(a>>32)] ^ t[2][byte(a>>40)] ^ t[1][byte(a>>48)] ^ t[0][a>>56]
		second = t[7][byte(b)] ^ t[6][byte(b>>8)] ^ t[5][byte(b>>16)] ^ t[4][byte(b>>24)] ^
			t[3][byte(b>>32)] ^ t[2][byte(b>>40)] ^ t[1][byte(b>>48)] ^ t[0][b>>56]
	}
	return crc, second
}
