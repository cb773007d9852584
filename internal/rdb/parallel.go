package rdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// maxWorkers is how many goroutines check values at most. The one that
	// passes over them keeps no more of them busy.
	maxWorkers = 4
	// chunkBytes is how much of the dump a worker gets at a time: enough that the
	// handing over costs nothing, little enough to stay in a processor's cache. A
	// longer value is a stream; a page has room for one that is not, and more.
	chunkBytes = 96 << 10
	// chunkRecords bounds what is kept beside the bytes.
	chunkRecords = 1 << 10
	// chunksAhead is how many chunks each worker may be ahead of what Next gives.
	chunksAhead = 2
)

// errStopped ends the scan behind a damage that a worker found: nobody sees it,
// since that damage stands before it.
var errStopped = errors.New("a value before this one is damaged")

// recordSource gives the records of a dump, as [Reader.Next] does.
type recordSource interface {
	Next() (*Record, error)
	Header() Header
	Offset() int64
	CRC64() uint64
	ChecksumDisabled() bool
	// membersUnchecked tells that some value had more members than are held
	// against each other.
	membersUnchecked() bool
}

// pipeline is a [Reader] with [Options.Deep] whose work is shared: one that
// passes over values finds the records in the caller's goroutine, and gives them
// in chunks to workers, which check and digest their values where they were read.
// Next gives the
// records in the dump's order, and the first error in that order: exactly what
// the Reader would give.
type pipeline struct {
	scan    *Reader
	options Options
	limits  chunkLimits

	filling *chunk   // what is being scanned into
	page    *page    // where it is read to
	stream  *item    // the value being scanned, where it is too long for a chunk
	queue   []*chunk // handed to the workers, in order
	current *chunk   // what Next gives from
	at      int
	free    []*chunk
	spare   []*page
	held    bool  // what is in the queue lies in the scan's own memory
	end     error // what ended the scan; nil: it goes on

	offset    int64
	unchecked bool
	ended     bool  // Next has come to where the scan ended
	err       error // sticky: what Next returned last

	tasks   chan *chunk
	blocks  chan []byte // memory for long values
	stop    atomic.Bool // a worker found damage
	workers sync.WaitGroup
}

// chunkLimits say how much a chunk takes; tests make them small.
type chunkLimits struct{ bytes, records int }

func newPipeline(src io.Reader, o Options, limits chunkLimits) *pipeline {
	p := &pipeline{options: o, limits: limits, blocks: make(chan []byte, streamBlocks)}
	p.scan = NewReader(src, Options{Size: o.Size, Capture: p})
	p.scan.in.pages, p.page = p, &page{memory: p.scan.in.buf}
	// The names of hash templates are read where they stand, for all workers.
	p.scan.digester = newDigester(p.scan, false)
	p.filling = p.newChunk()
	for range streamBlocks {
		p.blocks <- nil // made when it is first needed
	}
	return p
}

// start starts the workers; close ends them.
func (p *pipeline) start(workers int) {
	p.tasks = make(chan *chunk, workers*chunksAhead+2) // with those that a long value adds
	for range workers {
		w := newWorker(p)
		p.workers.Go(func() { w.run(p.tasks) })
	}
}

// workersFor is how many workers a number in options means.
func workersFor(n int) int {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return min(n, maxWorkers)
}

// close ends the workers and waits for them.
func (p *pipeline) close() {
	close(p.tasks)
	p.workers.Wait()
}

func (p *pipeline) Header() Header         { return p.scan.Header() }
func (p *pipeline) Offset() int64          { return p.offset }
func (p *pipeline) membersUnchecked() bool { return p.unchecked }
func (p *pipeline) ChecksumDisabled() bool { return p.ended && p.scan.ChecksumDisabled() }

// CRC64 is what the scan found, unless a value before its end is damaged.
func (p *pipeline) CRC64() uint64 {
	if !p.ended {
		return 0
	}
	return p.scan.CRC64()
}

// Next gives the next record that is checked.
func (p *pipeline) Next() (*Record, error) {
	for p.err == nil {
		if p.current == nil || p.at == len(p.current.items) {
			p.err = p.advance()
			continue
		}
		it, found := &p.current.items[p.at], &p.current.results[p.at]
		p.offset, p.unchecked = it.end, p.unchecked || it.unchecked || found.unchecked
		p.err = p.judge(it, found)
		p.at++
		if p.err == nil {
			it.rec.Digest = found.digest
			return &it.rec, nil
		}
	}
	return nil, p.err
}

// judge returns what is wrong with a record, if anything is.
func (p *pipeline) judge(it *item, found *result) error {
	var err error
	if p.at == p.current.failed {
		p.offset, err = found.checked, p.current.err
	}
	switch {
	case it.partial && (err == nil || errors.Is(err, errCut)):
		// A worker found nothing before the place where the scan ended.
		p.ended = true
		return p.end
	case err != nil:
		return err
	case it.rec.Kind == KindKey && found.checked != it.end:
		return fmt.Errorf("check the value at byte %d: it ends at byte %d, its checks at byte %d", it.rec.ValueOffset, it.end, found.checked)
	}
	return nil
}

// advance waits for the next chunk, and keeps the workers busy meanwhile.
func (p *pipeline) advance() error {
	if p.current != nil {
		p.release(p.current)
		p.free, p.current = append(p.free, p.current), nil
		p.held = p.held && len(p.queue) > 0
	}
	for p.end == nil && !p.held && len(p.queue) < cap(p.tasks)-2 {
		if p.scanChunk(); p.stop.Load() && p.end == nil {
			p.end = errStopped
		}
	}
	if len(p.queue) == 0 {
		p.ended, p.offset = true, p.scan.Offset()
		return p.end
	}
	p.current, p.at = p.queue[0], 0
	p.queue = append(p.queue[:0], p.queue[1:]...)
	<-p.current.done
	if p.current.panicked != "" {
		// impossible: no check panics, and one that does must not be lost with its
		// goroutine.
		panic("rdb: a worker panicked: " + p.current.panicked)
	}
	return nil
}

// scanChunk scans until a chunk is handed to the workers, or the scan ends.
func (p *pipeline) scanChunk() {
	for handed := len(p.queue); len(p.queue) == handed && p.end == nil; {
		p.scan.rec, p.scan.key = p.filling.next() // read where they will stay
		rec, err := p.scan.Next()
		switch {
		case err != nil:
			p.end = err
			p.keepPartial()
			p.handOver()
		case p.stream != nil:
			p.endStream(rec, false)
		default:
			p.keep(rec)
		}
	}
}

// keep takes a record into the chunk.
func (p *pipeline) keep(rec *Record) {
	c, in := p.filling, p.scan.in
	it := c.add(rec)
	it.end = p.scan.Offset()
	if rec.Kind == KindKey {
		it.begin, it.fin = int32(in.captured), int32(in.pos)
		c.extend(in.buf[:in.pos], in.pos-in.captured)
		c.own(&it.rec)
	} else if it.unchecked = p.scan.digester.unchecked; len(rec.Name)+len(rec.Value) <= p.limits.bytes {
		c.own(&it.rec)
	} else {
		p.held = true // a library may be as long as it likes: it is waited for, not copied
	}
	if p.held || c.bytes+len(c.text) >= p.limits.bytes || len(c.items) >= p.limits.records {
		p.handOver()
	}
}

// handOver gives the chunk that was scanned into to the workers.
func (p *pipeline) handOver() {
	if len(p.filling.items) > 0 {
		p.dispatch(p.filling)
		p.filling = p.newChunk()
	}
}

func (p *pipeline) dispatch(c *chunk) {
	c.header = p.scan.header
	c.failed = len(c.items)
	if len(c.items) > cap(c.results) {
		c.results = make([]result, cap(c.items))
	}
	c.results = c.results[:len(c.items)]
	clear(c.results)
	c.page = p.page
	c.page.users++
	p.queue = append(p.queue, c)
	p.tasks <- c
}

func (p *pipeline) newChunk() *chunk {
	last := len(p.free) - 1
	if last < 0 {
		return &chunk{done: make(chan struct{}, 1)}
	}
	c := p.free[last]
	p.free = p.free[:last]
	c.reset()
	return c
}

// keepPartial takes in what there is of the value in which the scan ended.
func (p *pipeline) keepPartial() {
	in := p.scan.in
	if !in.capturing {
		return
	}
	// What is read and not consumed belongs to the dump as well: a worker comes
	// to its own damage in it, or to its end.
	if p.keeps(in.end - in.captured) {
		it := p.filling.add(p.scan.rec)
		it.begin, it.fin, it.partial = int32(in.captured), int32(in.end), true
		p.filling.extend(in.buf[:in.end], in.end-in.captured)
		p.filling.own(&it.rec)
		return
	}
	_, err := p.Write(in.buf[in.captured:in.end])
	if err == nil || p.stream != nil {
		p.endStream(p.scan.rec, true)
	}
}

// page is memory of the input, with the chunks whose values lie in it. Only the
// caller's goroutine counts them.
type page struct {
	memory []byte
	users  int
}

// turn implements pages.
func (p *pipeline) turn() []byte {
	p.handOver()
	left := p.page
	if last := len(p.spare) - 1; last >= 0 {
		p.page, p.spare = p.spare[last], p.spare[:last]
	} else {
		p.page = &page{memory: make([]byte, bufferSize)}
	}
	if left.users == 0 {
		p.spare = append(p.spare, left)
	}
	return p.page.memory
}

// keeps implements pages.
func (p *pipeline) keeps(bytes int) bool { return p.stream == nil && bytes <= p.limits.bytes }

// release lets a chunk's page be read to again, if no other chunk is in it.
func (p *pipeline) release(c *chunk) {
	left := c.page
	if left.users--; left.users == 0 && left != p.page {
		p.spare = append(p.spare, left)
	}
	c.page = nil
}

// Write takes in a piece of a value that is too long for a chunk.
func (p *pipeline) Write(b []byte) (int, error) {
	if p.stop.Load() {
		return 0, errStopped
	}
	if p.stream == nil {
		p.beginStream()
	}
	p.stream.stream.write(b)
	return len(b), nil
}

// beginStream gives the value being scanned a chunk of its own, which a worker
// has while the scan still goes on.
func (p *pipeline) beginStream() {
	p.handOver()
	c := p.newChunk()
	it := c.add(p.scan.rec)
	c.own(&it.rec)
	it.stream = &valueStream{rec: it.rec, blocks: make(chan []byte, streamBlocks), spare: p.blocks}
	p.dispatch(c)
	p.stream = it
}

// endStream ends the value that a worker has as a stream.
func (p *pipeline) endStream(rec *Record, partial bool) {
	it := p.stream
	p.stream = nil
	close(it.stream.blocks)
	key := it.rec.Key
	it.rec = *rec
	it.rec.Key, it.rec.Name = key, bytes.Clone(rec.Name)
	it.end, it.partial = p.scan.Offset(), partial
}
