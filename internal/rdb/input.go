package rdb

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	// bufferSize is a compromise: large enough that refills are rare, small
	// enough that the checksum still finds the bytes in the second-level cache.
	bufferSize = 256 << 10
	// leastRead is how much of a page is not worth a read of its own.
	leastRead = 8 << 10
	// maxString bounds what is materialised: Redis's own limit for a key.
	maxString = 512 << 20
	// scratchKept is the most memory that is kept from one value to the next.
	scratchKept = 1 << 20
	// maxEmptyReads is how often a source may give nothing before it is stuck.
	maxEmptyReads = 100
)

// input is the dump's bytes: read in large blocks, checksummed and captured
// block by block when they are left behind, so that the records' hot path is
// nothing but index arithmetic.
type input struct {
	src  io.Reader
	size int64 // of the whole dump; <= 0: unknown

	buf      []byte
	pos, end int   // buf[pos:end] is read and not yet consumed
	base     int64 // the dump's offset of buf[0]
	ended    bool  // the source has no more

	crc    uint64
	hashed int // buf[:hashed] is in crc

	pages     pages // nil: buf is all the memory there is
	capture   io.Writer
	capturing bool
	captured  int // buf[captured:pos] is still to be written to capture

	scratch []byte // for what must lie in one piece and is longer than buf
}

// pages is memory for an input whose values are looked at where they were read,
// after the input has gone on.
type pages interface {
	// turn returns other memory for buf, of the same size. What it held stays as
	// it is.
	turn() []byte
	// keeps tells whether a value, of which so many bytes are consumed, is to lie
	// in one piece in buf and not to be captured.
	keeps(bytes int) bool
}

func newInput(src io.Reader, size int64) *input {
	return &input{src: src, size: size, buf: make([]byte, bufferSize)}
}

// offset is how many bytes of the dump are consumed.
func (in *input) offset() int64 { return in.base + int64(in.pos) }

// remaining is how many bytes the dump can still hold.
func (in *input) remaining() uint64 {
	if in.size <= 0 {
		return math.MaxInt64
	}
	return uint64(max(in.size-in.offset(), 0))
}

// settle brings checksum and capture up to what is consumed, before the bytes
// are overwritten.
//
// The checksum takes a quarter to a half of the reading. It is computed here and
// not in a goroutine of its own: a Reader has no Close that could wait for one,
// and where dumps are read, compression and the network keep the other
// processors busy.
func (in *input) settle() error {
	in.crc = UpdateCRC64(in.crc, in.buf[in.hashed:in.pos])
	in.hashed = in.pos
	return in.handOver()
}

// handOver brings the capture up to what is consumed.
func (in *input) handOver() error {
	if !in.capturing || in.captured == in.pos {
		return nil
	}
	chunk := in.buf[in.captured:in.pos]
	in.captured = in.pos
	if n, err := in.capture.Write(chunk); err != nil {
		return fmt.Errorf("capture value at byte %d: %w", in.offset(), err)
	} else if n < len(chunk) {
		return fmt.Errorf("capture value at byte %d: %w", in.offset(), io.ErrShortWrite)
	}
	return nil
}

// checksum is the CRC64 of everything consumed.
func (in *input) checksum() (uint64, error) {
	err := in.settle()
	return in.crc, err
}

// beginCapture and endCapture enclose the bytes of one value.
func (in *input) beginCapture() {
	in.capturing = in.capture != nil
	in.captured = in.pos
}

func (in *input) endCapture() error {
	if !in.capturing {
		return nil
	}
	if in.pages == nil || !in.pages.keeps(in.pos-in.captured) {
		if err := in.handOver(); err != nil {
			return err
		}
	}
	in.capturing = false
	return nil
}

// makeRoom leaves behind what is consumed, and moves what is not to the front.
func (in *input) makeRoom() error {
	if in.pages != nil {
		return in.turnPage()
	}
	if err := in.settle(); err != nil {
		return err
	}
	copy(in.buf, in.buf[in.pos:in.end])
	in.base += int64(in.pos)
	in.end -= in.pos
	in.pos, in.hashed, in.captured = 0, 0, 0
	return nil
}

// turnPage goes on in other memory, and takes what there is of the value along.
func (in *input) turnPage() error {
	in.crc = UpdateCRC64(in.crc, in.buf[in.hashed:in.pos])
	keep := in.pos
	// Room is left for the rest of the value, or for so much of it that it is seen
	// to be too long.
	if begun := in.pos - in.captured; in.capturing && begun <= len(in.buf)/2 && in.pages.keeps(begun) {
		keep = in.captured
	} else if err := in.handOver(); err != nil {
		return err
	}
	next := in.pages.turn()
	copy(next, in.buf[keep:in.end])
	in.buf, in.base = next, in.base+int64(keep)
	in.pos, in.end, in.captured = in.pos-keep, in.end-keep, 0
	in.hashed = in.pos
	return nil
}

// isFull tells whether n bytes, or many enough to be worth a read, have no room
// behind those that are not consumed.
func (in *input) isFull(n int) bool {
	if in.pages != nil {
		return in.pos+n > len(in.buf) || in.end > len(in.buf)-leastRead
	}
	return in.pos == in.end || in.pos+n > len(in.buf)
}

// more reads until at least n unconsumed bytes lie in the buffer. n is at most
// the buffer's size. The dump's end before that is damage; any other failure
// of the source is not.
func (in *input) more(n int) error {
	if in.isFull(n) {
		if err := in.makeRoom(); err != nil {
			return err
		}
	}
	for empty := 0; in.end-in.pos < n; {
		if in.ended {
			return in.truncated()
		}
		got, err := in.src.Read(in.buf[in.end:])
		// A source that breaks io.Reader's promise must not break this package's.
		if got < 0 || got > len(in.buf)-in.end {
			return fmt.Errorf("read dump at byte %d: the source counts wrongly", in.base+int64(in.end))
		}
		in.end += got
		switch {
		case err == io.EOF:
			in.ended = true
		case err != nil:
			return fmt.Errorf("read dump at byte %d: %w", in.base+int64(in.end), err)
		case got > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return fmt.Errorf("read dump at byte %d: %w", in.base+int64(in.end), io.ErrNoProgress)
			}
		}
	}
	return nil
}

// truncated is the damage of a dump whose source ends where it stands.
func (in *input) truncated() error {
	end := in.base + int64(in.end)
	if in.size > 0 && end < in.size {
		return damage(CodeTruncated, end, "the dump ends here, %d bytes before its announced size", in.size-end)
	}
	return damage(CodeTruncated, end, "the dump ends here, before its footer")
}

// atEnd tells whether the source holds nothing more.
func (in *input) atEnd() (bool, error) {
	if in.pos < in.end {
		return false, nil
	}
	err := in.more(1)
	if _, isDamage := err.(*Damage); isDamage {
		return true, nil
	}
	return false, err
}

// byte consumes one byte.
func (in *input) byte() (byte, error) {
	if in.pos == in.end {
		if err := in.more(1); err != nil {
			return 0, err
		}
	}
	b := in.buf[in.pos]
	in.pos++
	return b, nil
}

// fixed consumes n bytes, few, and returns them; they are valid until the next call.
func (in *input) fixed(n int) ([]byte, error) {
	if in.end-in.pos < n {
		if err := in.more(n); err != nil {
			return nil, err
		}
	}
	b := in.buf[in.pos : in.pos+n]
	in.pos += n
	return b, nil
}

// uint32 consumes four bytes, the least significant first.
func (in *input) uint32() (uint32, error) {
	b, err := in.fixed(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// uint64 consumes eight bytes, the least significant first.
func (in *input) uint64() (uint64, error) {
	b, err := in.fixed(8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// skip consumes n bytes, however many. What cannot be there is damage before
// it is waited for.
func (in *input) skip(n uint64) error {
	if n <= uint64(in.end-in.pos) {
		in.pos += int(n)
		return nil
	}
	if err := in.fits(n); err != nil {
		return err
	}
	for {
		have := min(uint64(in.end-in.pos), n)
		in.pos += int(have)
		if n -= have; n == 0 {
			return nil
		}
		if err := in.more(1); err != nil {
			return err
		}
	}
}

// fits checks an announced length against what can still come.
func (in *input) fits(n uint64) error {
	if left := in.remaining(); n > left {
		return damage(CodeTruncated, in.offset(), "%d bytes are announced here and at most %d can follow", n, left)
	}
	return nil
}

// appendBytes consumes n bytes onto dst. dst grows with the bytes that are
// really there, so a lying length costs nothing.
func (in *input) appendBytes(dst []byte, n uint64) ([]byte, error) {
	if err := in.fits(n); err != nil {
		return dst, err
	}
	for {
		have := int(min(uint64(in.end-in.pos), n))
		dst = append(dst, in.buf[in.pos:in.pos+have]...)
		in.pos += have
		if n -= uint64(have); n == 0 {
			return dst, nil
		}
		if err := in.more(1); err != nil {
			return dst, err
		}
	}
}

// bytes consumes n bytes and returns them in one piece, valid until the next call.
func (in *input) bytes(n uint64) ([]byte, error) {
	if n > bufferSize {
		if cap(in.scratch) > scratchKept {
			in.scratch = nil // one huge value must not hold its memory for ever
		}
		var err error
		in.scratch, err = in.appendBytes(in.scratch[:0], n)
		return in.scratch, err
	}
	if err := in.fits(n); err != nil {
		return nil, err
	}
	return in.fixed(int(n))
}

// eachByte consumes n bytes and hands them on in pieces, valid during the call.
func (in *input) eachByte(n uint64, emit func([]byte)) error {
	if err := in.fits(n); err != nil {
		return err
	}
	for {
		have := int(min(uint64(in.end-in.pos), n))
		emit(in.buf[in.pos : in.pos+have])
		in.pos += have
		if n -= uint64(have); n == 0 {
			return nil
		}
		if err := in.more(1); err != nil {
			return err
		}
	}
}
