package catalog

import (
	"context"
	"io"
	"sync"
	"time"
)

// Meter tells for what the readers of a snapshot's objects wait: see
// [Snapshot.Metered]. It is safe for concurrent use.
type Meter struct {
	now func() time.Time

	mu        sync.Mutex
	last      time.Time // up to when the waits are summed up
	open      int       // objects that are open, or being opened
	fetching  int       // of them: whose reader waits while the store is read
	unsealing int       // and whose reader waits while it is not
	waits     Waits
}

// Waits are the parts of a time for which readers of objects waited. While several
// objects are open each has its share of the time, so that what was done with the
// bytes is the rest, and no part is longer than the time itself.
type Waits struct {
	Fetch  time.Duration // for a store
	Unseal time.Duration // for the decryption and decompression of what the store had given
}

// NewMeter returns a meter on a clock, which is read under a lock of the meter's.
func NewMeter(now func() time.Time) *Meter { return &Meter{now: now} }

// Take is what the waits came to since the last call.
func (m *Meter) Take() Waits {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass()
	waits := m.waits
	m.waits = Waits{}
	return waits
}

// pass sums up the time since the last change. The caller holds the lock.
func (m *Meter) pass() {
	now := m.now()
	if m.open > 0 {
		share := now.Sub(m.last) / time.Duration(m.open)
		m.waits.Fetch += share * time.Duration(m.fetching)
		m.waits.Unseal += share * time.Duration(m.unsealing)
	}
	m.last = now
}

// Metered returns the snapshot with a meter on what its Open and OpenUnsummed open.
func (s *Snapshot) Metered(m *Meter) *Snapshot {
	metered := *s
	metered.meter = m
	return &metered
}

// opener opens the stored bytes of an object, as [Snapshot.OpenStored] does.
type opener func(ctx context.Context, relative string) (io.ReadCloser, error)

// metered has the snapshot's meter, where it has one, watch what open opens.
func (s *Snapshot) metered(open func(opener) (io.ReadCloser, error)) (io.ReadCloser, error) {
	if s.meter == nil {
		return open(s.OpenStored)
	}
	o := &metering{meter: s.meter, sealed: s.Manifest.Seal.Lock().Sealed()}
	o.count(1)
	o.change(&o.waiting, true)
	defer o.change(&o.waiting, false)
	content, err := open(func(ctx context.Context, relative string) (io.ReadCloser, error) {
		o.change(&o.storing, true)
		defer o.change(&o.storing, false)
		body, err := s.OpenStored(ctx, relative)
		if err != nil {
			return nil, err
		}
		return &meteredStore{body, o}, nil
	})
	if err != nil {
		o.count(-1)
		return nil, err
	}
	return &meteredContent{ReadCloser: content, of: o, end: sync.OnceFunc(func() { o.count(-1) })}, nil
}

// metering is one open object. Its fields are guarded by the meter's lock: a sealed
// one may be read ahead of its reader, by another goroutine.
type metering struct {
	meter   *Meter
	sealed  bool
	waiting bool // its reader, for its bytes
	storing bool // the store is being read
}

// count adds the object to those that are open, or takes it from them.
func (o *metering) count(n int) {
	o.meter.mu.Lock()
	defer o.meter.mu.Unlock()
	o.meter.pass()
	o.meter.open += n
}

// change sets what is going on with the object.
func (o *metering) change(what *bool, to bool) {
	o.meter.mu.Lock()
	defer o.meter.mu.Unlock()
	o.meter.pass()
	o.add(-1)
	*what = to
	o.add(1)
}

// add has the meter count what the object's reader waits for.
func (o *metering) add(n int) {
	switch {
	case o.waiting && o.storing:
		o.meter.fetching += n
	case o.waiting && o.sealed:
		o.meter.unsealing += n
	}
}

// meteredStore is an object's stored bytes.
type meteredStore struct {
	io.ReadCloser
	of *metering
}

func (s *meteredStore) Read(p []byte) (int, error) {
	s.of.change(&s.of.storing, true)
	defer s.of.change(&s.of.storing, false)
	return s.ReadCloser.Read(p)
}

// meteredContent is what an object holds.
type meteredContent struct {
	io.ReadCloser
	of  *metering
	end func()
}

func (c *meteredContent) Read(p []byte) (int, error) {
	c.of.change(&c.of.waiting, true)
	defer c.of.change(&c.of.waiting, false)
	return c.ReadCloser.Read(p)
}

func (c *meteredContent) Close() error {
	defer c.end()
	return c.ReadCloser.Close()
}
