package aof

import (
	"context"
	"fmt"
	"io"
	"io/fs"
)

// source is an open file of a set. Its reads fail once the context is done, and
// it tells how far they are.
type source struct {
	ctx  context.Context
	file fs.File
	name string
	tell func(file string, bytes int64) // nil: nobody

	head       []byte // read by peek and not yet by Read
	size       int64  // when the file was opened
	read, told int64
	passes     bool // large arguments are passed over unread
}

// peek returns the file's first bytes, which Read then gives once more.
func (s *source) peek() ([]byte, error) {
	s.head = make([]byte, 8)
	n, err := io.ReadFull(s.file, s.head)
	s.head = s.head[:n]
	return s.head, ignoreShort(err)
}

func (s *source) Read(p []byte) (n int, err error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	at, ok := s.file.(io.ReaderAt)
	switch {
	case len(s.head) > 0:
		n = copy(p, s.head)
		s.head = s.head[n:]
	case ok:
		n, err = at.ReadAt(p, s.read)
	default:
		n, err = s.file.Read(p)
	}
	s.advance(int64(n))
	return n, err
}

// pass leaves n bytes unread behind, if it can and if they lie within the file
// as it was when it was opened: what lies behind that is read to its end.
func (s *source) pass(n int64) bool {
	_, ok := s.file.(io.ReaderAt)
	if !ok || !s.passes || len(s.head) > 0 || n > s.size-s.read {
		return false
	}
	s.advance(n)
	return true
}

// begin goes on at an offset of another handle of the same file.
func (s *source) begin(file fs.File, offset int64) error {
	if _, ok := file.(io.ReaderAt); !ok {
		if _, err := io.CopyN(io.Discard, file, offset); err != nil {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
	}
	s.file, s.head, s.read = file, nil, offset
	return nil
}

func (s *source) advance(n int64) {
	if s.read += n; s.tell != nil && s.read-s.told >= progressStep {
		s.told = s.read
		s.tell(s.name, s.read)
	}
}

// finish tells the file's end.
func (s *source) finish() {
	if s.tell != nil && s.read != s.told {
		s.tell(s.name, s.read)
	}
}
