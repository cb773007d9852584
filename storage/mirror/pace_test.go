package mirror_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// zeros is a body of so many bytes that says when its end was reached.
type zeros struct {
	left  int64
	ended time.Time
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		z.ended = clock.Now()
		return 0, io.EOF
	}
	n := int(min(z.left, int64(len(p))))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

// sinkStore takes a MiB, keeps nothing of it, and pauses.
type sinkStore struct {
	*storagetest.Memory
	pause time.Duration
}

func (s *sinkStore) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	var taken int64
	for {
		n, err := io.CopyN(io.Discard, body, 1<<20)
		taken += n
		if err == io.EOF {
			return storage.Object{Name: name, Bytes: taken, Modified: clock.Now()}, nil
		}
		if err != nil {
			return storage.Object{}, err
		}
		select {
		case <-time.After(s.pause):
		case <-ctx.Done():
			return storage.Object{}, ctx.Err()
		}
	}
}

func sink(name string, pause time.Duration) *sinkStore {
	return &sinkStore{storagetest.NewMemory(name), pause}
}

// The quick stores go ahead of a slow one by the budget.
func TestQuickStoresGoAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mirror.Set{Primary: named("p", sink("p", 0)), Mirrors: []storage.Named{named("slow", sink("slow", time.Second))}}.Begin()
		start := clock.Now()
		body := &zeros{left: 30 << 20}
		if _, err := w.Put(t.Context(), "a", body); err != nil {
			t.Fatal(err)
		}
		if source, all := body.ended.Sub(start), clock.Since(start); source > time.Second || all < 29*time.Second || all > 31*time.Second {
			t.Errorf("the source was held up for %s, the whole took %s", source, all)
		}
		wantErr(t, w, "slow", nil)

		start = clock.Now()
		body = &zeros{left: 200 << 20}
		if _, err := w.Put(t.Context(), "b", body); err != nil {
			t.Fatal(err)
		}
		if source := body.ended.Sub(start); source < 155*time.Second || source > 172*time.Second {
			t.Errorf("of 200 MiB, the source was held up for %s", source)
		}
		wantErr(t, w, "slow", nil)
	})
	wantNothingInUse(t)
}

// A mirror may be as slow as it likes without being taken for a dead one, but
// not hold the others up for longer than their patience, over all objects
// together, and however many of them are put at once.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 5 * time.Minute
		slow := sink("slow", 50*time.Second)
		w := mirror.Set{Primary: named("p", sink("p", 0)), Mirrors: []storage.Named{named("slow", slow), named("good", sink("good", 0))}, Patience: patience}.Begin()
		start := clock.Now()
		var puts sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d"} {
			puts.Go(func() {
				if _, err := w.Put(t.Context(), name, &zeros{left: 100 << 20}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		puts.Wait()
		if took := clock.Since(start); took < patience || took > patience+3*time.Minute {
			t.Errorf("the slow mirror has cost %s", took)
		}
		wantErr(t, w, "slow", mirror.ErrSlow)
		wantErr(t, w, "good", nil)
		start = clock.Now()
		if _, err := w.Commit(t.Context(), "manifest.json", strings.NewReader("{}")); err != nil || clock.Since(start) > 0 {
			t.Errorf("after it was dropped: %v after %s", err, clock.Since(start))
		}
	})
	wantNothingInUse(t)
}

// A primary that is slow is nobody's fault, and is waited for as long as it takes.
func TestSlowPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := mirror.Set{Primary: named("p", sink("p", 2*time.Minute)), Mirrors: []storage.Named{named("a", sink("a", 0)), named("b", sink("b", time.Minute))},
			Patience: time.Minute}.Begin()
		if _, err := w.Put(t.Context(), "a", &zeros{left: 100 << 20}); err != nil {
			t.Fatal(err)
		}
		wantErr(t, w, "a", nil)
		wantErr(t, w, "b", nil)
	})
	wantNothingInUse(t)
}

// What is given up gives the budget back, even where a store does not heed it.
func TestBudgetIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := newFaulty("deaf")
		deaf.stallsAt, deaf.deaf = 100<<10, make(chan struct{})
		w := mirror.Set{Primary: named("p", sink("p", 0)), Mirrors: []storage.Named{named("deaf", deaf)}, StallTimeout: 3 * time.Second}.Begin()
		if _, err := w.Put(t.Context(), "a", &zeros{left: 100 << 20}); err != nil {
			t.Fatal(err)
		}
		wantErr(t, w, "deaf", mirror.ErrStalled)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w = mirror.Set{Primary: named("p", sink("p", time.Minute)), Mirrors: []storage.Named{named("a", sink("a", time.Hour))}}.Begin()
		if _, err := w.Put(ctx, "a", &zeros{left: 100 << 20}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if n := mirror.SharedInUse(); n != 0 {
			t.Errorf("%d chunks of the budget are in use while the deaf store hangs", n)
		}
		close(deaf.deaf)
	})
}

func wantNothingInUse(t *testing.T) {
	t.Helper()
	if n := mirror.SharedInUse(); n != 0 {
		t.Errorf("%d chunks of the budget are in use", n)
	}
}

// A part that takes longer than the stall timeout to be sent is no stall: the
// store has read it long before, but its bytes are on their way.
func TestSlowLineWithinAPart(t *testing.T) {
	server := s3test.Start(t)
	store, err := s3.Open(t.Context(), s3.Options{
		Bucket: server.Bucket(t, "slow"), Endpoint: "http://" + slowProxy(t, strings.TrimPrefix(server.Endpoint, "http://")), PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := mirror.Set{Primary: named("p", storagetest.NewMemory("p")), Mirrors: []storage.Named{named("slow", store)}, StallTimeout: time.Second}.Begin()
	start := clock.Now()
	if _, err := w.Put(t.Context(), "a", &zeros{left: 18 << 20}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, w, "slow", nil)
	if took := clock.Since(start); took < 3*time.Second {
		t.Errorf("it took %s: no part took longer than the stall timeout, so nothing was tested", took)
	}
	if object, err := store.Stat(t.Context(), "a"); err != nil || object.Bytes != 18<<20 {
		t.Errorf("the mirror holds %+v, %v", object, err)
	}
}

// slowProxy passes on 2 MiB a second of each connection's requests.
func slowProxy(t *testing.T, server string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed: the test is over
			}
			// A long line has no megabytes of memory of its own.
			if err := client.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
				t.Error(err)
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			t.Cleanup(func() { client.Close(); upstream.Close() })
			connections.Go(func() {
				tick := time.NewTicker(time.Second / 32)
				defer tick.Stop()
				for range tick.C {
					if _, err := io.CopyN(upstream, client, 64<<10); err != nil {
						break
					}
				}
			})
			connections.Go(func() { io.Copy(client, upstream) })
		}
	})
	return listener.Addr().String()
}
