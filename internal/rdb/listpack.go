package rdb

import (
	"encoding/binary"
	"fmt"
)

// listpack is listpack.c's blob: length in four bytes, count in two (65535:
// unknown), entries, 0xff. An entry is followed by its own length, written so
// that it can be read backwards.
type listpack struct {
	rest   []byte // entries and the end mark
	count  int    // announced; -1: unknown
	seen   int
	memory number
}

const (
	listpackHeader  = 6
	listpackUnknown = 0xffff
	packedEnd       = 0xff
)

func (l *listpack) open(blob []byte) error {
	if len(blob) < listpackHeader+1 {
		return fmt.Errorf("a listpack of %d bytes has no header", len(blob))
	}
	if n := binary.LittleEndian.Uint32(blob); uint64(n) != uint64(len(blob)) {
		return fmt.Errorf("a listpack of %d bytes says it has %d", len(blob), n)
	}
	count := int(binary.LittleEndian.Uint16(blob[4:]))
	if count == listpackUnknown {
		count = -1
	}
	l.rest, l.count, l.seen = blob[listpackHeader:], count, 0
	return nil
}

func (l *listpack) announced() int { return min(max(l.count, 0), len(l.rest)/2) }

func (l *listpack) next() ([]byte, error) {
	// A number or a string of one byte's header, sound: nearly always.
	if len(l.rest) > 2 && l.rest[0] < 0xc0 {
		b, n := l.rest[0], 1
		if b >= 0x80 {
			n += int(b & 0x3f)
		}
		if n < len(l.rest) && int(l.rest[n]) == n {
			element := l.rest[1:n]
			l.rest = l.rest[n+1:]
			l.seen++
			if b < 0x80 {
				return l.memory.text(int64(b)), nil
			}
			return element, nil
		}
	}
	if len(l.rest) == 0 {
		return nil, fmt.Errorf("a listpack has no end")
	}
	if l.rest[0] == packedEnd {
		if len(l.rest) > 1 {
			return nil, fmt.Errorf("a listpack ends %d bytes early", len(l.rest)-1)
		}
		if l.count >= 0 && l.count != l.seen {
			return nil, fmt.Errorf("a listpack of %d elements says it has %d", l.seen, l.count)
		}
		return nil, nil
	}
	header, body, err := listpackSizes(l.rest)
	if err != nil {
		return nil, err
	}
	entry := header + body
	if entry > uint64(len(l.rest)) {
		return nil, fmt.Errorf("a listpack's element of %d bytes has %d", entry, len(l.rest))
	}
	element := l.decode(l.rest[:entry], header)
	back := backLength(entry)
	tail := l.rest[entry:]
	if len(tail) < back || !backLengthIs(tail[:back], entry) {
		return nil, fmt.Errorf("a listpack's element of %d bytes is not followed by its length", entry)
	}
	l.rest = tail[back:]
	l.seen++
	return element, nil
}

// integer is of use for numbers of one byte and for those of a fixed width.
func (l *listpack) integer() (int64, bool) {
	if len(l.rest) < 2 {
		return 0, false
	}
	b, entry := l.rest[0], 1
	switch {
	case b < 0x80:
	case b >= 0xc0 && b < 0xe0:
		entry = 2
	case b >= 0xf1 && b <= 0xf3:
		entry = int(b-0xf1) + 3
	case b == 0xf4:
		entry = 9
	default:
		return 0, false
	}
	if entry >= len(l.rest) || int(l.rest[entry]) != entry {
		return 0, false
	}
	n := listpackInt(l.rest[:entry])
	l.rest = l.rest[entry+1:]
	l.seen++
	return n, true
}

// listpackInt is the number that an entry is.
func listpackInt(entry []byte) int64 {
	switch b := entry[0]; {
	case b < 0x80:
		return int64(b)
	case b < 0xe0:
		return (int64(b&0x1f)<<8 | int64(entry[1])) << 51 >> 51 // the sign is bit 12
	}
	return littleInt(entry[1:])
}

// listpackSizes returns how many bytes of an entry say what it is, and how
// many follow. The numbers that live in the first bytes have no body.
func listpackSizes(p []byte) (header, body uint64, err error) {
	b := p[0]
	switch {
	case b < 0x80: // 7-bit number
		return 1, 0, nil
	case b < 0xc0: // string up to 63 bytes
		return 1, uint64(b & 0x3f), nil
	case b < 0xe0: // 13-bit number
		return 2, 0, nil
	case b < 0xf0: // string up to 4095 bytes
		if len(p) < 2 {
			return 0, 0, fmt.Errorf("a listpack ends inside a length")
		}
		return 2, uint64(b&0x0f)<<8 | uint64(p[1]), nil
	case b == 0xf0: // string
		if len(p) < 5 {
			return 0, 0, fmt.Errorf("a listpack ends inside a length")
		}
		return 5, uint64(binary.LittleEndian.Uint32(p[1:])), nil
	case b == 0xf1, b == 0xf2, b == 0xf3: // numbers of 16, 24, 32 bits
		return 1, uint64(b-0xf1) + 2, nil
	case b == 0xf4: // 64 bits
		return 1, 8, nil
	}
	return 0, 0, fmt.Errorf("byte 0x%02x begins no element of a listpack", b)
}

// decode returns an entry's element; the entry is whole.
func (l *listpack) decode(entry []byte, header uint64) []byte {
	if b := entry[0]; b < 0x80 || b >= 0xc0 && b < 0xe0 || b >= 0xf1 {
		return l.memory.text(listpackInt(entry))
	}
	return entry[header:]
}

// backLength is how many bytes an entry's length takes behind it: seven bits
// each, where the greatest number of each size already takes the next
// (lpEncodeBacklen).
func backLength(entry uint64) int {
	switch {
	case entry < 1<<7:
		return 1
	case entry < 1<<14-1:
		return 2
	case entry < 1<<21-1:
		return 3
	case entry < 1<<28-1:
		return 4
	}
	return 5
}

// backLengthIs checks the length behind an entry: most significant first, all
// but the first byte marked.
func backLengthIs(p []byte, entry uint64) bool {
	for i := len(p) - 1; i >= 0; i-- {
		want := byte(entry & 0x7f)
		if i > 0 {
			want |= 0x80
		}
		if p[i] != want {
			return false
		}
		entry >>= 7
	}
	return true
}
