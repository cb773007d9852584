package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/seal"
)

// handClock is a clock that stands still but where it is moved.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// slowStore takes a second for each opening and each read.
type slowStore struct {
	storage.Store
	clock *handClock
	took  time.Duration
}

func (s *slowStore) second() {
	s.clock.move(time.Second)
	s.took += time.Second
}

func (s *slowStore) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	s.second()
	body, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &slowBody{body, s}, nil
}

type slowBody struct {
	io.ReadCloser
	store *slowStore
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.store.second()
	return b.ReadCloser.Read(p[:min(len(p), 1<<10)])
}

// TestMeter opens an object whose store alone takes time, and looks at another for a
// time that is the reader's own.
func TestMeter(t *testing.T) {
	for name, way := range map[string]struct {
		compression string
		encrypted   bool
	}{"as it is": {seal.None, false}, "compressed": {seal.Zstd, false}, "encrypted": {seal.None, true}, "both": {seal.Zstd, true}} {
		t.Run(name, func(t *testing.T) {
			o := newSealedObject(t, way.compression, way.encrypted, bytes.Repeat([]byte("what a dump may hold "), 4000))
			now := &handClock{now: time.Unix(1767225600, 0)}
			slow := &slowStore{Store: o.Stores()[0].Store, clock: now}
			meter := catalog.NewMeter(now.Now)
			metered := o.Metered(meter).In(storage.Named{Name: "eu", Store: slow})
			for verb, open := range map[string]opening{"Open": metered.Open, "OpenUnsummed": metered.OpenUnsummed} {
				slow.took = 0
				body, err := open(t.Context(), o.file)
				if err != nil {
					t.Fatal(err)
				}
				now.move(time.Hour) // what is done between two reads is nobody's waiting
				if _, err := io.Copy(io.Discard, body); err != nil {
					t.Fatal(err)
				}
				if err := body.Close(); err != nil {
					t.Fatal(err)
				}
				_ = body.Close() // counts nothing twice
				now.move(time.Hour)
				// What is read ahead while the reader does something else keeps nobody waiting.
				got := meter.Take()
				if got.Unseal != 0 || got.Fetch > slow.took || got.Fetch == 0 || way.compression == seal.None && got.Fetch != slow.took {
					t.Errorf("%s: %+v of a store that took %s", verb, got, slow.took)
				}
				if got := meter.Take(); got != (catalog.Waits{}) {
					t.Errorf("%s, taken again: %+v", verb, got)
				}
			}
		})
	}
}

// Two objects that are open at once share the time: the waits are parts of it.
func TestMeterShares(t *testing.T) {
	o := newSealedObject(t, seal.None, false, []byte("what a dump may hold"))
	now := &handClock{now: time.Unix(1767225600, 0)}
	slow := &slowStore{Store: o.Stores()[0].Store, clock: now}
	meter := catalog.NewMeter(now.Now)
	metered := o.Metered(meter)
	idle, err := metered.Open(t.Context(), o.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := content(t, metered.In(storage.Named{Name: "eu", Store: slow}).Open, o.file); err != nil {
		t.Fatal(err)
	}
	if got := meter.Take(); got.Fetch != slow.took/2 || got.Unseal != 0 {
		t.Errorf("%+v of a store that took %s beside an object that nobody waited for", got, slow.took)
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	absent := o.file
	absent.Object = "absent"
	if _, err := metered.In(storage.Named{Name: "eu", Store: slow}).Open(t.Context(), absent); !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	now.move(time.Hour)
	if got := meter.Take(); got.Fetch != time.Second {
		t.Errorf("%+v of an opening that failed after a second", got)
	}
}

// What keeps the reader waiting while the store is not read is the unsealing.
func TestMeterUnseals(t *testing.T) {
	o := newSealedObject(t, seal.Zstd, true, bytes.Repeat([]byte("what a dump may hold "), 100))
	// Each look at this clock takes a millisecond: so all that is done does.
	now := &handClock{now: time.Unix(1767225600, 0)}
	meter := catalog.NewMeter(func() time.Time { now.move(time.Millisecond); return now.Now() })
	if _, err := content(t, o.Metered(meter).Open, o.file); err != nil {
		t.Fatal(err)
	}
	if got := meter.Take(); got.Fetch == 0 || got.Unseal == 0 {
		t.Errorf("%+v", got)
	}
}

// opening is a way to open an object.
type opening = func(context.Context, manifest.File) (io.ReadCloser, error)
