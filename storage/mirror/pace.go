package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
)

// checksPerStall is how often within a stall timeout slow mirrors are judged
// while somebody waits for them.
const checksPerStall = 8

// patience adds up how long one mirror has held the others up, over all Puts of
// a writer. Several that wait for it at once wait for the same time.
type patience struct {
	mu      sync.Mutex
	waiting int
	since   time.Time
	used    time.Duration
}

func (p *patience) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == 0 {
		p.since = clock.Now()
	}
	p.waiting++
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting--; p.waiting == 0 {
		p.used += clock.Since(p.since)
	}
}

func (p *patience) spent() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == 0 {
		return p.used
	}
	return p.used + clock.Since(p.since)
}

// notify wakes who waits for the stores.
func (f *fan) notify() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// room waits until there is a chunk for the next piece of the body. The primary
// is never given more than it can soon take; a mirror may be behind it by what
// the shared budget holds.
func (f *fan) room(ctx context.Context) (*chunk, error) {
	var c *chunk
	err := f.wait(ctx, func() bool {
		if f.primary.pending() >= ownChunks {
			return false
		}
		c = f.takeChunk()
		return c != nil
	}, f.holdsUp())
	return c, err
}

// holdsUp tells the mirrors that keep the room: those that are furthest behind
// the primary, if it is not the primary itself.
func (f *fan) holdsUp() func(*feed) bool {
	return func(m *feed) bool {
		first, furthest := f.primary.pending(), 0
		for _, other := range f.mirrors {
			furthest = max(furthest, other.pending())
		}
		return first < ownChunks && m.pending() > first && 2*m.pending() >= furthest
	}
}

// wait waits until ready, and meanwhile holds those mirrors to their limits for
// which it waits. It is an error if the primary ends or ctx does.
func (f *fan) wait(ctx context.Context, ready func() bool, slow func(*feed) bool) error {
	charged := map[*member]bool{}
	defer func() {
		for m := range charged {
			m.patience.end()
		}
	}()
	var tick *time.Ticker
	for {
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("put %s: %w", f.name, context.Cause(ctx))
		case f.primary.ended() && !f.primaryDone:
			return f.primaryFailed()
		}
		f.judge(ctx, slow, charged)
		if ready() {
			return nil
		}
		if tick == nil { // most often nobody has to wait
			tick = time.NewTicker(f.writer.stall / checksPerStall)
			defer tick.Stop()
		}
		select {
		case <-f.changed:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// judge drops the mirrors that have ended, or over which the others have lost
// their patience.
func (f *fan) judge(ctx context.Context, slow func(*feed) bool, charged map[*member]bool) {
	in := f.mirrors[:0:0]
	for _, m := range f.mirrors {
		reason := f.fault(m)
		if holds := slow(m); holds != charged[m.member] {
			if holds {
				charged[m.member] = true
				m.member.patience.begin()
			} else {
				delete(charged, m.member)
				m.member.patience.end()
			}
		}
		if reason == nil && charged[m.member] {
			reason = f.tooSlow(m)
		}
		switch {
		case m.member.out(): // perhaps by another Put of this writer
		case reason == nil:
			in = append(in, m)
			continue
		case ctx.Err() != nil: // the whole Put ends, that is not the mirror's fault
		default:
			m.member.drop(reason)
		}
		m.cancel(m.member.outcome())
		f.lost = append(f.lost, m)
	}
	f.mirrors = in
}

// fault is why a mirror has ended before the body.
func (f *fan) fault(m *feed) error {
	switch {
	case f.finished || !m.ended():
		return nil
	case m.err != nil:
		return m.err
	}
	return fmt.Errorf("put %s to %s: %w", f.name, m.member, errStoppedReading)
}

// tooSlow is why a mirror for which the others wait is to be dropped. One that
// moves bytes has not stalled, however slow it is.
func (f *fan) tooSlow(m *feed) error {
	limit := f.writer.stall
	if f.finished && m.pending() == 0 {
		limit *= finishStalls
	}
	if m.ended() {
		return nil
	}
	if idle := m.idle(); idle >= limit {
		return fmt.Errorf("put %s to %s: %w: nothing moved for %s", f.name, m.member, ErrStalled, human.Duration(limit))
	}
	if m.member.patience.spent() >= f.writer.patience {
		return fmt.Errorf("put %s to %s: %w: it has held the others up for %s in all", f.name, m.member, ErrSlow, human.Duration(f.writer.patience))
	}
	return nil
}
