package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// Sum is the size of some bytes and their SHA-256 as hexadecimal digits.
type Sum struct {
	Bytes  int64
	SHA256 string
}

// Buffers of a summer: so much is summed up at once, and so many pieces wait.
const (
	sumBytes   = 256 << 10
	sumBuffers = 3
)

// Summer is a writer that sums up what is written beside whoever writes it, on
// a processor of its own where there is one. It must be ended by Sum.
type Summer struct {
	filled chan []byte
	empty  chan []byte
	done   chan struct{}
	sum    hash.Hash

	current []byte
	bytes   int64
	ended   bool
}

// NewSummer returns a summer of no bytes.
func NewSummer() *Summer {
	s := &Summer{filled: make(chan []byte, sumBuffers), empty: make(chan []byte, sumBuffers), done: make(chan struct{}), sum: sha256.New()}
	for range sumBuffers {
		s.empty <- nil // allocated when it is needed: most objects are small
	}
	go func() {
		defer close(s.done)
		for piece := range s.filled {
			s.sum.Write(piece)
			s.empty <- piece[:0]
		}
	}()
	return s
}

// Write never fails.
func (s *Summer) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	for rest := p; len(rest) > 0; {
		if s.current == nil {
			if s.current = <-s.empty; s.current == nil {
				s.current = make([]byte, 0, sumBytes)
			}
		}
		n := min(len(rest), sumBytes-len(s.current))
		s.current = append(s.current, rest[:n]...)
		if rest = rest[n:]; len(s.current) == sumBytes {
			s.filled <- s.current
			s.current = nil
		}
	}
	return len(p), nil
}

// Bytes is how many bytes were written so far.
func (s *Summer) Bytes() int64 { return s.bytes }

// Sum ends the summer and returns what it came to. Nothing may be written
// afterwards; it may be asked again.
func (s *Summer) Sum() Sum {
	if !s.ended {
		s.ended = true
		if len(s.current) > 0 {
			s.filled <- s.current
		}
		close(s.filled)
		<-s.done
	}
	return Sum{s.bytes, hex.EncodeToString(s.sum.Sum(nil))}
}
