package rdb

import (
	"encoding/binary"
	"fmt"
)

// ziplist is ziplist.c's blob, the predecessor of listpacks until Redis 6.2:
// length, offset of the last entry, count in two bytes (65535: unknown),
// entries, 0xff. An entry begins with the length of the one before it.
type ziplist struct {
	textual
	blob     []byte
	at       int // offset of the next entry
	previous int // bytes of the entry before it
	last     int // offset of the last entry, announced
	count    int // announced; -1: unknown
	seen     int
	memory   number
}

const ziplistHeader = 10

func (z *ziplist) open(blob []byte) error {
	if len(blob) < ziplistHeader+1 {
		return fmt.Errorf("a ziplist of %d bytes has no header", len(blob))
	}
	if n := binary.LittleEndian.Uint32(blob); uint64(n) != uint64(len(blob)) {
		return fmt.Errorf("a ziplist of %d bytes says it has %d", len(blob), n)
	}
	last := binary.LittleEndian.Uint32(blob[4:])
	if uint64(last) >= uint64(len(blob)) {
		return fmt.Errorf("a ziplist of %d bytes says its last element is at %d", len(blob), last)
	}
	count := int(binary.LittleEndian.Uint16(blob[8:]))
	if count == listpackUnknown {
		count = -1
	}
	z.blob, z.at, z.previous = blob, ziplistHeader, 0
	z.last, z.count, z.seen = int(last), count, 0
	return nil
}

func (z *ziplist) announced() int { return min(max(z.count, 0), len(z.blob)/2) }

func (z *ziplist) next() ([]byte, error) {
	rest := z.blob[z.at:]
	if len(rest) == 0 {
		return nil, fmt.Errorf("a ziplist has no end")
	}
	if rest[0] == packedEnd {
		return nil, z.checkEnd(rest)
	}
	// The length of the entry before: one byte, or 254 and four more.
	previous, header := int(rest[0]), 1
	if rest[0] == 254 {
		if len(rest) < 5 {
			return nil, fmt.Errorf("a ziplist ends inside a length")
		}
		previous, header = int(binary.LittleEndian.Uint32(rest[1:])), 5
	}
	if previous != z.previous {
		return nil, fmt.Errorf("a ziplist's element says the one before it takes %d bytes instead of %d", previous, z.previous)
	}
	element, size, err := z.element(rest[header:])
	if err != nil {
		return nil, err
	}
	z.previous = header + size
	z.at += z.previous
	z.seen++
	return element, nil
}

func (z *ziplist) checkEnd(rest []byte) error {
	if len(rest) > 1 {
		return fmt.Errorf("a ziplist ends %d bytes early", len(rest)-1)
	}
	if z.count >= 0 && z.count != z.seen {
		return fmt.Errorf("a ziplist of %d elements says it has %d", z.seen, z.count)
	}
	// Of an empty one the last entry is said to be where the first would be.
	if z.at-z.previous != z.last {
		return fmt.Errorf("a ziplist's last element is at %d and said to be at %d", z.at-z.previous, z.last)
	}
	return nil
}

// element decodes what follows the previous entry's length, and tells how many
// bytes it takes.
func (z *ziplist) element(p []byte) ([]byte, int, error) {
	if len(p) == 0 {
		return nil, 0, fmt.Errorf("a ziplist ends inside an element")
	}
	b := p[0]
	if b >= 0xf1 && b <= 0xfd { // 0 to 12
		return z.memory.text(int64(b) - 0xf1), 1, nil
	}
	header, body, isNumber := 1, uint64(0), false
	switch {
	case b < 0x40:
		body = uint64(b)
	case b < 0x80:
		header = 2
	case b == 0x80:
		header = 5
	case b == 0xc0:
		body, isNumber = 2, true
	case b == 0xd0:
		body, isNumber = 4, true
	case b == 0xe0:
		body, isNumber = 8, true
	case b == 0xf0:
		body, isNumber = 3, true
	case b == 0xfe:
		body, isNumber = 1, true
	default:
		return nil, 0, fmt.Errorf("byte 0x%02x begins no element of a ziplist", b)
	}
	if len(p) < header {
		return nil, 0, fmt.Errorf("a ziplist ends inside a length")
	}
	switch header {
	case 2:
		body = uint64(b&0x3f)<<8 | uint64(p[1])
	case 5:
		body = uint64(binary.BigEndian.Uint32(p[1:]))
	}
	if body > uint64(len(p)-header) {
		return nil, 0, fmt.Errorf("a ziplist's element of %d bytes has %d", body, len(p)-header)
	}
	content := p[header : header+int(body) : header+int(body)]
	if isNumber {
		content = z.memory.text(littleInt(content))
	}
	return content, header + int(body), nil
}
