package mirror

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/storage"
)

// feed is the body as one store sees it.
type feed struct {
	fan    *fan
	member *member
	ctx    context.Context
	cancel context.CancelCauseFunc
	ready  chan struct{} // holds one: something was queued, or the body has ended
	done   chan struct{}

	mu     sync.Mutex
	queue  []*chunk  // not read to their ends; none once ctx has ended
	offset int       // in the first of them
	closed bool      // the body has ended after these
	moved  time.Time // when the store last took something, or was given something to take

	// What the store's Put returned; read only after done is closed.
	object storage.Object
	err    error
}

// startFeed runs the store's Put beside the caller.
func (f *fan) startFeed(ctx context.Context, m *member) *feed {
	one := &feed{fan: f, member: m, ready: make(chan struct{}, 1), done: make(chan struct{}), moved: clock.Now()}
	one.ctx, one.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(one.ctx, one.discard)
	go func() {
		defer f.notify()
		defer close(one.done)
		one.object, one.err = m.Put(storage.WithProgress(one.ctx, one.move), f.name, one)
	}()
	return one
}

// Read implements io.Reader. It gives io.EOF only when the body has ended and
// nothing was cancelled: who sees io.EOF makes the object visible.
func (f *feed) Read(p []byte) (int, error) {
	for {
		n, spent, ended := f.take(p)
		if spent != nil {
			f.leave(spent)
		}
		if f.ctx.Err() != nil {
			return 0, context.Cause(f.ctx)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if ended {
			return 0, io.EOF
		}
		f.await()
	}
}

// WriteTo implements io.WriterTo, for a store that only passes bytes on: they
// are written from where they lie, and not copied for each store. It ends well
// only where Read gives io.EOF.
func (f *feed) WriteTo(w io.Writer) (written int64, err error) {
	for {
		c, offset, ended := f.pop()
		if f.ctx.Err() != nil {
			err = context.Cause(f.ctx)
		}
		if c != nil {
			if err == nil {
				var n int
				n, err = w.Write(c.data[offset:])
				written += int64(n)
			}
			f.leave(c)
		}
		switch {
		case err != nil || ended:
			return written, err
		case c == nil:
			f.await()
		}
	}
}

// await waits until something is queued, the body has ended, or ctx has.
func (f *feed) await() {
	select {
	case <-f.ctx.Done():
	case <-f.ready:
	}
}

// leave gives back a chunk that the store has done with.
func (f *feed) leave(c *chunk) {
	c.release()
	f.fan.notify() // others may hold it still, but this store is further
}

// pop takes the first chunk out of the queue, from where it was read to. The
// caller gives it back: discard does not know of it any more.
func (f *feed) pop() (c *chunk, offset int, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return nil, 0, f.closed
	}
	c, offset = f.queue[0], f.offset
	f.queue, f.offset, f.moved = f.queue[1:], 0, clock.Now()
	return c, offset, false
}

// take copies what is queued. The copying is under the lock, so that discard
// leaves no chunk behind with a store that has stopped in the middle of one.
func (f *feed) take(p []byte) (n int, spent *chunk, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return 0, nil, f.closed
	}
	first := f.queue[0]
	n = copy(p, first.data[f.offset:])
	f.moved = clock.Now()
	if f.offset += n; f.offset == len(first.data) {
		f.queue, f.offset, spent = f.queue[1:], 0, first
	}
	return n, spent, false
}

// give queues a chunk.
func (f *feed) give(c *chunk) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return
	}
	c.readers.Add(1)
	if len(f.queue) == 0 {
		f.moved = clock.Now() // it had nothing to take
	}
	f.queue = append(f.queue, c)
	f.wake()
}

// finish tells the store that the body has ended.
func (f *feed) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.moved = true, clock.Now()
	f.wake()
}

func (f *feed) wake() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// discard gives the queue back when the Put was cancelled or has ended.
func (f *feed) discard() {
	f.mu.Lock()
	queue := f.queue
	f.queue = nil
	f.mu.Unlock()
	for _, c := range queue {
		c.release()
	}
}

// move says that bytes are on their way, perhaps in the middle of a part.
func (f *feed) move() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moved = clock.Now()
}

// pending is how many chunks the store is behind the body.
func (f *feed) pending() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queue)
}

// idle is how long the store has taken nothing, though there was something.
func (f *feed) idle() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return clock.Since(f.moved)
}

func (f *feed) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
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
