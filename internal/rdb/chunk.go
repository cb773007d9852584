package rdb

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
)

// streamBlocks and blockBytes bound how much of a long value lies between the
// scan and the worker that has it.
const (
	streamBlocks = 8
	blockBytes   = 64 << 10
)

// errCut ends a value that a worker has: beyond it lies nothing of its business.
var errCut = errors.New("the checks of a value go beyond its end")

// chunk is a number of whole records that a worker checks in one go, with
// memory of its own for all but their values.
type chunk struct {
	header   Header
	items    []item
	results  []result // what the worker found, one for each item
	failed   int      // the item that is damaged; where none is, their number
	err      error    // what is wrong with it
	text     []byte   // names of keys and modules, facts
	values   []byte   // what they lie in: the page's, up to the end of the last one
	bytes    int      // of them
	page     *page
	done     chan struct{} // has room for one: the worker never waits
	panicked string        // what a worker died of
}

// item is one record of a chunk.
type item struct {
	rec Record
	place
}

// place is where an item's value is.
type place struct {
	begin, fin int32        // in the page
	stream     *valueStream // or the value itself, too long for a chunk
	end        int64        // the dump's offset behind the record
	partial    bool         // the scan ended inside the value
	unchecked  bool         // the scan read more members than are held against each other
}

// result is what a worker found. It is no part of the item: the memory of that
// then stays near to who wrote it, and reads it again.
type result struct {
	digest    Digest
	checked   int64 // how much of the dump was consumed then
	unchecked bool  // more members than are held against each other
}

func (c *chunk) reset() {
	c.items, c.values, c.bytes, c.err, c.panicked = c.items[:0], nil, 0, nil, ""
	if c.text = c.text[:0]; cap(c.text) > scratchKept {
		c.text = nil
	}
}

// next is where the next record and its key are read to, so that neither is
// copied if the chunk is still this one when they are read.
func (c *chunk) next() (rec *Record, key []byte) {
	n := len(c.items)
	c.items = slices.Grow(c.items, 1)
	return &c.items[:n+1][n].rec, c.text[len(c.text):]
}

// add takes in a record.
func (c *chunk) add(rec *Record) *item {
	n := len(c.items)
	c.items = slices.Grow(c.items, 1)[:n+1]
	it := &c.items[n]
	if it.place = (place{}); &it.rec != rec {
		it.rec = *rec
	}
	return it
}

// extend takes in a value, the last in what was read so far.
func (c *chunk) extend(read []byte, bytes int) {
	c.values = read[:len(read):len(read)] // the scan still reads behind it
	c.bytes += bytes
}

// own copies what a record refers to, unless it was read to its place at once.
func (c *chunk) own(rec *Record) {
	if at, n := len(c.text), len(rec.Key); n > 0 && n <= cap(c.text)-at && &c.text[:at+1][at] == &rec.Key[0] {
		c.text = c.text[:at+n]
		rec.Key = c.text[at : at+n : at+n]
	} else {
		rec.Key = c.keep(rec.Key)
	}
	rec.Name, rec.Value = c.keep(rec.Name), c.keep(rec.Value)
}

// keep copies a text.
func (c *chunk) keep(text []byte) []byte {
	if text == nil {
		return nil
	}
	at := len(c.text)
	c.text = append(c.text, text...)
	return c.text[at:len(c.text):len(c.text)]
}

// valueStream carries a long value from the scan to a worker, in blocks that
// come back.
type valueStream struct {
	rec    Record
	blocks chan []byte
	spare  chan []byte
	block  []byte // being read
	rest   []byte // of it
}

// write hands a piece on, and waits while the worker is behind.
func (s *valueStream) write(b []byte) {
	for len(b) > 0 {
		block := <-s.spare
		if block == nil {
			block = make([]byte, blockBytes)
		}
		n := copy(block, b)
		s.blocks <- block[:n]
		b = b[n:]
	}
}

// Read implements io.Reader for the worker.
func (s *valueStream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		s.release()
		block, more := <-s.blocks
		if !more {
			return 0, errCut
		}
		s.block, s.rest = block, block
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// release gives the block that was read back.
func (s *valueStream) release() {
	if s.block != nil {
		s.spare <- s.block[:blockBytes]
		s.block, s.rest = nil, nil
	}
}

// drain lets the scan go on where the worker needs no more of the value.
func (s *valueStream) drain() {
	s.release()
	for block := range s.blocks {
		s.spare <- block[:blockBytes]
	}
}

// nothing is the source behind a value that lies in a chunk.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, errCut }

// worker checks values, one goroutine's worth.
type worker struct {
	p      *pipeline
	reader Reader // what the digester sees of the dump
	chunk  input  // the value in a chunk
	long   *input // the value in a stream; nil: there was none yet
}

func newWorker(p *pipeline) *worker {
	w := &worker{p: p, reader: Reader{rec: new(Record)}, chunk: input{src: nothing{}, size: p.options.Size}}
	w.reader.digester = newDigester(&w.reader, p.options.Digest)
	w.reader.digester.templates = p.scan.digester.templates
	return w
}

// run checks chunks until there are no more.
func (w *worker) run(tasks <-chan *chunk) {
	for c := range tasks {
		w.check(c)
		c.done <- struct{}{}
		// Who waits for this chunk feeds all workers: it goes first. On a processor
		// that has another goroutine to run it would wait until that has nothing
		// more to do.
		runtime.Gosched()
	}
}

// check checks and digests a chunk's values, to the first that is damaged.
func (w *worker) check(c *chunk) {
	defer func() {
		if why := recover(); why != nil {
			c.panicked = fmt.Sprintf("%v\n%s", why, debug.Stack())
		}
		if s := c.items[0].stream; s != nil {
			s.drain()
		}
	}()
	w.reader.header = c.header
	for i := range c.items {
		it := &c.items[i]
		if it.stream == nil && it.rec.Kind != KindKey { // a streamed one's record is still the scan's
			continue
		}
		if c.err = w.value(c, it, &c.results[i]); c.err != nil {
			c.failed = i
			w.p.stop.Store(true)
			return
		}
	}
}

// value checks and digests one. Its error is the value's damage.
func (w *worker) value(c *chunk, it *item, found *result) (err error) {
	r, d, rec := &w.reader, w.reader.digester, &it.rec
	if it.stream != nil {
		if w.long == nil {
			w.long = newInput(nil, w.chunk.size)
		}
		*w.long = input{src: it.stream, size: w.long.size, buf: w.long.buf, base: it.stream.rec.ValueOffset}
		r.in, r.rec.Offset = w.long, it.stream.rec.Offset
		rec = &it.stream.rec
	} else {
		// Beyond its end lie other values of the chunk, which a text may be copied
		// with and nobody looks at.
		value := c.values[it.begin:it.fin]
		w.chunk.buf, w.chunk.pos, w.chunk.end, w.chunk.hashed = value, 0, len(value), 0
		w.chunk.base, w.chunk.ended = it.rec.ValueOffset, false
		r.in, r.rec.Offset = &w.chunk, it.rec.Offset
	}
	d.in, d.unchecked = r.in, false
	found.digest, err = d.value(rec)
	found.checked, found.unchecked = r.in.offset(), d.unchecked
	return err
}
