package rdb

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// writeBuffer is how much of a dump is summed and handed on at once.
const writeBuffer = 128 << 10

// Writer makes a new dump out of records of others: their values are written as
// they were read, under a header, a footer and a checksum of the dump's own. It is
// for one goroutine. Its errors are those of what it writes to; the first stays.
type Writer struct {
	buf *bufio.Writer
	sum *summing
	db  int // that was selected last; -1 for none
}

// summing writes through and keeps the checksum of what it wrote.
type summing struct {
	to  io.Writer
	crc uint64
}

func (s *summing) Write(p []byte) (int, error) {
	s.crc = UpdateCRC64(s.crc, p)
	return s.to.Write(p)
}

// NewWriter begins a dump. The header's version has to be at least that of every
// dump whose records are written.
func NewWriter(to io.Writer, h Header) *Writer {
	sum := &summing{to: to}
	w := &Writer{buf: bufio.NewWriterSize(sum, writeBuffer), sum: sum, db: -1}
	_, _ = w.buf.WriteString(h.magic()) // a bufio.Writer keeps its first error
	return w
}

// magic is what a dump begins with.
func (h Header) magic() string {
	if h.valkey() {
		return fmt.Sprintf("VALKEY%03d", h.Version)
	}
	return fmt.Sprintf("REDIS%04d", h.Version)
}

// Aux writes a named fact.
func (w *Writer) Aux(name, value string) {
	_ = w.buf.WriteByte(opAux)
	w.string([]byte(name))
	w.string([]byte(value))
}

// Function writes the code of a library. A server does not load a dump with two
// libraries of one name.
func (w *Writer) Function(code []byte) {
	_ = w.buf.WriteByte(opFunction)
	w.string(code)
}

// Counts begins a database with how many keys are to come, and how many of them
// expire, as servers do. It is a hint, by which a server makes its tables large
// enough at once: it may be wrong, but one that is far too high costs memory.
func (w *Writer) Counts(db int, keys, expiring uint64) {
	w.choose(db)
	_ = w.buf.WriteByte(opResizeDB)
	w.length(keys)
	w.length(expiring)
}

// choose has what follows belong to a database.
func (w *Writer) choose(db int) {
	if db != w.db {
		_ = w.buf.WriteByte(opSelectDB)
		w.length(uint64(db))
		w.db = db
	}
}

// Key writes everything of a key up to its value, whose bytes, as
// [Options.Capture] got them, are written next, by Write. The key is a
// [Record.Portable] one.
func (w *Writer) Key(r *Record) {
	w.choose(r.DB)
	if r.HasExpiry {
		_ = w.buf.WriteByte(opExpireMS)
		_, _ = w.buf.Write(binary.LittleEndian.AppendUint64(w.buf.AvailableBuffer(), uint64(r.ExpireAt)))
	}
	if r.HasIdle {
		_ = w.buf.WriteByte(opIdle)
		w.length(uint64(r.IdleSeconds))
	}
	if r.HasFreq {
		_ = w.buf.WriteByte(opFreq)
		_ = w.buf.WriteByte(r.Freq)
	}
	_ = w.buf.WriteByte(r.Type)
	w.string(r.Key)
}

// Write implements io.Writer for a key's value.
func (w *Writer) Write(p []byte) (int, error) { return w.buf.Write(p) }

// Close ends the dump with its checksum. What it is written to stays open.
func (w *Writer) Close() error {
	_ = w.buf.WriteByte(opEOF)
	if err := w.buf.Flush(); err != nil {
		return err
	}
	_, err := w.sum.to.Write(binary.LittleEndian.AppendUint64(nil, w.sum.crc))
	return err
}

// string writes a string as it is, behind its length.
func (w *Writer) string(text []byte) {
	w.length(uint64(len(text)))
	_, _ = w.buf.Write(text)
}

// length writes a number as rdbSaveLen in rdb.c does.
func (w *Writer) length(n uint64) {
	to := w.buf.AvailableBuffer()
	switch {
	case n < 1<<6:
		to = append(to, byte(n))
	case n < 1<<14:
		to = append(to, 0x40|byte(n>>8), byte(n))
	case n < 1<<32:
		to = binary.BigEndian.AppendUint32(append(to, 0x80), uint32(n))
	default:
		to = binary.BigEndian.AppendUint64(append(to, 0x81), n)
	}
	_, _ = w.buf.Write(to)
}
