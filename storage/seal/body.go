package seal

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// copyBytes is how much is read of a source at once.
const copyBytes = 256 << 10

// errClosed ends a sealing whose bytes nobody wants any more.
var errClosed = errors.New("the sealed bytes are no longer wanted")

// Body is an object on its way to a store, sealed as it is read. It gives
// io.EOF only after the source gave its own and everything before it was
// sealed; any other error of the source comes out as it is.
type Body struct {
	out    *io.PipeReader
	done   chan struct{} // closed when nothing is read of the source any more
	plain  *Summer
	stored *Summer
}

// Seal returns the sealed bytes of src. Close must be called, and src not be
// touched before it has returned.
func (s *Sealer) Seal(src io.Reader) *Body {
	reader, writer := io.Pipe()
	b := &Body{out: reader, done: make(chan struct{}), plain: NewSummer(), stored: NewSummer()}
	go func() {
		defer close(b.done)
		s.seal(src, writer, b)
		b.plain.Sum()
		b.stored.Sum()
	}()
	return b
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) { return b.out.Read(p) }

// Close ends the sealing, wherever it is, and waits for it.
func (b *Body) Close() error {
	b.out.CloseWithError(errClosed)
	<-b.done
	return nil
}

// Plain sums up what was read of the source, and Stored what became of it:
// both after Close.
func (b *Body) Plain() Sum { return b.plain.Sum() }

// Stored is described at Plain.
func (b *Body) Stored() Sum { return b.stored.Sum() }

// seal runs the source through everything into the pipe, and ends the pipe.
func (s *Sealer) seal(src io.Reader, pipe *io.PipeWriter, b *Body) {
	// In pieces as large as the stores take them: each one wakes up a reader.
	out := bufio.NewWriterSize(io.MultiWriter(pipe, b.stored), copyBytes)
	stages, err := s.stages(out)
	if err == nil {
		err = pump(stages[0], b.plain, src)
	}
	for _, stage := range stages {
		if err != nil {
			// Not ended: what was sealed so far must not look whole. A closed
			// pipe lets the compressor's own goroutines come to rest.
			pipe.CloseWithError(err)
		}
		if failure := stage.Close(); err == nil {
			err = failure
		}
	}
	if err == nil {
		err = out.Flush()
	}
	pipe.CloseWithError(err) // nil is io.EOF
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
		compressed, err := zstd.NewWriter(stages[0], s.compressor...)
		if err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		stages = append([]io.WriteCloser{compressed}, stages...)
	}
	return stages, nil
}

// unended is a writer that nothing is to be written to at its end.
type unended struct{ io.Writer }

func (unended) Close() error { return nil }

// pump copies the source to its io.EOF, and sums it up.
func pump(to io.Writer, sum *Summer, src io.Reader) error {
	buffer := make([]byte, copyBytes)
	for {
		n, err := src.Read(buffer)
		sum.Write(buffer[:n])
		if n > 0 {
			if _, failure := to.Write(buffer[:n]); failure != nil {
				return failure
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
