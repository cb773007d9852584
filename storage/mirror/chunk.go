package mirror

import (
	"io"
	"sync"
	"sync/atomic"
)

const (
	chunkBytes = 256 << 10
	// So many chunks each Put may have at any time, and so many the primary may
	// be behind the body.
	ownChunks = 8
	// So many more all Puts of the process share: 32 MiB by which stores that
	// are quick may be ahead of one that is not.
	sharedChunks = 32 << 20 / chunkBytes
)

// shared counts the chunks of the budget that are in use. Nobody waits for it:
// a Put that finds it used up waits for its own chunks.
var shared atomic.Int64

// chunk is a piece of the body that several feeds read at once.
type chunk struct {
	data    []byte
	readers atomic.Int32
	fan     *fan // whose it is
	own     bool // not of the shared budget
}

var chunks = sync.Pool{New: func() any { return &chunk{data: make([]byte, chunkBytes)} }}

// takeChunk returns a chunk with one reader, who asked for it; nil if there is
// no room for one now.
func (f *fan) takeChunk() *chunk {
	own := f.own.Add(-1) >= 0
	if !own {
		f.own.Add(1)
		if shared.Add(1) > sharedChunks {
			shared.Add(-1)
			return nil
		}
	}
	c := chunks.Get().(*chunk)
	c.data, c.fan, c.own = c.data[:chunkBytes], f, own
	c.readers.Store(1)
	return c
}

// fill reads until the chunk is full or the body gives an error, io.EOF too.
func (c *chunk) fill(body io.Reader) error {
	filled := 0
	var err error
	for filled < len(c.data) && err == nil {
		var n int
		n, err = body.Read(c.data[filled:])
		filled += n
	}
	c.data = c.data[:filled]
	return err
}

// release gives one reader's share back.
func (c *chunk) release() {
	if c.readers.Add(-1) > 0 {
		return
	}
	f := c.fan
	if c.own {
		f.own.Add(1)
	} else {
		shared.Add(-1)
	}
	c.fan = nil
	chunks.Put(c)
	f.notify()
}
