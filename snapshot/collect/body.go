package collect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// markBytes is the length of the random mark that ends a diskless dump:
// CONFIG_RUN_ID_SIZE in server.h.
const markBytes = 40

// ErrCut is returned when the node closes the connection inside the dump.
var ErrCut = errors.New("the node closed the connection before the dump's end")

// syncBody is a dump as it arrives, with errors that say whose it was.
type syncBody struct {
	*stream
	body io.Reader
	read int64
}

func (b *syncBody) Close() error { return b.conn.Close() }

func (b *syncBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.read += int64(n)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, fmt.Errorf("sync from %s, after %d bytes: %w", b.addr, b.read, b.explain(err))
}

// waiting reads from the connection and lets the node be silent for a while
// before each read.
type waiting struct{ *stream }

func (w waiting) Read(p []byte) (int, error) {
	w.extend()
	n, err := w.reader.Read(p)
	if err == io.EOF {
		err = ErrCut
	}
	return n, err
}

// sized reads a dump of announced length: "$<len>".
type sized struct {
	from io.Reader
	left int64
}

func (s *sized) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.from.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.left == 0 {
		// The dump is whole: a close that came with its last bytes, as TLS
		// reports it, is no loss.
		return n, nil
	}
	return n, err
}

// marked reads a dump of unknown length that ends with a mark: "$EOF:<mark>".
// The mark is looked for everywhere, not only at the end of a read as redis-cli
// does: what follows it in the same read made redis-cli 7.0 wait for ever
// (redis#11261).
type marked struct {
	from    io.Reader
	mark    []byte
	skips   [256]uint8 // see index
	buf     []byte     // what was read; buf[start:] is not given out yet
	start   int
	ready   int // how much of buf[start:] certainly is dump, not the mark's beginning
	ended   bool
	failure error
}

func newMarked(from io.Reader, mark string) *marked {
	m := &marked{from: from, mark: []byte(mark), buf: make([]byte, 0, 256<<10)}
	for i := range m.skips {
		m.skips[i] = uint8(len(mark))
	}
	for i := range len(mark) - 1 {
		m.skips[mark[i]] = uint8(len(mark) - 1 - i)
	}
	return m
}

// index is where the mark stands in the buffer, or -1 (Horspool's algorithm). All of a
// dump is searched, of which most bytes can be no part of a mark: wherever one stands at
// the place of the mark's last byte, none of the 39 before is looked at. bytes.Index looks
// at each for the first one, a digit, of which data is full: BenchmarkMarkedDump.
func (m *marked) index() int {
	for last := len(m.mark) - 1; last < len(m.buf); {
		b := m.buf[last]
		if first := last - len(m.mark) + 1; b == m.mark[len(m.mark)-1] && bytes.Equal(m.buf[first:last+1], m.mark) {
			return first
		}
		last += int(m.skips[b])
	}
	return -1
}

func (m *marked) Read(p []byte) (int, error) {
	for m.ready == 0 {
		if m.ended {
			return 0, io.EOF
		}
		if m.failure != nil {
			return 0, m.failure
		}
		m.fill()
	}
	n := copy(p, m.buf[m.start:m.start+m.ready])
	m.start += n
	m.ready -= n
	return n, nil
}

// fill reads once and decides how much of what is there is dump: all before
// the mark, or all but what could be the mark's beginning. It is called with
// less than a mark left in the buffer, so what it moves is short.
func (m *marked) fill() {
	kept := copy(m.buf, m.buf[m.start:])
	n, err := m.from.Read(m.buf[kept:cap(m.buf)])
	m.buf, m.start = m.buf[:kept+n], 0
	m.failure = err
	if at := m.index(); at >= 0 {
		m.ready, m.ended = at, true
		return
	}
	m.ready = max(0, len(m.buf)-len(m.mark)+1)
}
