package mirror

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/slotark/slotark/storage"
)

const (
	chunkBytes = 256 << 10
	// So many chunks a store may be behind the body. With what is being read
	// and written a Put holds a few more, whatever the number of stores.
	feedChunks = 8
)

// chunk is a piece of the body that several feeds read at once.
type chunk struct {
	data    []byte
	readers atomic.Int32
}

var chunks = sync.Pool{New: func() any { return &chunk{data: make([]byte, chunkBytes)} }}

// newChunk returns a chunk with one reader: who asked for it.
func newChunk() *chunk {
	c := chunks.Get().(*chunk)
	c.data = c.data[:chunkBytes]
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

// release gives one reader's share back. A store that was abandoned in the
// middle of a read never does, and then the chunk is simply not used again.
func (c *chunk) release() {
	if c.readers.Add(-1) == 0 {
		chunks.Put(c)
	}
}

// feed is the body as one store sees it.
type feed struct {
	member *member
	ctx    context.Context
	cancel context.CancelCauseFunc
	chunks chan *chunk // closed at the body's end
	done   chan struct{}

	// Of the reading store only.
	current *chunk
	offset  int

	// What the store's Put returned; read only after done is closed.
	object storage.Object
	err    error
}

// startFeed runs the store's Put beside the caller.
func startFeed(ctx context.Context, m *member, name string) *feed {
	f := &feed{member: m, chunks: make(chan *chunk, feedChunks), done: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	go func() {
		defer close(f.done)
		f.object, f.err = m.Put(f.ctx, name, f)
	}()
	return f
}

// Read implements io.Reader. It gives io.EOF only when the chunks were closed
// and nothing was cancelled: who sees io.EOF makes the object visible.
func (f *feed) Read(p []byte) (int, error) {
	if f.current == nil {
		var more bool
		select {
		case <-f.ctx.Done():
			return 0, context.Cause(f.ctx)
		case f.current, more = <-f.chunks:
		}
		// With both ready the select above takes either.
		if f.ctx.Err() != nil {
			return 0, context.Cause(f.ctx)
		}
		if !more {
			return 0, io.EOF
		}
	}
	n := copy(p, f.current.data[f.offset:])
	if f.offset += n; f.offset == len(f.current.data) {
		f.current.release()
		f.current, f.offset = nil, 0
	}
	return n, nil
}

// result is what the store's Put has come to, once done is closed.
func (f *feed) result(sent int64) error {
	switch {
	case f.err != nil:
		return f.err
	case f.object.Bytes != sent:
		return fmt.Errorf("put %s to %s: %d bytes were stored of %d", f.object.Name, f.member, f.object.Bytes, sent)
	}
	return nil
}
