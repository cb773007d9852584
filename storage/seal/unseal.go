package seal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Unseal returns the plain bytes of what was sealed as the lock says. Nothing
// is handed on that was not authenticated, where it is encrypted; the end is
// given only for the whole. [ErrNoIdentity] is returned before anything is
// read, [ErrDamaged] with the place for what is not as it was sealed, and an
// error of src as it is. The caller closes the reader, which leaves src open,
// and does not touch src before.
func Unseal(src io.Reader, l Lock, keys *Identities) (io.ReadCloser, error) {
	if err := keys.Check(l); err != nil {
		return nil, err
	}
	u := &unsealed{src: src}
	plain := io.Reader(&counted{u})
	if l.Encryption == Age {
		decrypted, err := age.Decrypt(plain, keys.keys...)
		if err != nil {
			return nil, u.explain(err)
		}
		plain = &watched{decrypted, u}
	}
	if l.Compression == Zstd {
		u.decompressed.src = bufio.NewReaderSize(plain, readBytes)
		plain = &u.decompressed
	}
	u.plain, u.lock = plain, l
	return u, nil
}

// unsealed is an object on its way back.
type unsealed struct {
	src          io.Reader
	plain        io.Reader
	lock         Lock
	decompressed decompressed

	read    atomic.Int64 // sealed bytes so far: the decoder reads ahead
	failure atomic.Value // failed: the error by which src ended
	refused atomic.Value // failed: the error by which decrypting ended
}

// failed lets errors of any type be kept in one place.
type failed struct{ error }

// counted is src as the stages see it.
type counted struct{ *unsealed }

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.read.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.failure.Store(failed{err})
	}
	return n, err
}

// watched is what was decrypted, as the decoder sees it. The decoder takes an
// end that comes too early for an end, where it waits for a frame to begin.
type watched struct {
	io.Reader
	of *unsealed
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && err != io.EOF {
		w.of.refused.Store(failed{err})
	}
	return n, err
}

// Read implements io.Reader.
func (u *unsealed) Read(p []byte) (int, error) {
	n, err := u.plain.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF: // as readers give it: a wrapped one is a failure
		// A compressed object is never empty, but its decoder takes nothing
		// for no frames.
		if u.lock.Compression == Zstd && u.read.Load() == 0 {
			return n, u.explain(io.ErrUnexpectedEOF)
		}
		if refused, ok := u.refused.Load().(failed); ok {
			return n, u.explain(refused.error)
		}
		return n, io.EOF
	}
	return n, u.explain(err)
}

// Close frees what reading took.
func (u *unsealed) Close() error { return u.decompressed.Close() }

// decompressed is what compressed bytes hold. Their first frame says how they were
// compressed.
type decompressed struct {
	src *bufio.Reader
	io.ReadCloser
}

func (d *decompressed) Read(p []byte) (int, error) {
	if d.ReadCloser == nil {
		header, err := peekHeader(d.src)
		if err != nil {
			return 0, err
		}
		if err := d.begin(header); err != nil {
			return 0, err
		}
	}
	return d.ReadCloser.Read(p)
}

func (d *decompressed) begin(header *zstd.Header) error {
	if framed(header) {
		d.ReadCloser = newFrameReader(d.src)
		return nil
	}
	stream, err := zstd.NewReader(d.src, zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderConcurrency(pipelined), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return err
	}
	d.ReadCloser = stream.IOReadCloser()
	return nil
}

func (d *decompressed) Close() error {
	if d.ReadCloser == nil {
		return nil
	}
	return d.ReadCloser.Close()
}

// explain turns what a stage says into what it means: the source's own error,
// or damage and about where.
func (u *unsealed) explain(err error) error {
	if own, ok := u.failure.Load().(failed); ok {
		return own.error
	}
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		// Check found one: so it is not the key that is wrong.
		err = errors.New("the header does not open with the identity of its recipient")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: they end too early, after %d bytes", ErrDamaged, u.read.Load())
	}
	return fmt.Errorf("%w within their first %d bytes: %w", ErrDamaged, u.read.Load(), err)
}
