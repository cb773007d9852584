package rdb

import (
	"encoding/binary"
	"strconv"
)

// How a string is written, where it is not plain: rdb.h, RDB_ENC_*.
const (
	encInt8  = 0
	encInt16 = 1
	encInt32 = 2
	encLZF   = 3
)

// lengthOrEncoding reads RDB's variable-length number: a length, or one of the
// four special encodings of a string. The two highest bits of the first byte
// say which: 6 bits, 14 bits, 4 or 8 bytes, an encoding. Lengths are the only
// numbers of the format whose most significant byte comes first.
func (in *input) lengthOrEncoding() (n uint64, encoded bool, err error) {
	if at := in.pos; at+1 < in.end { // most are short and lie in the buffer
		if b := in.buf[at]; b < 0x40 {
			in.pos = at + 1
			return uint64(b), false, nil
		} else if b < 0x80 {
			in.pos = at + 2
			return uint64(b&0x3f)<<8 | uint64(in.buf[at+1]), false, nil
		}
	}
	return in.longLengthOrEncoding()
}

// longLengthOrEncoding is lengthOrEncoding of whatever there can be.
func (in *input) longLengthOrEncoding() (n uint64, encoded bool, err error) {
	b, err := in.byte()
	if err != nil {
		return 0, false, err
	}
	switch {
	case b < 0x40:
		return uint64(b), false, nil
	case b < 0x80:
		low, err := in.byte()
		return uint64(b&0x3f)<<8 | uint64(low), false, err
	case b == 0x80:
		raw, err := in.fixed(4)
		if err != nil {
			return 0, false, err
		}
		return uint64(binary.BigEndian.Uint32(raw)), false, nil
	case b == 0x81:
		raw, err := in.fixed(8)
		if err != nil {
			return 0, false, err
		}
		return binary.BigEndian.Uint64(raw), false, nil
	case b >= 0xc0 && b <= 0xc0+encLZF:
		return uint64(b & 0x3f), true, nil
	}
	return 0, false, damage(CodeLength, in.offset()-1, "byte 0x%02x begins no length", b)
}

// number reads a length where no special encoding may stand.
func (in *input) number() (uint64, error) {
	n, encoded, err := in.lengthOrEncoding()
	if err == nil && encoded {
		return 0, damage(CodeLength, in.offset()-1, "a string's encoding stands where a number is expected")
	}
	return n, err
}

// count reads how many items follow, each of at least itemBytes.
func (in *input) count(itemBytes uint64) (uint64, error) {
	at := in.offset()
	n, err := in.number()
	if err != nil {
		return 0, err
	}
	if left := in.remaining(); n > left/itemBytes {
		return 0, damage(CodeTruncated, at, "%d items are announced here and at most %d bytes can follow", n, left)
	}
	return n, nil
}

// lzfHeader reads the two lengths of a compressed string and checks that they
// can belong together.
func (in *input) lzfHeader() (packed, size uint64, err error) {
	at := in.offset()
	if packed, err = in.number(); err != nil {
		return 0, 0, err
	}
	if size, err = in.number(); err != nil {
		return 0, 0, err
	}
	if !lzfPlausible(packed, size) {
		return 0, 0, damage(CodeLZF, at, "%d compressed bytes cannot hold %d", packed, size)
	}
	return packed, size, nil
}

// skipString consumes a string in whatever encoding.
func (in *input) skipString() error {
	if next := shortString(in.buf[:in.end], in.pos); next > 0 && next <= in.end-in.pos {
		in.pos += next
		return nil
	}
	n, encoded, err := in.lengthOrEncoding()
	if err != nil {
		return err
	}
	if !encoded {
		return in.skip(n)
	}
	if n != encLZF {
		return in.skip(1 << n) // 0, 1, 2 are integers of 1, 2, 4 bytes
	}
	packed, _, err := in.lzfHeader()
	if err != nil {
		return err
	}
	return in.skip(packed)
}

// skipStrings consumes n strings, behind each of which stand trail bytes. It is
// the hot path of every hash table, list and sorted set, so short strings that
// lie whole in the buffer cost a few instructions each and everything else goes
// to skipString.
func (in *input) skipStrings(n uint64, trail int) error {
	for n > 0 {
		window := in.buf[:in.end]
		at := in.pos
		for n > 0 {
			size := shortString(window, at)
			if size == 0 || size+trail > len(window)-at {
				break
			}
			at += size + trail
			n--
		}
		in.pos = at
		if n == 0 {
			break
		}
		if err := in.skipString(); err != nil {
			return err
		}
		if err := in.skip(uint64(trail)); err != nil {
			return err
		}
		n--
	}
	return nil
}

// shortString is how many bytes the string at a place of window takes, where
// its first two bytes say that, else 0: it is long, compressed, cut off or
// damaged.
func shortString(window []byte, at int) int {
	if at+1 >= len(window) {
		return 0
	}
	switch b := window[at]; {
	case b < 0x40:
		return 1 + int(b)
	case b < 0x80:
		return 2 + int(b&0x3f)<<8 + int(window[at+1])
	case b >= 0xc0 && b <= 0xc0+encInt32:
		return 1 + 1<<(b&0x3f)
	}
	return 0
}

// appendString materialises a string onto dst: numbers as decimal text,
// compressed ones decompressed exactly. limit bounds its length.
func (in *input) appendString(dst []byte, limit uint64) ([]byte, error) {
	at := in.offset()
	n, encoded, err := in.lengthOrEncoding()
	if err != nil {
		return dst, err
	}
	if encoded {
		return in.appendEncoded(dst, n, limit)
	}
	if n > limit {
		return dst, damage(CodeLength, at, "a string of %d bytes stands where at most %d are allowed", n, limit)
	}
	return in.appendBytes(dst, n)
}

// appendEncoded materialises a string in one of the special encodings.
func (in *input) appendEncoded(dst []byte, encoding, limit uint64) ([]byte, error) {
	if encoding == encLZF {
		return in.appendLZF(dst, limit)
	}
	value, err := in.encodedInt(encoding)
	if err != nil {
		return dst, err
	}
	return strconv.AppendInt(dst, value, 10), nil
}

// encodedInt consumes a string that is written as an integer.
func (in *input) encodedInt(encoding uint64) (int64, error) {
	raw, err := in.fixed(1 << encoding)
	if err != nil {
		return 0, err
	}
	switch encoding {
	case encInt8:
		return int64(int8(raw[0])), nil
	case encInt16:
		return int64(int16(binary.LittleEndian.Uint16(raw))), nil
	}
	return int64(int32(binary.LittleEndian.Uint32(raw))), nil
}

// appendLZF materialises a compressed string.
func (in *input) appendLZF(dst []byte, limit uint64) ([]byte, error) {
	at := in.offset()
	packed, size, err := in.lzfHeader()
	if err != nil {
		return dst, err
	}
	if size > limit {
		return dst, damage(CodeLength, at, "a string of %d bytes stands where at most %d are allowed", size, limit)
	}
	body, err := in.bytes(packed)
	if err != nil {
		return dst, err
	}
	// What is really there bounds what the result takes, by the ratio checked
	// in the header.
	dst, err = lzfAppend(dst, body, int(size))
	if err != nil {
		return dst, damage(CodeLZF, at, "a string of %d bytes compressed to %d: %v", size, packed, err)
	}
	return dst, nil
}
