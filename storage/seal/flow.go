package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync"
	"sync/atomic"
)

// Blocks of a flow: large enough that waking up who waits for one costs little,
// and as many as its two ends may be apart.
const (
	blockBytes = 256 << 10
	flowBlocks = 6
)

// flow brings bytes from one goroutine to another, and sums them up beside
// both, on a processor of its own where there is one. The two ends may be some
// blocks apart: on a busy machine a hand-over of each piece, as io.Pipe has it,
// waits for a processor twice. The summing reads the same blocks.
type flow struct {
	free   chan *block
	filled chan *block   // to who reads; closed behind the last
	toSum  chan *block   // the same ones, to the summing
	done   chan struct{} // closed when all of them are summed up
	stop   func()        // refuses what is written from now on; safe for concurrent use
	halted chan struct{} // closed by stop

	filling *block // of who writes
	err     error  // what stands behind the last byte; set before filled is closed

	reading *block // of who reads
	unread  []byte // of it

	sum   hash.Hash
	bytes int64
}

// block is a piece of a flow.
type block struct {
	data    []byte
	readers atomic.Int32
}

func newFlow() *flow {
	f := &flow{
		free: make(chan *block, flowBlocks), filled: make(chan *block, flowBlocks), toSum: make(chan *block, flowBlocks),
		done: make(chan struct{}), halted: make(chan struct{}), sum: sha256.New(),
	}
	f.stop = sync.OnceFunc(func() { close(f.halted) })
	for range flowBlocks {
		f.free <- &block{} // allocated when it is needed: most objects are small
	}
	go func() {
		defer close(f.done)
		for b := range f.toSum {
			f.sum.Write(b.data)
			f.bytes += int64(len(b.data))
			f.release(b)
		}
	}()
	return f
}

// room returns the block that is to be written to, which has some room.
func (f *flow) room() (*block, error) {
	select {
	case <-f.halted: // a free block must not win against it
		return nil, errClosed
	default:
	}
	if f.filling == nil {
		select {
		case <-f.halted:
			return nil, errClosed
		case f.filling = <-f.free:
		}
		if f.filling.data == nil {
			f.filling.data = make([]byte, 0, blockBytes)
		}
	}
	return f.filling, nil
}

// added hands the block on once its new length leaves no room in it.
func (f *flow) added(b *block, n int) {
	if b.data = b.data[:len(b.data)+n]; len(b.data) == cap(b.data) {
		f.pass()
	}
}

// pass hands on the block that was written to. Both channels hold all there are.
func (f *flow) pass() {
	b := f.filling
	f.filling = nil
	b.readers.Store(2)
	f.toSum <- b
	f.filled <- b
}

func (f *flow) release(b *block) {
	if b.readers.Add(-1) == 0 {
		b.data = b.data[:0]
		f.free <- b
	}
}

// Write implements io.Writer.
func (f *flow) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		b, err := f.room()
		if err != nil {
			return len(p) - len(rest), err
		}
		n := copy(b.data[len(b.data):cap(b.data)], rest)
		f.added(b, n)
		rest = rest[n:]
	}
	return len(p), nil
}

// take writes what src gives, to its io.EOF.
func (f *flow) take(src io.Reader) error {
	for {
		b, err := f.room()
		if err != nil {
			return err
		}
		n, err := src.Read(b.data[len(b.data):cap(b.data)])
		f.added(b, n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// end puts an error behind what was written, or io.EOF for nil. Nothing may be
// written afterwards.
func (f *flow) end(err error) {
	if f.filling != nil && len(f.filling.data) > 0 {
		f.pass()
	}
	if f.err = err; err == nil {
		f.err = io.EOF
	}
	close(f.toSum)
	close(f.filled)
}

// next goes on to the next block, and leaves the one before.
func (f *flow) next() error {
	if f.reading != nil {
		f.release(f.reading)
	}
	var open bool
	if f.reading, open = <-f.filled; !open {
		return f.err
	}
	f.unread = f.reading.data
	return nil
}

// Read implements io.Reader.
func (f *flow) Read(p []byte) (int, error) {
	for len(f.unread) == 0 && len(p) > 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.unread)
	f.unread = f.unread[n:]
	return n, nil
}

// give writes everything to another writer, block by block.
func (f *flow) give(to io.Writer) error {
	for {
		switch err := f.next(); {
		case err == io.EOF: // as end gives it
			return nil
		case err != nil:
			return err
		}
		if _, err := to.Write(f.unread); err != nil {
			return err
		}
	}
}

// total is what passed, once the flow was ended.
func (f *flow) total() Sum {
	<-f.done
	return Sum{f.bytes, hex.EncodeToString(f.sum.Sum(nil))}
}
