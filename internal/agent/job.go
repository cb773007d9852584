package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// Workshop is what one job works with.
type Workshop struct {
	Capturer snapshot.Capturer // a pipeline over Writer that reports to the Report below
	Writer   *catalog.Writer
	Stores   []storage.Named
	Collect  string         // how: one of the Collect constants of package snapshot
	Report   *progress.Func // set by the job before it captures
}

// job is one order and what has become of it.
type job struct {
	server *Server
	id     string
	order  snapshot.Order
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	now      state
	word     word
	changed  chan struct{} // closed and replaced with each change of either
	attached int           // connections
	end      context.CancelCauseFunc
	left     time.Time // since when there is no connection
	orphan   bool      // given up for want of one
}

func newJob(s *Server, id string, o snapshot.Order) *job {
	j := &job{server: s, id: id, order: o, changed: make(chan struct{}), left: clock.Now()}
	j.ctx, j.cancel = context.WithCancelCause(s.ctx)
	return j
}

// change changes the state and tells everybody.
func (j *job) change(do func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	do()
	close(j.changed)
	j.changed = make(chan struct{})
}

// look is the state as it is now, and what is closed when it is another.
func (j *job) look() (state, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now
	now.Now = clock.Now()
	return now, j.changed
}

func (j *job) ended() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.now.Settled != nil
}

// attach makes a connection the job's; an older one ends. The function that it
// returns is called when the connection has ended.
func (j *job) attach(end context.CancelCauseFunc) (detach func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.end != nil {
		j.end(errors.New("the coordinator has opened another connection"))
	}
	j.end = end
	j.attached++
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.attached--
		j.left = clock.Now()
		if j.attached == 0 {
			j.end = nil
			time.AfterFunc(j.server.Grace, j.watch)
		}
	}
}

// watch gives the job up when no coordinator has been there for the grace.
func (j *job) watch() {
	j.mu.Lock()
	orphaned := j.attached == 0 && j.now.Settled == nil && clock.Since(j.left) >= j.server.Grace
	j.mu.Unlock()
	if orphaned {
		j.change(func() { j.orphan = true })
		j.cancel(errOrphaned)
	}
}

// hear takes what the coordinator says. A decision is final.
func (j *job) hear(w word) {
	j.change(func() {
		if w.Settle == "" || j.word.Settle != "" {
			w.Settle = j.word.Settle
		}
		w.Granted = max(w.Granted, j.word.Granted)
		j.word = w
		if !j.orphan && j.now.Settled == nil { // what is being removed is not held
			j.now.Held = max(j.now.Held, w.Hold)
		}
	})
	if w.Settle == settleDrop {
		j.cancel(errDropped)
	}
}

// await waits until something is so of the word, or the job is given up.
func (j *job) await(ctx context.Context, is func(word) bool) error {
	for {
		j.mu.Lock()
		so, changed := is(j.word), j.changed
		j.mu.Unlock()
		if so {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// run is the whole job: capture, answer, and keep or remove what was put.
func (j *job) run() {
	defer j.cancel(nil)
	log := j.server.Logger.With("job", j.id, "snapshot", j.order.Snapshot, "shard", j.order.Shard.Slots.String(), "node", j.order.Source.Addr)
	began := clock.Now()
	shop, shard, err := j.capture()
	if err != nil {
		if cause := context.Cause(j.ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		err = j.removed(shop, err)
		log.Error("job failed", "error", err, "hint", strings.Join(hint.Of(err), "; "), "elapsed", clock.Since(began).Round(time.Millisecond))
		j.change(func() {
			j.now.Failure = failureOf(err)
			j.now.Settled = &settled{How: settleDrop}
		})
		j.linger()
		return
	}
	log.Info("shard is put", "bytes", shard.Dump.Bytes, "keys", shard.Dump.Keys, "collect", shard.Source.Collect, "elapsed", clock.Since(began).Round(time.Millisecond))
	done := &result{Shard: shard}
	for _, o := range shop.Writer.Outcomes() {
		done.Outcomes = append(done.Outcomes, outcome{o.Name, failureOf(o.Err)})
		if o.Err != nil {
			log.Warn("store behind", "store", o.Name, "error", o.Err)
		}
	}
	j.change(func() { j.now.Result = done })
	how, left := j.settle(shop)
	log.Info("job settled", "how", how, "left", left)
	j.change(func() { j.now.Settled = &settled{How: how, Left: failureOf(left)} })
	j.linger()
}

// linger keeps a job that has ended for a while.
func (j *job) linger() { time.AfterFunc(lingering, func() { j.server.forget(j.id) }) }

// capture waits for the node and captures the shard.
func (j *job) capture() (*Workshop, manifest.Shard, error) {
	var none manifest.Shard
	for _, lock := range []chan struct{}{j.server.lock(j.order.Source.Addr), j.server.room} {
		select {
		case lock <- struct{}{}:
			defer func() { <-lock }()
		case <-j.ctx.Done():
			return nil, none, context.Cause(j.ctx)
		}
	}
	shop, err := j.server.Open(j.ctx, j.order)
	if err != nil {
		return nil, none, err
	}
	*shop.Report = func(e progress.Event) { j.change(func() { j.now.Progress = &e }) }
	todo := j.order.Job
	todo.Collect = shop.Collect
	shard, err := shop.Capturer.Capture(j.ctx, todo, j.turn)
	return shop, shard, err
}

// turn asks the coordinator and waits for its grant.
func (j *job) turn(ctx context.Context, machine string) (func(), error) {
	var n int
	j.change(func() {
		j.now.Machine = machine
		j.now.Turns++
		n = j.now.Turns
	})
	if err := j.await(ctx, func(w word) bool { return w.Granted >= n }); err != nil {
		return nil, err
	}
	return func() { j.change(func() { j.now.Ended = max(j.now.Ended, n) }) }, nil
}

// removed removes what was put before it failed, and adds to the error what could
// not be.
func (j *job) removed(shop *Workshop, err error) error {
	if shop == nil {
		return err
	}
	if left := shop.Writer.Abort(j.ctx); left != nil {
		return hint.Left(fmt.Errorf("%w (and what was stored of it could not all be removed: %w)", err, left),
			"What is left is no snapshot, but takes up room: `slotark prune` removes it.")
	}
	return err
}

// settle waits for the coordinator's decision and does it. Without one in time the
// snapshot's manifest decides.
func (j *job) settle(shop *Workshop) (how string, left error) {
	err := j.await(j.ctx, func(w word) bool { return w.Settle != "" })
	j.mu.Lock()
	decided := j.word.Settle
	j.mu.Unlock()
	switch {
	case decided == settleKeep:
		return settleKeep, nil
	case decided == settleDrop:
		return settleDrop, shop.Writer.Abort(j.ctx)
	}
	kept, unsure := j.committed(shop.Stores)
	switch {
	case unsure != nil: // better an orphan, which a prune removes, than a hole in a snapshot
		return settleKeep, fmt.Errorf("%w, and whether the snapshot exists cannot be told, so what was put stays: %w", err, unsure)
	case kept:
		return settleKeep, nil
	}
	return settleDrop, shop.Writer.Abort(j.ctx)
}

// committed tells whether a store has the snapshot's manifest.
func (j *job) committed(stores []storage.Named) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), lookLimit)
	defer cancel()
	var unsure []error
	for _, store := range stores {
		_, err := store.Stat(ctx, catalog.ManifestName(j.order.Cluster, j.order.Snapshot))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrNoStore) {
			unsure = append(unsure, err)
		}
	}
	return false, errors.Join(unsure...)
}

// lookLimit bounds a look for the manifest.
const lookLimit = time.Minute
