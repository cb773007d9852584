package aof

import (
	"bytes"
	"fmt"
	"io"
)

const (
	// minPassed is how many bytes of an argument it is worth to pass over unread:
	// to copy them costs more than a further call, unless they lie in the page
	// cache in one piece, which a server's small writes do not make.
	minPassed = 8 << 10
	// minWindow is how much is read behind such an argument: all that lies
	// between two of them, more often than not.
	minWindow = 512
	// firstWindow is how much is read at first, for most files are small.
	firstWindow = 16 << 10
)

// passer is a source that can leave bytes unread.
type passer interface {
	pass(n int64) bool
}

// maxEmptyReads is how often a source may give nothing before it is stuck.
const maxEmptyReads = 100

// input is the bytes of a file, read in large blocks, so that what is passed
// over costs nothing but arithmetic.
type input struct {
	src io.Reader

	buf      []byte // grows with the window, to bufferSize
	pos, end int    // buf[pos:end] is read and not yet consumed
	base     int64  // the file's offset of buf[0]
	ended    bool   // the source has no more
	window   int    // how far the next fill fills the buffer

	capture io.Writer // gets what is consumed; nil: nobody
	mark    int       // buf[mark:pos] is consumed and not yet given to it
}

func newInput(src io.Reader, offset int64) input {
	return input{src: src, base: offset, window: firstWindow}
}

// offset is how many bytes of the file are consumed.
func (in *input) offset() int64 { return in.base + int64(in.pos) }

// fill reads until the buffer holds the next n bytes, and as many more as the
// window has room for, or the source has ended.
func (in *input) fill(n int) error {
	if err := in.give(); err != nil {
		return err
	}
	limit := max(n, in.window)
	in.window = min(2*in.window, bufferSize)
	to := in.buf
	if limit > len(to) {
		to = make([]byte, limit)
	}
	in.end = copy(to, in.buf[in.pos:in.end])
	in.base += int64(in.pos)
	in.buf, in.pos, in.mark = to, 0, 0
	for empty := 0; in.end < limit && !in.ended; {
		got, err := in.src.Read(in.buf[in.end:limit])
		// A source that breaks io.Reader's promise must not break this package's.
		if got < 0 || got > limit-in.end {
			return fmt.Errorf("read file at byte %d: the source counts wrongly", in.base+int64(in.end))
		}
		in.end += got
		switch {
		case err == io.EOF:
			in.ended = true
		case err != nil:
			return fmt.Errorf("read file at byte %d: %w", in.base+int64(in.end), err)
		case got > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return fmt.Errorf("read file at byte %d: %w", in.base+int64(in.end), io.ErrNoProgress)
			}
		}
	}
	return nil
}

// give gives the capture what was consumed since it was last called.
func (in *input) give() error {
	if in.capture == nil || in.pos == in.mark {
		return nil
	}
	_, err := in.capture.Write(in.buf[in.mark:in.pos])
	in.mark = in.pos
	return err
}

// peek returns the next n bytes, at most the buffer's, without consuming them;
// fewer only where the file ends. They are valid until the next call.
func (in *input) peek(n int64) ([]byte, error) {
	if n > int64(in.end-in.pos) && !in.ended {
		if err := in.fill(int(n)); err != nil {
			return nil, err
		}
	}
	return in.buf[in.pos:min(in.end, in.pos+int(n))], nil
}

// number consumes a line of a mark and digits. Anything else is damage; record
// is where the command begins that the line belongs to.
func (in *input) number(mark byte, record int64) (int64, error) {
	line, err := in.peek(maxLine)
	if err != nil {
		return 0, err
	}
	if len(line) == 0 {
		return 0, errShort
	}
	// Nineteen digits, which is all that leaves room for a line end, cannot
	// overflow n.
	n, i := uint64(0), 1
	for ; i < len(line) && line[i]-'0' <= 9; i++ {
		n = n*10 + uint64(line[i]-'0')
	}
	rest := line[i:]
	switch {
	case line[0] == mark && i > 1 && len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n':
		if n > maxLength {
			return 0, damage(CodeLength, in.offset(), "a length of %d, in the command at byte %d", n, record)
		}
		in.pos += i + 2
		return int64(n), nil
	case line[0] == mark && len(line) < maxLine && (len(rest) == 0 || len(rest) == 1 && rest[0] == '\r' && i > 1):
		return 0, errShort
	}
	return 0, damage(CodeFormat, in.offset(), "%s where '%c' and a number should stand, in the command at byte %d", quote(line), mark, record)
}

// maxLength is the longest argument: redis-check-aof's limit, so that two more
// bytes cannot overflow.
const maxLength = 1<<63 - 1 - 2

// skip consumes an argument of n bytes, however many, and its line end.
func (in *input) skip(n int64, record int64) error {
	for n > int64(in.end-in.pos) {
		n -= int64(in.end - in.pos)
		in.pos = in.end
		if in.ended {
			return errShort
		}
		if in.pass(n) {
			n = 0
		}
		if err := in.fill(0); err != nil {
			return err
		}
	}
	in.pos += int(n)
	// The line end, which may lie behind the buffer's.
	end, err := in.peek(2)
	switch {
	case err != nil:
		return err
	case string(end) == "\r\n":
		in.pos += 2
		return nil
	case len(end) == 0 || string(end) == "\r":
		return errShort
	}
	return damage(CodeFormat, in.offset(), "%s where an argument should end, in the command at byte %d", quote(end), record)
}

// pass leaves n bytes behind, of which none is in the buffer, if the source can
// and if that is worth it.
func (in *input) pass(n int64) bool {
	src, ok := in.src.(passer)
	if !ok || n < minPassed || in.capture != nil || !src.pass(n) {
		return false
	}
	in.base += int64(in.end) + n
	in.pos, in.end, in.window = 0, 0, minWindow
	return true
}

// line consumes a line of at most limit bytes, its end included, and returns it;
// nil if it is longer. It is valid until the next call.
func (in *input) line(limit int) ([]byte, error) {
	have, err := in.peek(int64(limit))
	if err != nil {
		return nil, err
	}
	if end := bytes.IndexByte(have, '\n'); end >= 0 {
		in.pos += end + 1
		return have[:end+1], nil
	}
	if len(have) < limit {
		return nil, errShort
	}
	return nil, nil
}
