package prompt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/prompt"
	"github.com/slotark/slotark/storage/storagetest"
)

const limit = 15 * time.Second

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return prompt.New(storagetest.NewMemory(t.Name()), limit) })
	t.Run("folder", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) storage.Store { return prompt.New(fs.Open(t.TempDir()), limit) })
	})
}

// A folder can still tell its folders.
func TestFolders(t *testing.T) {
	s := prompt.New(fs.Open(t.TempDir()), limit)
	storagetest.Put(t, s, "a/b", []byte("x"))
	byFolder, ok := s.(interface {
		Folders(context.Context, string) ([]string, error)
	})
	if !ok {
		t.Fatal("it cannot")
	}
	if names, err := byFolder.Folders(t.Context(), ""); err != nil || strings.Join(names, " ") != "a" {
		t.Errorf("got %q, %v", names, err)
	}
	if _, ok := prompt.New(storagetest.NewMemory("m"), limit).(interface {
		Folders(context.Context, string) ([]string, error)
	}); ok {
		t.Error("a store in memory claims to")
	}
}

// hanging is a store that hangs in every read from a moment on. A deaf one
// heeds only the end of the test.
type hanging struct {
	*storagetest.Memory
	deaf   chan struct{}
	hangs  bool
	closed chan struct{} // closed with a body; nil: nobody waits for that
}

func (h *hanging) hang(ctx context.Context) error {
	if !h.hangs {
		return nil
	}
	if h.deaf != nil {
		<-h.deaf
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := h.hang(ctx); err != nil {
		return nil, err
	}
	body, err := h.Memory.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &hangingBody{body, h, ctx}, nil
}

func (h *hanging) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := h.hang(ctx); err != nil {
		return nil, err
	}
	return h.Memory.OpenAt(ctx, name, offset, length)
}

type hangingBody struct {
	io.ReadCloser
	store *hanging
	ctx   context.Context
}

func (b *hangingBody) Read(p []byte) (int, error) {
	if err := b.store.hang(b.ctx); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

func (b *hangingBody) Close() error {
	if b.store.closed != nil {
		close(b.store.closed)
	}
	return b.ReadCloser.Close()
}

func (h *hanging) Stat(ctx context.Context, name string) (storage.Object, error) {
	if err := h.hang(ctx); err != nil {
		return storage.Object{}, err
	}
	return h.Memory.Stat(ctx, name)
}

func (h *hanging) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := h.hang(ctx); err != nil {
			yield(storage.Object{}, err)
			return
		}
		h.Memory.List(ctx, prefix)(yield)
	}
}

// Every way of reading gives up in time, and after that at once.
func TestSilentStoreIsGivenUp(t *testing.T) {
	for name, ask := range map[string]func(context.Context, storage.Store) error{
		"Open": func(ctx context.Context, s storage.Store) error { _, err := s.Open(ctx, "a"); return err },
		"OpenAt": func(ctx context.Context, s storage.Store) error {
			_, err := storage.OpenAt(ctx, s, "a", 0, 1)
			return err
		},
		"Stat": func(ctx context.Context, s storage.Store) error { _, err := s.Stat(ctx, "a"); return err },
		"List": func(ctx context.Context, s storage.Store) (err error) {
			for _, err = range s.List(ctx, "") {
			}
			return err
		},
	} {
		for _, deaf := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					inner := &hanging{Memory: storagetest.NewMemory("m"), hangs: true}
					if deaf {
						inner.deaf = make(chan struct{})
					}
					s := prompt.New(inner, limit)
					start := clock.Now()
					if err := ask(t.Context(), s); !errors.Is(err, prompt.ErrSilent) {
						t.Errorf("got %v", err)
					}
					if took := clock.Since(start); took < limit || took > limit+2*time.Second {
						t.Errorf("it took %s", took)
					}
					start = clock.Now()
					for _, again := range []func() error{
						func() error { return ask(t.Context(), s) },
						func() error { _, err := s.Put(t.Context(), "b", strings.NewReader("x")); return err },
					} {
						if err := again(); !errors.Is(err, prompt.ErrSilent) || clock.Since(start) > 0 {
							t.Errorf("asked again: %v after %s", err, clock.Since(start))
						}
					}
					if deaf {
						close(inner.deaf)
						synctest.Wait()
					}
				})
			})
		}
	}
}

// A store that falls silent in the middle of an object is given up, too, also
// where it is deaf to that; one whose reader takes its time is not.
func TestSilentInTheMiddle(t *testing.T) {
	for name, deaf := range map[string]bool{"heeding": false, "deaf": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { silentInTheMiddle(t, deaf) })
		})
	}
}

func silentInTheMiddle(t *testing.T, deaf bool) {
	inner := &hanging{Memory: storagetest.NewMemory("m")}
	if deaf {
		inner.deaf = make(chan struct{})
	}
	s := prompt.New(inner, limit)
	storagetest.Put(t, s, "a", storagetest.Bytes(1<<20, 1))
	body, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Hour)
	if _, err := body.Read(make([]byte, 1)); err != nil {
		t.Errorf("after an hour: %v", err)
	}
	inner.hangs = true
	start := clock.Now()
	rest, err := io.ReadAll(body)
	if took := clock.Since(start); !errors.Is(err, prompt.ErrSilent) || took < limit || took > limit+2*time.Second {
		t.Errorf("got %v after %s", err, took)
	}
	if _, err := body.Read(rest); !errors.Is(err, prompt.ErrSilent) {
		t.Errorf("read again: %v", err)
	}
	mine := bytes.Clone(rest)
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if deaf { // it wakes up, and has nothing of the reader's to write to
		inner.closed = make(chan struct{})
		close(inner.deaf)
		<-inner.closed
	}
	if !bytes.Equal(mine, rest) {
		t.Error("what was read has changed")
	}
}

// A read that hangs must not keep whoever wants to stop.
func TestDeafReadIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &hanging{Memory: storagetest.NewMemory("m"), deaf: make(chan struct{})}
		s := prompt.New(inner, limit)
		storagetest.Put(t, s, "a", []byte("abc"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		body, err := s.Open(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		inner.hangs = true
		start := clock.Now()
		if _, err := io.ReadAll(body); !errors.Is(err, context.DeadlineExceeded) || clock.Since(start) > 3*time.Second {
			t.Errorf("got %v after %s", err, clock.Since(start))
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		close(inner.deaf)
	})
}

// That a person has had enough is not the store's fault.
func TestCancelledIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &hanging{Memory: storagetest.NewMemory("m"), hangs: true}
		s := prompt.New(inner, limit)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Stat(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		inner.hangs = false
		if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("asked again: %v", err)
		}
	})
}
