package seal

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// ErrWhole is returned for an object that opens only as a whole: it was compressed as
// one stream, or is smaller than a frame.
var ErrWhole = errors.New("the object opens only as a whole")

// OpenParts returns what was sealed as the lock says, at any place of it: of src, which
// has so many bytes, it reads what a place takes and little more. What is encrypted is
// authenticated before it is handed on, as by [Unseal], and what is compressed is held
// against its checksum; that the rest of the object is whole is not known. It returns
// [ErrWhole] where that cannot be done, and the errors of Unseal. What it returns is for
// one goroutine.
func OpenParts(src io.ReaderAt, bytes int64, l Lock, keys *Identities) (io.ReaderAt, error) {
	if err := keys.Check(l); err != nil {
		return nil, err
	}
	p := &parts{src: &watchedAt{ReaderAt: src}}
	p.plain, p.bytes = p.src, bytes
	if l.Encryption == Age {
		decrypted, size, err := age.DecryptReaderAt(p.src, bytes, keys.keys...)
		if err != nil {
			return nil, p.explain(err)
		}
		p.plain, p.bytes = decrypted, size
	}
	if l.Compression != Zstd {
		return &explained{p.plain, p}, nil
	}
	if err := p.readTable(); err != nil {
		return nil, p.explain(err)
	}
	return &explained{p, p}, nil
}

// parts opens single frames.
type parts struct {
	src   *watchedAt
	plain io.ReaderAt // decrypted
	bytes int64       // of plain

	table *frameTable
	at    []int64 // where each frame begins
	frame frame   // the last one that was opened
	which int     // of them it is, from 1 on
}

// watchedAt keeps the error by which it failed.
type watchedAt struct {
	io.ReaderAt
	failure error
}

func (w *watchedAt) ReadAt(p []byte, at int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) {
		w.failure = err
	}
	return n, err
}

// explained tells the errors of a reader as Unseal does.
type explained struct {
	io.ReaderAt
	of *parts
}

func (e *explained) ReadAt(p []byte, at int64) (int, error) {
	n, err := e.ReaderAt.ReadAt(p, at)
	if err != nil && err != io.EOF {
		err = e.of.explain(err)
	}
	return n, err
}

func (p *parts) explain(err error) error {
	switch {
	case p.src.failure != nil:
		return p.src.failure
	case errors.Is(err, ErrWhole):
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// readTable reads where the frames begin.
func (p *parts) readTable() error {
	footer := make([]byte, footerBytes)
	if p.bytes < int64(len(footer)) {
		return ErrWhole
	}
	if err := readAt(p.plain, footer, p.bytes-footerBytes); err != nil {
		return err
	}
	size := tableBytes(footer)
	if size == 0 || size >= p.bytes {
		return ErrWhole
	}
	text := make([]byte, size)
	if err := readAt(p.plain, text, p.bytes-size); err != nil {
		return err
	}
	table, err := decodeTable(text, p.bytes-size)
	if err != nil {
		return err
	}
	p.table = table
	at := int64(0)
	for _, entry := range table.entries {
		p.at = append(p.at, at)
		at += int64(entry.compressed)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (p *parts) ReadAt(to []byte, at int64) (n int, err error) {
	for n < len(to) {
		if at < 0 || at >= p.table.plain {
			return n, io.EOF
		}
		if err := p.open(int(at / frameBytes)); err != nil {
			return n, err
		}
		copied := copy(to[n:], p.frame.bytes[at%frameBytes:])
		n, at = n+copied, at+int64(copied)
	}
	return n, nil
}

// open opens a frame.
func (p *parts) open(n int) error {
	if p.which == n+1 {
		return nil
	}
	p.which = 0
	f, entry := &p.frame, p.table.entries[n]
	f.plain = p.table.plainOf(n)
	f.bytes = withRoom(f.bytes, int(entry.compressed))[:entry.compressed]
	if err := readAt(p.plain, f.bytes, p.at[n]); err != nil {
		return err
	}
	if entryOf(f.bytes) != entry {
		return fmt.Errorf("frame %d is another than the table has", n)
	}
	if f.decompress(); f.err != nil {
		return fmt.Errorf("frame %d: %w", n, f.err)
	}
	p.which = n + 1
	return nil
}

// readAt reads bytes that must be there.
func readAt(src io.ReaderAt, to []byte, at int64) error {
	_, err := io.ReadFull(io.NewSectionReader(src, at, int64(len(to))), to)
	return whole(err)
}
