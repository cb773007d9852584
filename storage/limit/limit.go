package limit

import (
	"context"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/storage"
)

const (
	burstBytes = 64 << 10
	// A piece takes at most so much of a second, so that whoever waits for bytes
	// sees them move, and a new rate counts at once.
	piecesPerSecond = 8
)

// Rates are a store's two rates. See NewRates.
type Rates struct{ put, get way }

// NewRates returns rates without a limit.
func NewRates() *Rates {
	return &Rates{way{rate.NewLimiter(rate.Inf, burstBytes)}, way{rate.NewLimiter(rate.Inf, burstBytes)}}
}

// Set changes the rates, in bytes a second; 0 is no limit. It may be called
// while bytes move.
func (r *Rates) Set(put, get int64) {
	r.put.set(put)
	r.get.set(get)
}

// way is one direction.
type way struct{ limiter *rate.Limiter }

func (w way) set(bytesPerSecond int64) {
	limit := rate.Inf
	if bytesPerSecond > 0 {
		limit = rate.Limit(bytesPerSecond)
	}
	w.limiter.SetLimit(limit)
}

// piece is how many bytes may move at once.
func (w way) piece() int {
	limit := w.limiter.Limit()
	if limit >= burstBytes*piecesPerSecond {
		return burstBytes
	}
	return max(1, int(limit)/piecesPerSecond)
}

// wait waits until n bytes, which have moved, are within the rate.
func (w way) wait(ctx context.Context, n int) error {
	delay := w.limiter.ReserveN(clock.Now(), n).Delay()
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// New returns a store whose bytes move at most at the rates.
func New(inner storage.Store, rates *Rates) storage.Store {
	s := &store{inner, rates}
	if byFolder, ok := inner.(storage.FolderLister); ok {
		return &folderStore{s, byFolder}
	}
	return s
}

type store struct {
	storage.Store
	rates *Rates
}

type folderStore struct {
	*store
	storage.FolderLister
}

// Put implements [storage.Store].
func (s *store) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	return s.Store.Put(ctx, name, &reader{ctx, body, s.rates.put})
}

// Open implements [storage.Store].
func (s *store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	body, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &readCloser{&reader{ctx, body, s.rates.get}, body}, nil
}

// OpenAt implements [storage.RangeOpener].
func (s *store) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	body, err := storage.OpenAt(ctx, s.Store, name, offset, length)
	if err != nil {
		return nil, err
	}
	return &readCloser{&reader{ctx, body, s.rates.get}, body}, nil
}

// Unwrap lets [storage.As] see what the store below can do.
func (s *store) Unwrap() storage.Store { return s.Store }

// NewReader returns a reader whose bytes come at most at a rate, in bytes a
// second; 0 is no limit.
func NewReader(ctx context.Context, r io.Reader, bytesPerSecond int64) io.Reader {
	if bytesPerSecond <= 0 {
		return r
	}
	w := way{rate.NewLimiter(rate.Inf, burstBytes)}
	w.set(bytesPerSecond)
	return &reader{ctx, r, w}
}

// reader gives a body's bytes at a rate.
type reader struct {
	ctx  context.Context
	body io.Reader
	way  way
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p[:min(len(p), r.way.piece())])
	if n > 0 {
		if waited := r.way.wait(r.ctx, n); waited != nil && err == nil {
			err = waited
		}
	}
	return n, err
}

// WriteTo implements io.WriterTo for a body that does, which is then written
// from where it lies, at the rate.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	if to, ok := r.body.(io.WriterTo); ok {
		return to.WriteTo(&writer{r, w})
	}
	return io.Copy(w, struct{ io.Reader }{r})
}

// writer takes a body's bytes at a rate.
type writer struct {
	*reader
	to io.Writer
}

func (w *writer) Write(p []byte) (written int, err error) {
	for err == nil && written < len(p) {
		piece := p[written:min(len(p), written+w.way.piece())]
		if err = w.way.wait(w.ctx, len(piece)); err != nil {
			break
		}
		var n int
		n, err = w.to.Write(piece)
		written += n
	}
	return written, err
}

type readCloser struct {
	io.Reader
	io.Closer
}
