package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing/iotest"

	"github.com/slotark/slotark/storage"
)

const mib = 1 << 20

// checkSizes has the sizes at which stores go wrong: nothing, one byte, the
// edges of a part of 5 or 8 MiB, and several parts.
func checkSizes(r *run) {
	for _, size := range []int{0, 1, 4096, 5 * mib, 8*mib - 1, 8 * mib, 8*mib + 1, 16 * mib, 20*mib + 3} {
		name := fmt.Sprintf("sizes/%d", size)
		want := Bytes(size, uint64(size))
		put := r.put(name, want)
		if got := r.read(name); !bytes.Equal(got, want) {
			r.faultf("%d bytes came back as %d other ones", size, len(got))
		}
		stat, err := r.s.Stat(r.ctx, name)
		if err != nil {
			r.fault(err)
			return
		}
		if stat != put {
			r.faultf("Put returned %+v, Stat %+v", put, stat)
		}
	}
}

func checkOddBodies(r *run) {
	want := Bytes(10_000, 1)
	for name, body := range map[string]io.Reader{
		"one-byte-at-a-time": iotest.OneByteReader(bytes.NewReader(want)),
		"end-with-data":      iotest.DataErrReader(bytes.NewReader(want)),
		"half":               iotest.HalfReader(bytes.NewReader(want)),
	} {
		if _, err := r.s.Put(r.ctx, name, body); err != nil {
			r.fault(err)
			return
		}
		if got := r.read(name); !bytes.Equal(got, want) {
			r.faultf("%s: other bytes came back", name)
		}
	}
}

func checkMissing(r *run) {
	r.put("a/b/c", []byte("x"))
	for _, name := range []string{"a", "a/b", "a/b/cc", "a/b/c/d", "nope", "a/b/nope"} {
		r.wantMissing(name)
	}
	r.wantNames("", "a/b/c")
}

func checkNames(r *run) {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\x00b", "a\nb", "\xff", strings.Repeat("n", 300)} {
		if _, err := r.s.Put(r.ctx, name, strings.NewReader("x")); !errors.Is(err, storage.ErrName) {
			r.faultf("Put(%q) = %v, want ErrName", name, err)
		}
		if _, err := r.s.Stat(r.ctx, name); !errors.Is(err, storage.ErrName) {
			r.faultf("Stat(%q) = %v, want ErrName", name, err)
		}
		if _, err := r.s.Open(r.ctx, name); !errors.Is(err, storage.ErrName) {
			r.faultf("Open(%q) = %v, want ErrName", name, err)
		}
		if err := r.s.Delete(r.ctx, name); !errors.Is(err, storage.ErrName) {
			r.faultf("Delete(%q) = %v, want ErrName", name, err)
		}
	}
	r.wantNames("")
	for _, name := range []string{"with space/é+&=%20#?.json", strings.Repeat("d/", 20) + "deep", "..."} {
		r.put(name, []byte(name))
		if got := r.read(name); string(got) != name {
			r.faultf("%q came back as %q", name, got)
		}
		r.wantNames(name, name)
	}
}

func checkNoOverwrite(r *run) {
	for _, size := range []int{5, 9 * mib} {
		name := fmt.Sprintf("kept/%d", size)
		want := Bytes(size, 1)
		r.put(name, want)
		for _, other := range []int{0, 5, 9 * mib} {
			if _, err := r.s.Put(r.ctx, name, bytes.NewReader(Bytes(other, 2))); !errors.Is(err, storage.ErrExists) {
				r.faultf("Put of %d bytes over %d = %v, want ErrExists", other, size, err)
			}
		}
		if got := r.read(name); !bytes.Equal(got, want) {
			r.faultf("the object of %d bytes was changed", size)
		}
	}
}

func checkRace(r *run) { r.race(8, 10_000) }

func checkLargeRace(r *run) { r.race(3, 9*mib) }

// race lets several putters meet at the end of their bodies: the last moment
// at which a store may look whether the name is taken.
func (r *run) race(putters, size int) {
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
			_, errs[i] = r.s.Put(r.ctx, "race/one", io.MultiReader(bytes.NewReader(Bytes(size, uint64(i))), meet))
			once.Do(barrier.Done) // it failed before its end
		})
	}
	wait.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			r.faultf("putters %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, storage.ErrExists):
			r.faultf("putter %d: %v, want ErrExists", i, err)
		}
	}
	if winner < 0 {
		r.faultf("nobody won: %v", errs)
		return
	}
	if got := r.read("race/one"); !bytes.Equal(got, Bytes(size, uint64(winner))) {
		r.faultf("the object is not the winner's")
	}
	r.wantNames("", "race/one")
}

// checkBodyError has io.ErrUnexpectedEOF too, which a store that fills blocks
// with io.ReadFull takes for the end of the body.
func checkBodyError(r *run) {
	for i, want := range []error{errors.New("broken body"), io.ErrUnexpectedEOF} {
		for _, size := range []int64{0, 100, 20 * mib} {
			name := fmt.Sprintf("broken/%d-%d", i, size)
			body := io.MultiReader(io.LimitReader(&endless{}, size), iotest.ErrReader(want))
			if _, err := r.s.Put(r.ctx, name, body); !errors.Is(err, want) {
				r.faultf("after %d bytes: %v, want %v", size, err, want)
			}
			r.wantNothing(name)
			if err := r.s.Delete(r.ctx, name); err != nil {
				r.fault(err)
				return
			}
		}
	}
}

func checkCancel(r *run) {
	for _, after := range []int64{64 << 10, 20 * mib} {
		ctx, cancel := context.WithCancel(r.ctx)
		name := fmt.Sprintf("cancelled/%d", after)
		body := &endless{after: after, at: func() error { cancel(); return nil }}
		if _, err := r.s.Put(ctx, name, body); !errors.Is(err, context.Canceled) {
			r.faultf("cancelled after %d bytes: %v", after, err)
		}
		r.wantNothing(name)
		if err := r.s.Delete(r.ctx, name); err != nil {
			r.fault(err)
			return
		}
	}
}

func checkCancelled(r *run) {
	r.put("there", []byte("x"))
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	_, putErr := r.s.Put(ctx, "name", strings.NewReader("x"))
	_, openErr := r.s.Open(ctx, "there")
	_, statErr := r.s.Stat(ctx, "there")
	var listErr error
	for _, err := range r.s.List(ctx, "") {
		listErr = err
	}
	for what, err := range map[string]error{"Put": putErr, "Open": openErr, "Stat": statErr, "List": listErr, "Delete": r.s.Delete(ctx, "there")} {
		if !errors.Is(err, context.Canceled) {
			r.faultf("%s with a cancelled context: %v", what, err)
		}
	}
	r.wantNames("", "there")
}

// checkNotSeenEarly looks from within the body: after many bytes, and at the
// last moment before the body's end.
func checkNotSeenEarly(r *run) {
	look := readerFunc(func([]byte) (int, error) {
		r.wantMissing("early")
		r.wantNames("")
		return 0, io.EOF
	})
	if _, err := r.s.Put(r.ctx, "early", io.MultiReader(io.LimitReader(&endless{}, 20*mib), look)); err != nil {
		r.fault(err)
		return
	}
	r.wantNames("", "early")
}

func checkConcurrent(r *run) {
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			name, want := fmt.Sprintf("same/folder/%d", i), Bytes(i*2*mib, uint64(i))
			if _, err := r.s.Put(r.ctx, name, bytes.NewReader(want)); err != nil {
				r.fault(err)
				return
			}
			body, err := r.s.Open(r.ctx, name)
			if err != nil {
				r.fault(err)
				return
			}
			got, err := io.ReadAll(body)
			if err := errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, want) {
				r.faultf("%s: other bytes came back (%v)", name, err)
			}
		})
	}
	wait.Wait()
}

func checkString(r *run) {
	if text := r.s.String(); !strings.Contains(text, "://") || strings.Contains(text, "@") {
		r.faultf("the location is %q", text)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// checkRanges reads parts of an object: at its edges, within, and past its end.
func checkRanges(r *run) {
	data := Bytes(100_000, 4)
	r.put("ranges/a", data)
	for _, at := range []struct{ offset, length int }{{0, 1}, {0, 100_000}, {99_999, 1}, {4096, 65_536}, {50_000, 50_000}} {
		body, err := storage.OpenAt(r.ctx, r.s, "ranges/a", int64(at.offset), int64(at.length))
		if err != nil {
			r.fault(err)
			continue
		}
		got, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, data[at.offset:at.offset+at.length]) {
			r.faultf("%d bytes from byte %d came back as %d other ones (%v)", at.length, at.offset, len(got), err)
		}
	}
	for _, at := range []struct{ offset, length int64 }{{-1, 10}, {0, 0}, {0, 100_001}, {99_999, 2}, {100_000, 1}, {1 << 40, 1}} {
		body, err := storage.OpenAt(r.ctx, r.s, "ranges/a", at.offset, at.length)
		if !errors.Is(err, storage.ErrRange) {
			r.faultf("%d bytes from byte %d of 100000: %v, want ErrRange", at.length, at.offset, err)
		}
		if err == nil {
			_ = body.Close()
		}
	}
	if _, err := storage.OpenAt(r.ctx, r.s, "ranges/none", 0, 1); !errors.Is(err, storage.ErrNotFound) {
		r.faultf("a range of a missing name: %v, want ErrNotFound", err)
	}
}
