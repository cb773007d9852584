package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/slotark/slotark/storage"
)

const mib = 1 << 20

// checkSizes has the sizes at which stores go wrong: nothing, one byte, the
// edges of a part of 5 or 8 MiB, and several parts.
func checkSizes(t *testing.T, s storage.Store) {
	for _, size := range []int{0, 1, 4096, 5 * mib, 8*mib - 1, 8 * mib, 8*mib + 1, 16 * mib, 20*mib + 3} {
		name := fmt.Sprintf("sizes/%d", size)
		want := Bytes(size, uint64(size))
		put := Put(t, s, name, want)
		if got := Read(t, s, name); !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d other ones", size, len(got))
		}
		stat, err := s.Stat(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if stat != put {
			t.Errorf("Put returned %+v, Stat %+v", put, stat)
		}
	}
}

func checkOddBodies(t *testing.T, s storage.Store) {
	want := Bytes(10_000, 1)
	for name, body := range map[string]io.Reader{
		"one-byte-at-a-time": iotest.OneByteReader(bytes.NewReader(want)),
		"end-with-data":      iotest.DataErrReader(bytes.NewReader(want)),
		"half":               iotest.HalfReader(bytes.NewReader(want)),
	} {
		if _, err := s.Put(t.Context(), name, body); err != nil {
			t.Fatal(err)
		}
		if got := Read(t, s, name); !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes came back", name)
		}
	}
}

func checkMissing(t *testing.T, s storage.Store) {
	Put(t, s, "a/b/c", []byte("x"))
	for _, name := range []string{"a", "a/b", "a/b/cc", "a/b/c/d", "nope", "a/b/nope"} {
		wantMissing(t, s, name)
	}
	wantNames(t, s, "", "a/b/c")
}

func checkNames(t *testing.T, s storage.Store) {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\x00b", "a\nb", "\xff", strings.Repeat("n", 300)} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("x")); !errors.Is(err, storage.ErrName) {
			t.Errorf("Put(%q) = %v, want ErrName", name, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, storage.ErrName) {
			t.Errorf("Stat(%q) = %v, want ErrName", name, err)
		}
		if _, err := s.Open(t.Context(), name); !errors.Is(err, storage.ErrName) {
			t.Errorf("Open(%q) = %v, want ErrName", name, err)
		}
		if err := s.Delete(t.Context(), name); !errors.Is(err, storage.ErrName) {
			t.Errorf("Delete(%q) = %v, want ErrName", name, err)
		}
	}
	wantNames(t, s, "")
	for _, name := range []string{"with space/é+&=%20#?.json", strings.Repeat("d/", 20) + "deep", "..."} {
		Put(t, s, name, []byte(name))
		if got := Read(t, s, name); string(got) != name {
			t.Errorf("%q came back as %q", name, got)
		}
		wantNames(t, s, name, name)
	}
}

func checkNoOverwrite(t *testing.T, s storage.Store) {
	for _, size := range []int{5, 9 * mib} {
		name := fmt.Sprintf("kept/%d", size)
		want := Bytes(size, 1)
		Put(t, s, name, want)
		for _, other := range []int{0, 5, 9 * mib} {
			if _, err := s.Put(t.Context(), name, bytes.NewReader(Bytes(other, 2))); !errors.Is(err, storage.ErrExists) {
				t.Errorf("Put of %d bytes over %d = %v, want ErrExists", other, size, err)
			}
		}
		if got := Read(t, s, name); !bytes.Equal(got, want) {
			t.Errorf("the object of %d bytes was changed", size)
		}
	}
}

func checkRace(t *testing.T, s storage.Store) { race(t, s, 8, 10_000) }

func checkLargeRace(t *testing.T, s storage.Store) { race(t, s, 3, 9*mib) }

// race lets several putters meet at the end of their bodies: the last moment
// at which a store may look whether the name is taken.
func race(t *testing.T, s storage.Store, putters, size int) {
	var barrier, wait sync.WaitGroup
	barrier.Add(putters)
	errs := make([]error, putters)
	for i := range putters {
		wait.Go(func() {
			var once sync.Once
			meet := readerFunc(func([]byte) (int, error) {
				once.Do(func() { barrier.Done(); barrier.Wait() })
				return 0, io.EOF
			})
			_, errs[i] = s.Put(t.Context(), "race/one", io.MultiReader(bytes.NewReader(Bytes(size, uint64(i))), meet))
			once.Do(barrier.Done) // it failed before its end
		})
	}
	wait.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("putters %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, storage.ErrExists):
			t.Errorf("putter %d: %v, want ErrExists", i, err)
		}
	}
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs)
	}
	if got := Read(t, s, "race/one"); !bytes.Equal(got, Bytes(size, uint64(winner))) {
		t.Error("the object is not the winner's")
	}
	wantNames(t, s, "", "race/one")
}

// checkBodyError has io.ErrUnexpectedEOF too, which a store that fills blocks
// with io.ReadFull takes for the end of the body.
func checkBodyError(t *testing.T, s storage.Store) {
	for i, want := range []error{errors.New("broken body"), io.ErrUnexpectedEOF} {
		for _, size := range []int64{0, 100, 20 * mib} {
			name := fmt.Sprintf("broken/%d-%d", i, size)
			body := io.MultiReader(io.LimitReader(&endless{}, size), iotest.ErrReader(want))
			if _, err := s.Put(t.Context(), name, body); !errors.Is(err, want) {
				t.Errorf("after %d bytes: %v, want %v", size, err, want)
			}
			wantNothing(t, s, name)
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkCancel(t *testing.T, s storage.Store) {
	for _, after := range []int64{64 << 10, 20 * mib} {
		ctx, cancel := cancellable(t)
		name := fmt.Sprintf("cancelled/%d", after)
		body := &endless{after: after, at: func() error { cancel(); return nil }}
		if _, err := s.Put(ctx, name, body); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d bytes: %v", after, err)
		}
		wantNothing(t, s, name)
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func checkCancelled(t *testing.T, s storage.Store) {
	Put(t, s, "there", []byte("x"))
	ctx, cancel := cancellable(t)
	cancel()
	_, putErr := s.Put(ctx, "name", strings.NewReader("x"))
	_, openErr := s.Open(ctx, "there")
	_, statErr := s.Stat(ctx, "there")
	var listErr error
	for _, err := range s.List(ctx, "") {
		listErr = err
	}
	for what, err := range map[string]error{"Put": putErr, "Open": openErr, "Stat": statErr, "List": listErr, "Delete": s.Delete(ctx, "there")} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", what, err)
		}
	}
	wantNames(t, s, "", "there")
}

// checkNotSeenEarly looks from within the body: after many bytes, and at the
// last moment before the body's end.
func checkNotSeenEarly(t *testing.T, s storage.Store) {
	look := readerFunc(func([]byte) (int, error) {
		wantMissing(t, s, "early")
		wantNames(t, s, "")
		return 0, io.EOF
	})
	if _, err := s.Put(t.Context(), "early", io.MultiReader(io.LimitReader(&endless{}, 20*mib), look)); err != nil {
		t.Fatal(err)
	}
	wantNames(t, s, "", "early")
}

func checkConcurrent(t *testing.T, s storage.Store) {
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			name, want := fmt.Sprintf("same/folder/%d", i), Bytes(i*2*mib, uint64(i))
			if _, err := s.Put(t.Context(), name, bytes.NewReader(want)); err != nil {
				t.Error(err)
				return
			}
			r, err := s.Open(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: other bytes came back (%v)", name, err)
			}
		})
	}
	wait.Wait()
}

func checkString(t *testing.T, s storage.Store) {
	if text := s.String(); !strings.Contains(text, "://") || strings.Contains(text, "@") {
		t.Errorf("the location is %q", text)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
