package seal

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// errClosed ends a sealing whose bytes nobody wants any more.
var errClosed = errors.New("the sealed bytes are no longer wanted")

// Body is an object on its way to a store, sealed as it is read. It gives
// io.EOF only after the source gave its own and everything before it was
// sealed; any other error of the source comes out as it is.
type Body struct {
	plain  *flow
	stored *flow // the same one where nothing is done to the bytes
	closed atomic.Bool
	done   chan struct{} // closed when nothing is read of the source any more
}

// Seal returns the sealed bytes of src. Close must be called, and src not be
// touched before it has returned.
func (s *Sealer) Seal(src io.Reader) *Body {
	b := &Body{plain: newFlow(), done: make(chan struct{})}
	b.stored = b.plain
	var wait sync.WaitGroup
	if s.compressor != nil || len(s.recipients) > 0 {
		b.stored = newFlow()
		wait.Go(func() { s.seal(b) })
	}
	wait.Go(func() { b.plain.end(b.plain.take(src)) })
	go func() {
		defer close(b.done)
		wait.Wait()
	}()
	return b
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errClosed
	}
	return b.stored.Read(p)
}

// Close ends the sealing, wherever it is, and waits for it.
func (b *Body) Close() error {
	b.closed.Store(true)
	b.plain.stop()
	b.stored.stop()
	<-b.done
	return nil
}

// Plain sums up what was read of the source, and Stored what became of it:
// both after Close.
func (b *Body) Plain() Sum { return b.plain.total() }

// Stored is described at Plain.
func (b *Body) Stored() Sum { return b.stored.total() }

// seal runs the plain bytes through everything, and ends what is stored.
func (s *Sealer) seal(b *Body) {
	stages, err := s.stages(b.stored)
	if err == nil {
		err = b.plain.give(stages[0])
	}
	for _, stage := range stages {
		if err != nil {
			// Not ended: what was sealed so far must not look whole. Refusing
			// it lets the compressor's own goroutines come to rest.
			b.stored.stop()
		}
		if failure := stage.Close(); err == nil {
			err = failure
		}
	}
	b.plain.stop() // of use only where something has failed
	b.stored.end(err)
}

// stages are what the bytes go through, the first one first.
func (s *Sealer) stages(out io.Writer) ([]io.WriteCloser, error) {
	stages := []io.WriteCloser{unended{out}}
	if s.lock.Encryption == Age {
		encrypted, err := age.Encrypt(out, s.recipients...)
		if err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		stages = []io.WriteCloser{encrypted}
	}
	if s.compressor != nil {
		compressed, err := s.compressed(stages[0])
		if err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		stages = append([]io.WriteCloser{compressed}, stages...)
	}
	return stages, nil
}

func (s *Sealer) compressed(out io.Writer) (io.WriteCloser, error) {
	if s.frames == 0 {
		return zstd.NewWriter(out, s.compressor...)
	}
	encoder, err := zstd.NewWriter(nil, s.compressor...)
	if err != nil {
		return nil, err
	}
	return newFrameWriter(out, encoder, s.frames), nil
}

// unended is a writer that nothing is to be written to at its end.
type unended struct{ io.Writer }

func (unended) Close() error { return nil }
