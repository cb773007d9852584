package catalog

import (
	"context"
	"errors"
	"io"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// OpenPacked opens one of the snapshot's objects as [Snapshot.Open] does, with
// the same checks of what it holds, but returns it decrypted only: compressed as
// it is stored, ready to be encrypted again. The caller closes the reader.
func (s *Snapshot) OpenPacked(ctx context.Context, file manifest.File) (io.ReadCloser, error) {
	if err := s.Unlocked(); err != nil {
		return nil, err
	}
	body, err := s.OpenStored(ctx, file.Object)
	if err != nil {
		return nil, err
	}
	lock := s.Manifest.Seal.Lock()
	stored := newStoredCheck(body, file)
	decrypted, err := seal.Unseal(stored, seal.Lock{Compression: seal.None, Encryption: lock.Encryption, Recipients: lock.Recipients}, s.keys)
	if err != nil {
		return nil, errors.Join(damaged(file.Object, err), stored.Close())
	}
	reader, writer := io.Pipe()
	p := &packed{stored: stored, decrypted: decrypted, object: file.Object, tee: writer, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.failure = holds(reader, file, lock.Compression)
		// Nobody must wait for a reader that has seen enough.
		reader.CloseWithError(errors.Join(p.failure, io.ErrClosedPipe))
	}()
	return p, nil
}

// holds reads what is compressed to its end and checks what it holds.
func holds(compressed io.Reader, file manifest.File, compression string) error {
	plain, err := seal.Unseal(compressed, seal.Lock{Compression: compression, Encryption: seal.None}, nil)
	if err != nil {
		return damaged(file.Object, err)
	}
	content := newChecked(plain, file.Object, "what it holds: ", file.Content())
	_, err = io.Copy(io.Discard, content)
	return errors.Join(err, content.Close())
}

// packed is an object on its way to being encrypted again, while what it holds
// is checked beside. It gives io.EOF only after that was found right.
type packed struct {
	stored    *checked
	decrypted io.ReadCloser
	object    string
	tee       *io.PipeWriter

	done    chan struct{} // closed when failure is set
	failure error
}

func (p *packed) Read(to []byte) (int, error) {
	n, err := p.decrypted.Read(to)
	if _, refused := p.tee.Write(to[:n]); refused != nil {
		return 0, p.conclude()
	}
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		p.tee.CloseWithError(err)
		return n, damaged(p.object, err)
	}
	p.tee.Close()
	if err := p.conclude(); err != nil {
		return 0, err
	}
	return n, io.EOF
}

// conclude waits for what was found of the content.
func (p *packed) conclude() error {
	<-p.done
	return p.failure
}

func (p *packed) Close() error {
	p.tee.CloseWithError(io.ErrClosedPipe)
	<-p.done
	return errors.Join(p.decrypted.Close(), p.stored.Close())
}
