package seal

import (
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// frameWriter compresses what is written to it in frames, several at a time, and
// writes them in their order.
type frameWriter struct {
	encoder *zstd.Encoder
	out     io.Writer
	table   frameTable // of who writes out

	begun   bool
	filling *frame
	free    chan *frame
	queue   chan *frame // in order; holds all there are
	ended   chan struct{}
	failure atomic.Value // failed: why out takes no more
}

// newFrameWriter writes to out. There is one frame more than workers that is being
// filled, and one that is being written.
func newFrameWriter(out io.Writer, encoder *zstd.Encoder, workers int) *frameWriter {
	frames := workers + 2
	w := &frameWriter{encoder: encoder, out: out, free: make(chan *frame, frames), queue: make(chan *frame, frames), ended: make(chan struct{})}
	for range frames {
		w.free <- newFrame()
	}
	go w.write()
	return w
}

// write writes the frames. It takes all there are, also when nobody wants them.
func (w *frameWriter) write() {
	defer close(w.ended)
	for f := range w.queue {
		<-f.done
		if w.failed() == nil {
			w.table.add(f.bytes, f.plain)
			if _, err := w.out.Write(f.bytes); err != nil {
				w.failure.Store(failed{err})
			}
		}
		giveBuffer(f.bytes)
		w.free <- f
	}
}

func (w *frameWriter) failed() error {
	if f, ok := w.failure.Load().(failed); ok {
		return f.error
	}
	return nil
}

// Write implements io.Writer.
func (w *frameWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if err := w.failed(); err != nil {
			return len(p) - len(rest), err
		}
		if w.filling == nil {
			w.filling, w.begun = <-w.free, true
			w.filling.bytes = withRoom(takeBuffer(), len(rest))
		}
		n := min(len(rest), frameBytes-len(w.filling.bytes))
		w.filling.bytes = append(w.filling.bytes, rest[:n]...)
		if rest = rest[n:]; len(w.filling.bytes) == frameBytes {
			w.pass()
		}
	}
	return len(p), nil
}

// pass has the frame compressed that was filled.
func (w *frameWriter) pass() {
	f := w.filling
	w.filling = nil
	w.queue <- f
	go func() {
		f.compress(w.encoder)
		f.done <- struct{}{}
	}()
}

// Close writes what is left, and the table. An object of no bytes is one frame of
// none.
func (w *frameWriter) Close() error {
	if !w.begun {
		w.filling = <-w.free
		w.filling.bytes = nil
	}
	if w.filling != nil {
		w.pass()
	}
	close(w.queue)
	<-w.ended
	err := w.failed()
	if err == nil && w.table.follows() {
		_, err = w.out.Write(w.table.encode())
	}
	return err
}
