package restore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/slotark/slotark/internal/rdb"
)

// spoolAbove is the size from which a value waits in a file. RESTORE wants the
// length first, and the length is known when the value was read to its end.
const spoolAbove = 4 << 20

// payloadTail is what follows a value in RESTORE's payload: the version in two
// bytes and the CRC64 in eight.
const payloadTail = 10

// value collects one key's value as the dump's reader gives it away: in memory
// while it is small, else in a file that has no name and so is gone with the
// process, however that ends.
type value struct {
	buf  []byte
	file *os.File // nil until a value is large
	size int64    // bytes of the value in all
}

// Write implements io.Writer for [rdb.Options.Capture].
func (v *value) Write(p []byte) (int, error) {
	v.size += int64(len(p))
	if v.size <= spoolAbove {
		v.buf = append(v.buf, p...)
		return len(p), nil
	}
	if err := v.spool(); err != nil {
		return 0, &spoolError{err}
	}
	if _, err := v.file.Write(p); err != nil {
		return 0, &spoolError{err}
	}
	return len(p), nil
}

// spoolError marks trouble with the file, which no other store can mend.
type spoolError struct{ error }

func (e *spoolError) Error() string { return "spool a large value: " + e.error.Error() }
func (e *spoolError) Unwrap() error { return e.error }

// spool moves what is in memory to the file.
func (v *value) spool() error {
	if len(v.buf) == 0 {
		return nil // it is there already
	}
	if v.file == nil {
		file, err := os.CreateTemp("", "slotark-value-*")
		if err != nil {
			return err
		}
		v.file = file
		if err := os.Remove(file.Name()); err != nil {
			return err
		}
	}
	_, err := v.file.Write(v.buf)
	v.buf = v.buf[:0]
	return err
}

// reset makes room for the next value.
func (v *value) reset() error {
	large := v.size > spoolAbove
	v.buf, v.size = v.buf[:0], 0
	if !large || v.file == nil {
		return nil
	}
	_, err := v.file.Seek(0, io.SeekStart)
	return errors.Join(err, v.file.Truncate(0))
}

func (v *value) close() error {
	if v.file == nil {
		return nil
	}
	return v.file.Close()
}

// writeRestore writes RESTORE for a key whose value was collected.
func (v *value) writeRestore(w *bufio.Writer, r *rdb.Record, rdbVersion int) error {
	ttl := int64(0)
	if r.HasExpiry {
		ttl = r.ExpireAt
	}
	args := 5
	if r.HasIdle || r.HasFreq {
		args = 7
	}
	writeHead(w, '*', int64(args))
	writeBulk(w, "RESTORE")
	writeBulk(w, r.Key)
	writeBulk(w, strconv.FormatInt(ttl, 10))
	if err := v.writePayload(w, r.Type, rdbVersion); err != nil {
		return err
	}
	writeBulk(w, "ABSTTL")
	switch {
	case r.HasIdle:
		writeBulk(w, "IDLETIME")
		writeBulk(w, strconv.FormatInt(r.IdleSeconds, 10))
	case r.HasFreq:
		writeBulk(w, "FREQ")
		writeBulk(w, strconv.Itoa(int(r.Freq)))
	}
	return nil
}

// payloadSize is the length of the argument that carries the value.
func (v *value) payloadSize() int64 { return 1 + v.size + payloadTail }

// writePayload writes what rdb.DumpPayload would give, without holding it.
func (v *value) writePayload(w *bufio.Writer, typ byte, rdbVersion int) error {
	writeHead(w, '$', v.payloadSize())
	sum := checksummed{w: w}
	_, _ = sum.Write([]byte{typ})
	if err := v.writeRaw(&sum); err != nil {
		return err
	}
	_, _ = sum.Write([]byte{byte(rdbVersion), byte(rdbVersion >> 8)})
	_, _ = w.Write(binary.LittleEndian.AppendUint64(w.AvailableBuffer(), sum.crc))
	_, err := w.WriteString("\r\n") // a bufio.Writer keeps its first error
	return err
}

// writeRaw writes the value's bytes as they stand in the dump.
func (v *value) writeRaw(to io.Writer) error {
	if v.size > spoolAbove {
		return v.copySpooled(to)
	}
	_, err := to.Write(v.buf)
	return err
}

// checksummed writes through and keeps the checksum of what it wrote.
type checksummed struct {
	w   *bufio.Writer
	crc uint64
}

func (c *checksummed) Write(p []byte) (int, error) {
	c.crc = rdb.UpdateCRC64(c.crc, p)
	return c.w.Write(p)
}

func (v *value) copySpooled(out io.Writer) error {
	if _, err := v.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read a spooled value: %w", err)
	}
	n, err := io.Copy(out, v.file)
	if err == nil && n != v.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("send a spooled value: %w", err)
	}
	return nil
}

// writeHead begins an array or a string: its mark and its length.
func writeHead(w *bufio.Writer, mark byte, n int64) {
	_ = w.WriteByte(mark)
	_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), n, 10))
	_, _ = w.WriteString("\r\n")
}

func writeBulk[T string | []byte](w *bufio.Writer, text T) {
	writeHead(w, '$', int64(len(text)))
	_, _ = w.Write([]byte(text))
	_, _ = w.WriteString("\r\n")
}
