package prompt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage"
)

// ErrSilent is returned for a store that did not answer within the limit, and
// for everything that it is asked afterwards.
var ErrSilent = errors.New("the store does not answer")

// Store is a store that is asked with a limit.
type Store struct {
	storage.Store
	limit time.Duration

	mu     sync.Mutex
	silent error // set once it was silent for too long
}

// New returns a store that gives up on inner when it does not answer in time.
// What is put into it takes as long as it takes.
func New(inner storage.Store, limit time.Duration) storage.Store {
	s := &Store{Store: inner, limit: limit}
	if byFolder, ok := inner.(storage.FolderLister); ok {
		return &folderStore{s, byFolder}
	}
	return s
}

type folderStore struct {
	*Store
	inner storage.FolderLister
}

// Folders asks the inner store.
func (s *folderStore) Folders(ctx context.Context, prefix string) ([]string, error) {
	return within(ctx, s.Store, func(ctx context.Context) ([]string, error) { return s.inner.Folders(ctx, prefix) })
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if err := s.known(); err != nil {
		return storage.Object{}, fmt.Errorf("put %s to %s: %w", name, s, err)
	}
	return s.Store.Put(ctx, name, body)
}

// Stat implements [storage.Store].
func (s *Store) Stat(ctx context.Context, name string) (storage.Object, error) {
	return within(ctx, s, func(ctx context.Context) (storage.Object, error) { return s.Store.Stat(ctx, name) })
}

// within asks the store with the limit.
func within[T any](ctx context.Context, s *Store, ask func(context.Context) (T, error)) (T, error) {
	w, err := s.begin(ctx)
	if err != nil {
		return *new(T), err
	}
	defer w.end()
	var answer T
	err = w.wait(func() (err error) {
		given, err := ask(w.ctx)
		if err == nil {
			answer = given
		}
		return err
	}, nil)
	if err != nil {
		return *new(T), err
	}
	return answer, nil
}

// Open implements [storage.Store].
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return s.open(ctx, name, func(ctx context.Context) (io.ReadCloser, error) { return s.Store.Open(ctx, name) })
}

// OpenAt implements [storage.RangeOpener] as far as the inner store does.
func (s *Store) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return s.open(ctx, name, func(ctx context.Context) (io.ReadCloser, error) {
		return storage.OpenAt(ctx, s.Store, name, offset, length)
	})
}

func (s *Store) open(ctx context.Context, name string, ask func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	w, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	var body io.ReadCloser
	err = w.wait(func() (err error) {
		body, err = ask(w.ctx)
		return err
	}, func() {
		if body != nil { // nobody reads it any more
			_ = body.Close()
		}
	})
	if err != nil {
		w.end()
		return nil, err
	}
	return &reader{waiting: w, body: body}, nil
}

// List implements [storage.Store]. The limit is for each name.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		w, err := s.begin(ctx)
		if err != nil {
			yield(storage.Object{}, err)
			return
		}
		defer w.end()
		next, stop := iter.Pull2(s.Store.List(w.ctx, prefix))
		for {
			var object storage.Object
			var more bool
			err := w.wait(func() (err error) {
				object, err, more = next()
				return err
			}, stop)
			if w.behind { // next is still at it: object is not ours to read
				yield(storage.Object{}, err)
				return
			}
			if !more || !yield(object, err) || err != nil {
				stop()
				return
			}
		}
	}
}

func (s *Store) known() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silent
}

// waiting is one question to the store.
type waiting struct {
	store  *Store
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	behind bool // the store was left behind
}

func (s *Store) begin(ctx context.Context) (*waiting, error) {
	if err := s.known(); err != nil {
		return nil, err
	}
	w := &waiting{store: s}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(s.limit, func() {
		w.cancel(fmt.Errorf("%w: nothing came from %s for %s", ErrSilent, s, human.Duration(s.limit)))
	})
	w.timer.Stop()
	return w, nil
}

func (w *waiting) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// wait does what asks the store, until the limit. A store that does not even
// heed the end of its context (a network file system that hangs) is left behind;
// late is then called when it has ended after all.
func (w *waiting) wait(ask func() error, late func()) error {
	w.timer.Reset(w.store.limit)
	defer w.timer.Stop()
	done := make(chan error, 1)
	go func() { done <- ask() }()
	var err error
	select {
	case err = <-done:
	case <-w.ctx.Done():
		// It is given a moment to wind up.
		moment := time.NewTimer(windUp)
		defer moment.Stop()
		select {
		case err = <-done:
		case <-moment.C:
			w.behind = true
			go func() {
				<-done
				if late != nil {
					late()
				}
			}()
			err = context.Cause(w.ctx)
		}
	}
	if cause := context.Cause(w.ctx); err != nil && errors.Is(cause, ErrSilent) {
		w.store.mu.Lock()
		w.store.silent = cause
		w.store.mu.Unlock()
		return cause
	}
	return err
}

// windUp is how long a store is given to heed the end of its context.
const windUp = time.Second

// reader is an object whose store is waited for with the limit.
type reader struct {
	*waiting
	body   io.ReadCloser
	buffer *[bufferBytes]byte
	unread []byte // of buffer
	err    error  // what the store said behind the last byte of it
}

// bufferBytes is what the store is asked for at once.
const bufferBytes = 128 << 10

var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

// Read implements io.Reader. The store reads into memory of its own and not
// into p: one that is left behind may still write to it when it wakes up.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.unread) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.buffer == nil {
			r.buffer = buffers.Get().(*[bufferBytes]byte)
		}
		n, memory, body := 0, r.buffer, r.body
		r.err = r.wait(func() (err error) {
			n, err = body.Read(memory[:])
			return err
		}, func() { _ = body.Close() })
		if r.behind { // n and the memory are the store's for good
			r.buffer = nil
			return 0, r.err
		}
		r.unread = memory[:n]
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// Close implements io.Closer. A body that was left behind is closed when its
// store wakes up.
func (r *reader) Close() error {
	r.end()
	if r.behind {
		return nil
	}
	if r.buffer != nil {
		buffers.Put(r.buffer)
		r.buffer, r.unread = nil, nil
	}
	return r.body.Close()
}
