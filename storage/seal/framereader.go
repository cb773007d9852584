package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

const (
	// readBytes is how much of compressed bytes is read at once.
	readBytes = 256 << 10
	// framesOpen is how many frames of an object are read, opened, or waited for, at
	// once, and leastOpen how many of each where several objects are read: these keep
	// the processors at work together. Each is a megabyte of memory, and a little.
	framesOpen = 4
	leastOpen  = 2
)

// reading is how many objects in frames are being read.
var reading atomic.Int32

// A frame is a header, blocks, and four bytes of checksum where its header says so
// (RFC 8878, 3.1.1).
const (
	blockHeader   = 3
	mostOfBlock   = 128 << 10
	frameChecksum = 4
	blockRLE      = 1 // a type of block: one byte, however long
	blockReserved = 3
)

// frameReader opens what was compressed in frames, several at a time. It gives io.EOF
// only behind the table, where there has to be one, and after it was held against what
// was read.
type frameReader struct {
	src   *bufio.Reader
	table frameTable // of who reads src

	free   chan *frame
	queue  chan *frame // in order; closed behind the last
	err    error       // what stands behind the last frame; set before queue is closed
	halted chan struct{}
	halt   func()
	ended  chan struct{} // closed when src is not read any more

	more    int // frames that are not in use yet: who wants the head alone is not read ahead for
	current *frame
	unread  []byte // of it
	failure error  // a frame's, behind which nothing is given
}

func newFrameReader(src *bufio.Reader) *frameReader {
	frames := max(leastOpen, framesOpen+1-int(reading.Add(1)))
	r := &frameReader{src: src, free: make(chan *frame, frames), queue: make(chan *frame, frames), halted: make(chan struct{}), ended: make(chan struct{})}
	r.halt = sync.OnceFunc(func() {
		reading.Add(-1)
		close(r.halted)
	})
	r.more = frames - leastOpen
	for range leastOpen {
		r.free <- newFrame()
	}
	go func() {
		defer close(r.ended)
		r.err = r.split()
		close(r.queue)
	}()
	return r
}

// split reads frame after frame, and has them opened.
func (r *frameReader) split() error {
	for {
		header, err := peekHeader(r.src)
		switch {
		case err == io.EOF && r.table.follows(): // the table is missing
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case header.Skippable:
			return r.end()
		case !framed(header):
			return errors.New("a frame is of another size than those before it")
		}
		var f *frame
		select {
		case <-r.halted:
			return errClosed
		case f = <-r.free:
		}
		if f.bytes, err = readFrame(r.src, header, takeBuffer()); err != nil {
			return err
		}
		f.plain = int(header.FrameContentSize)
		if r.table.plain%frameBytes != 0 {
			return errors.New("a frame follows the last one")
		}
		r.table.add(f.bytes, f.plain)
		r.queue <- f
		go func() {
			f.decompress()
			f.done <- struct{}{}
		}()
	}
}

// end reads the table, behind which nothing may stand.
func (r *frameReader) end() error {
	want := r.table.encode()
	have := make([]byte, len(want))
	if _, err := io.ReadFull(r.src, have); err != nil {
		return whole(err)
	}
	if !r.table.follows() || !bytes.Equal(have, want) {
		return errTable
	}
	if _, err := r.src.Peek(1); err != nil {
		return err
	}
	return errors.New("something follows the table of its frames")
}

// Read implements io.Reader.
func (r *frameReader) Read(p []byte) (int, error) {
	for len(r.unread) == 0 && len(p) > 0 {
		if r.failure != nil {
			return 0, r.failure
		}
		if r.current != nil {
			giveBuffer(r.current.bytes)
			r.free <- r.current
			r.current = nil
			for ; r.more > 0; r.more-- { // who reads a second frame reads all of them
				r.free <- newFrame()
			}
		}
		f, open := <-r.queue
		if !open {
			return 0, r.err
		}
		if <-f.done; f.err != nil {
			r.failure = f.err
			r.halt()
			return 0, r.failure
		}
		r.current, r.unread = f, f.bytes
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// Close returns when src is not read any more.
func (r *frameReader) Close() error {
	r.halt()
	<-r.ended
	return nil
}

// peekHeader looks at the header of the frame that comes next; io.EOF: none does.
func peekHeader(src *bufio.Reader) (*zstd.Header, error) {
	next, err := src.Peek(zstd.HeaderMaxSize)
	if len(next) == 0 {
		return nil, err
	}
	header := &zstd.Header{}
	failure := header.Decode(next)
	if errors.Is(failure, io.ErrUnexpectedEOF) && err != nil && err != io.EOF {
		failure = err
	}
	return header, failure
}

// framed tells whether a frame is one of those that this package compresses in frames.
// Others are of any size: a stream has to open them.
func framed(h *zstd.Header) bool {
	return !h.Skippable && h.HasFCS && h.FrameContentSize <= frameBytes
}

// readFrame reads a whole frame, and does not open it.
func readFrame(src *bufio.Reader, h *zstd.Header, to []byte) ([]byte, error) {
	to, err := appendFrom(src, to, h.HeaderSize)
	for last := false; err == nil && !last; {
		if to, err = appendFrom(src, to, blockHeader); err != nil {
			break
		}
		var head uint32
		head, last = blockHead(to[len(to)-blockHeader:])
		size := int(head >> 2)
		switch kind := head & 3; {
		case kind == blockReserved, size > mostOfBlock, len(to)+size > mostCompressed:
			return nil, fmt.Errorf("a block of kind %d and %d bytes stands in a frame", kind, size)
		case kind == blockRLE:
			size = 1
		}
		to, err = appendFrom(src, to, size)
	}
	if err == nil && h.HasCheckSum {
		to, err = appendFrom(src, to, frameChecksum)
	}
	return to, err
}

// blockHead reads what stands before a block: its size and kind, and whether it is the
// frame's last.
func blockHead(p []byte) (sizeAndKind uint32, last bool) {
	head := uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16
	return head >> 1, head&1 == 1
}

// appendFrom reads more bytes, all of which must be there.
func appendFrom(src io.Reader, to []byte, n int) ([]byte, error) {
	have := len(to)
	if cap(to) < have+n {
		to = append(withRoom(nil, have+n), to...)
	}
	to = to[:have+n]
	if _, err := io.ReadFull(src, to[have:]); err != nil {
		return nil, whole(err)
	}
	return to, nil
}

// whole is the error of who needs more bytes than came.
func whole(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
