package readahead

import (
	"errors"
	"io"
)

const (
	// blockSize suits a processor's second-level cache: a block is used soon
	// after it was read.
	blockSize = 256 << 10
	// blocks is how many there are: enough for a source that falters, 2 MiB.
	blocks = 8
	// maxEmptyReads is how often a source may give nothing before it is stuck.
	maxEmptyReads = 100
)

// ErrCount is what a source is answered that says it gave more bytes than there
// was room for, or fewer than none.
var ErrCount = errors.New("the source counts wrongly")

// Reader reads ahead. It is for one goroutine, as its source is for the
// Reader's own until Close has returned.
type Reader struct {
	filled chan block    // in the source's order; closed behind the last
	free   chan []byte   // blocks to fill
	stop   chan struct{} // closed by Close

	current block
	unread  []byte // of current
}

// block is what one read gave, and the error that ended the reading.
type block struct {
	memory []byte
	n      int
	err    error
}

// New begins to read src. The caller must call Close.
func New(src io.Reader) *Reader {
	r := &Reader{filled: make(chan block, blocks), free: make(chan []byte, blocks), stop: make(chan struct{})}
	for range blocks {
		r.free <- make([]byte, blockSize)
	}
	go r.fill(src)
	return r
}

// fill reads until the source ends, fails, or nobody wants more.
func (r *Reader) fill(src io.Reader) {
	defer close(r.filled)
	for {
		select {
		case <-r.stop:
			return
		default: // a free block must not win against Close
		}
		select {
		case <-r.stop:
			return
		case memory := <-r.free:
			n, err := readSome(src, memory)
			r.filled <- block{memory, n, err} // has room for all blocks there are
			if err != nil {
				return
			}
		}
	}
}

// readSome reads at least one byte, or returns why there is none.
func readSome(src io.Reader, p []byte) (int, error) {
	for range maxEmptyReads {
		n, err := src.Read(p)
		if n < 0 || n > len(p) {
			return 0, ErrCount
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// Read gives what has been read, waiting for it where nothing has.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.unread) == 0 {
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// advance goes on to the next block that holds something. An error stays.
func (r *Reader) advance() error {
	if r.current.err != nil {
		return r.current.err
	}
	if r.current.memory != nil {
		r.free <- r.current.memory
	}
	next, open := <-r.filled
	if !open { // read after Close
		next.err = io.ErrClosedPipe
	}
	r.current, r.unread = next, next.memory[:next.n]
	if next.n == 0 {
		return next.err
	}
	return nil
}

// Close ends the reading ahead and waits for the read under way, if there is
// one. The source is the caller's again, some blocks further than what Read
// gave; closing it is the caller's matter.
func (r *Reader) Close() error {
	close(r.stop)
	for range r.filled {
		// Until fill has ended.
	}
	r.current, r.unread = block{err: io.ErrClosedPipe}, nil
	return nil
}
