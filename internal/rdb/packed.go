package rdb

import (
	"encoding/binary"
	"fmt"
)

// packed walks the elements of a blob in which Redis keeps a small collection.
// Every length is checked against the blob before it is used, and every
// redundancy of the format is held against what is there.
type packed interface {
	// open begins a blob. What was open before is forgotten.
	open(blob []byte) error
	// next returns the next element, valid until the next call, or nil at the
	// end; an empty element is not nil. Numbers come as decimal text.
	next() ([]byte, error)
	// announced is how many elements there are, as far as that is said and can
	// be: at most one for every two bytes.
	announced() int
	// integer consumes the next element if it is stored as an integer and costs
	// nothing to take as such; next gives any.
	integer() (n int64, ok bool)
}

// textual is what keeps no integers, or none that anybody asks for.
type textual struct{}

func (textual) integer() (int64, bool) { return 0, false }

// number is memory for elements that are stored as integers.
type number [shortCopy]byte

// text is n in decimal.
func (b *number) text(n int64) []byte {
	return b[:putDecimal((*[maxDecimal]byte)(b[:]), n)]
}

// intset is SET_INTSET's blob: width in four bytes, count in four, then the
// numbers, little-endian.
type intset struct {
	rest   []byte
	width  int
	begun  bool
	last   int64
	memory number
}

func (s *intset) open(blob []byte) error {
	if len(blob) < 8 {
		return fmt.Errorf("an intset of %d bytes has no header", len(blob))
	}
	width := binary.LittleEndian.Uint32(blob)
	count := binary.LittleEndian.Uint32(blob[4:])
	if width != 2 && width != 4 && width != 8 {
		return fmt.Errorf("an intset's numbers cannot take %d bytes", width)
	}
	if uint64(len(blob)-8) != uint64(width)*uint64(count) {
		return fmt.Errorf("an intset of %d bytes cannot hold %d numbers of %d bytes", len(blob), count, width)
	}
	s.rest, s.width, s.begun = blob[8:], int(width), false
	return nil
}

func (s *intset) announced() int { return len(s.rest) / s.width }

func (s *intset) next() ([]byte, error) {
	if value, ok := s.integer(); ok {
		return s.memory.text(value), nil
	}
	if len(s.rest) == 0 {
		return nil, nil
	}
	return nil, fmt.Errorf("an intset's %d stands behind %d", littleInt(s.rest[:s.width]), s.last)
}

// integer is the next member, if it is greater than the one before.
func (s *intset) integer() (int64, bool) {
	if len(s.rest) < s.width || len(s.rest) == 0 {
		return 0, false
	}
	var value int64
	switch s.width {
	case 2:
		value = int64(int16(binary.LittleEndian.Uint16(s.rest)))
	case 4:
		value = int64(int32(binary.LittleEndian.Uint32(s.rest)))
	case 8:
		value = int64(binary.LittleEndian.Uint64(s.rest))
	}
	if s.begun && value <= s.last {
		return 0, false
	}
	s.begun, s.last, s.rest = true, value, s.rest[s.width:]
	return value, true
}

// littleInt reads a signed little-endian integer of one to eight bytes.
func littleInt(p []byte) int64 {
	switch len(p) {
	case 1:
		return int64(int8(p[0]))
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(p)))
	case 3:
		return int64(int8(p[2]))<<16 | int64(binary.LittleEndian.Uint16(p))
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(p)))
	case 8:
		return int64(binary.LittleEndian.Uint64(p))
	}
	var n uint64
	for i, b := range p {
		n |= uint64(b) << (8 * i)
	}
	shift := 64 - 8*len(p)
	return int64(n<<shift) >> shift
}

// zipmap is HASH_ZIPMAP's blob, of Redis before 2.6: the number of fields (254:
// unknown), fields and values by turns, after each value's length a count of
// unused bytes behind it.
type zipmap struct {
	textual
	rest    []byte
	count   int // announced fields; -1: unknown
	seen    int
	isValue bool
}

const zipmapLong = 254 // a number that does not fit one byte

func (z *zipmap) open(blob []byte) error {
	if len(blob) < 2 {
		return fmt.Errorf("a zipmap of %d bytes has no header", len(blob))
	}
	z.rest, z.isValue, z.seen = blob[1:], false, 0
	if z.count = int(blob[0]); z.count >= zipmapLong {
		z.count = -1
	}
	return nil
}

func (z *zipmap) announced() int { return min(2*max(z.count, 0), len(z.rest)/2) }

func (z *zipmap) next() ([]byte, error) {
	if len(z.rest) == 0 {
		return nil, fmt.Errorf("a zipmap has no end")
	}
	if z.rest[0] == 0xff {
		if len(z.rest) > 1 || z.isValue {
			return nil, fmt.Errorf("a zipmap ends in the middle")
		}
		if z.count >= 0 && z.count != z.seen {
			return nil, fmt.Errorf("a zipmap of %d fields says it has %d", z.seen, z.count)
		}
		return nil, nil
	}
	n, header := uint64(z.rest[0]), 1
	if n == zipmapLong {
		if len(z.rest) < 5 {
			return nil, fmt.Errorf("a zipmap ends inside a length")
		}
		n, header = uint64(binary.LittleEndian.Uint32(z.rest[1:])), 5
	}
	unused := uint64(0)
	if z.isValue {
		if len(z.rest) <= header {
			return nil, fmt.Errorf("a zipmap ends inside a length")
		}
		unused = uint64(z.rest[header])
		header++
		z.seen++
	}
	body := z.rest[header:]
	if n+unused > uint64(len(body)) {
		return nil, fmt.Errorf("a zipmap's element of %d bytes has %d", n, len(body))
	}
	z.rest = body[n+unused:]
	z.isValue = !z.isValue
	return body[:n:n], nil
}
