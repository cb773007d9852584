package readahead_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/slotark/slotark/internal/readahead"
)

func noise(n int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func TestGivesWhatTheSourceGives(t *testing.T) {
	sources := map[string]func(io.Reader) io.Reader{
		"plain":           func(r io.Reader) io.Reader { return r },
		"halves":          iotest.HalfReader,
		"data with error": iotest.DataErrReader,
	}
	for name, wrap := range sources {
		for _, n := range []int{0, 1, 256 << 10, 256<<10 + 1, 3 << 20, 5<<20 + 17} {
			data := noise(n)
			r := readahead.New(wrap(bytes.NewReader(data)))
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes come out as %d, %v", name, n, len(got), err)
			}
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: behind the end stands %v", name, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestReaderKeepsItsPromises(t *testing.T) {
	data := noise(1000)
	r := readahead.New(iotest.OneByteReader(bytes.NewReader(data)))
	defer r.Close()
	if err := iotest.TestReader(r, data); err != nil {
		t.Error(err)
	}
}

// The error of a source comes behind its last byte, and stays.
func TestErrorComesAfterTheBytes(t *testing.T) {
	broken := errors.New("the disk is gone")
	r := readahead.New(io.MultiReader(strings.NewReader("some bytes"), iotest.ErrReader(broken)))
	defer r.Close()
	got, err := io.ReadAll(r)
	if string(got) != "some bytes" || err != broken {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := r.Read(make([]byte, 1)); err != broken {
		t.Errorf("then %v", err)
	}
}

type sourceFunc func([]byte) (int, error)

func (f sourceFunc) Read(p []byte) (int, error) { return f(p) }

func TestSourcesThatBreakTheirPromise(t *testing.T) {
	cases := map[string]struct {
		source sourceFunc
		want   error
	}{
		"too many":      {func(p []byte) (int, error) { return len(p) + 1, nil }, readahead.ErrCount},
		"less than no":  {func([]byte) (int, error) { return -1, nil }, readahead.ErrCount},
		"never any":     {func([]byte) (int, error) { return 0, nil }, io.ErrNoProgress},
		"nothing, done": {func([]byte) (int, error) { return 0, io.EOF }, io.EOF},
	}
	for name, c := range cases {
		r := readahead.New(c.source)
		if n, err := r.Read(make([]byte, 9)); n != 0 || err != c.want {
			t.Errorf("%s: %d, %v, want %v", name, n, err, c.want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A source without end is read no further than there are blocks, and Close
// ends that: synctest fails where a goroutine stays behind.
func TestCloseEndsTheReadingAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given int
		r := readahead.New(sourceFunc(func(p []byte) (int, error) { given += len(p); return len(p), nil }))
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if given != 2<<20 {
			t.Errorf("%d bytes are read ahead, want 2 MiB", given)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err != io.ErrClosedPipe {
			t.Errorf("after Close there is %v", err)
		}
	})
}

// Close waits for a read that is under way: its source is the caller's after.
func TestCloseWaitsForTheRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, ended := make(chan struct{}), false
		r := readahead.New(sourceFunc(func([]byte) (int, error) { <-release; ended = true; return 0, io.EOF }))
		synctest.Wait()
		closed := make(chan bool)
		go func() { r.Close(); closed <- ended }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		close(release)
		if !<-closed {
			t.Error("Close returned before the read did")
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := readahead.New(io.LimitReader(sourceFunc(func(p []byte) (int, error) { return len(p), nil }), 200<<20))
	n, err := io.Copy(io.Discard, r)
	if err != nil || n != 200<<20 {
		t.Fatal(n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 3<<20 {
		t.Errorf("%d bytes were allocated for 200 MiB", got)
	}
}
