package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/slotark/slotark/storage"
)

// fan is one Put on its way to all stores.
type fan struct {
	writer  *Writer
	name    string
	own     atomic.Int32  // chunks that are left of its own
	changed chan struct{} // holds one: a store has taken something, or ended
	primary *feed
	mirrors []*feed // those that are still in
	lost    []*feed // those that were dropped during this Put
	sent    int64

	finished    bool // the mirrors were told of the body's end
	primaryDone bool // the primary was, and has ended
}

// Put stores body in the primary and in every mirror that was not dropped.
//
// It returns nil only if the primary has the object and as many stores as must;
// what became of each mirror is told by Outcomes. After an error no store has
// it, but where a mirror that must have it failed at the very end: then Abort
// deletes it. An error of body comes back wrapped and is held against no store:
// the same name may be put again. When ctx ends, body must end too, as a
// connection does.
func (w *Writer) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	f, err := w.begin(ctx, name)
	if err != nil {
		return storage.Object{}, err
	}
	if err = f.pump(ctx, body); err == nil {
		err = f.commitPrimary()
	}
	if err != nil {
		f.abort(err)
		return storage.Object{}, err
	}
	f.commitMirrors(ctx)
	f.end()
	return f.primary.object, f.enough()
}

// Commit is Put for the object that makes the others count, the last one. Where
// mirrors must have it, they are told of its end before the primary is: that it
// is in the primary then says that it is in as many stores as must have it.
// After an error Abort deletes what mirrors have of it.
//
// Whether a Commit that failed has stored the object after all, no answer may
// tell: Abort deletes that one in any case.
func (w *Writer) Commit(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	for _, m := range w.members() {
		if !m.out() {
			m.commits(name)
		}
	}
	if w.require <= 1 {
		return w.Put(ctx, name, body)
	}
	f, err := w.begin(ctx, name)
	if err != nil {
		return storage.Object{}, err
	}
	if err = f.pump(ctx, body); err == nil {
		f.commitMirrors(ctx)
		if err = f.enough(); err == nil || f.primary.ended() {
			err = f.commitPrimary() // where it has failed meanwhile, that is the reason
		}
	}
	if err != nil {
		f.abort(err)
		return storage.Object{}, err
	}
	f.end()
	return f.primary.object, nil
}

// begin starts each store's Put.
func (w *Writer) begin(ctx context.Context, name string) (*fan, error) {
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("put %s: %w", name, err)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("put %s: %w", name, context.Cause(ctx))
	}
	f := &fan{writer: w, name: name, changed: make(chan struct{}, 1)}
	f.own.Store(ownChunks)
	f.primary = f.startFeed(ctx, w.primary)
	for _, m := range w.mirrors {
		if !m.out() {
			f.mirrors = append(f.mirrors, f.startFeed(ctx, m))
		}
	}
	return f, nil
}

// enough is an error once fewer stores are left than must have the object.
func (f *fan) enough() error {
	if err := f.writer.enough(); err != nil {
		return fmt.Errorf("put %s: %w", f.name, err)
	}
	return nil
}

// pump hands the body to all feeds, up to its io.EOF.
func (f *fan) pump(ctx context.Context, body io.Reader) error {
	for {
		c, err := f.room(ctx)
		if err != nil {
			return err
		}
		if err := f.enough(); err != nil {
			c.release()
			return err
		}
		bodyErr := c.fill(body)
		f.sent += int64(len(c.data))
		if len(c.data) > 0 {
			f.primary.give(c)
			for _, m := range f.mirrors {
				m.give(c)
			}
		}
		c.release()
		switch {
		case bodyErr == io.EOF && ctx.Err() == nil:
			return nil
		case bodyErr == io.EOF:
			return fmt.Errorf("put %s: %w", f.name, context.Cause(ctx))
		case bodyErr != nil:
			return fmt.Errorf("put %s: read body: %w", f.name, bodyErr)
		}
	}
}

// commitPrimary tells the primary that the body has ended and waits for it.
func (f *fan) commitPrimary() error {
	f.primary.finish()
	<-f.primary.done
	f.primaryDone = true
	if err := f.primary.result(f.sent); err != nil {
		f.primary.member.failedObject(f.name, err)
		return err
	}
	f.primary.member.storedObject(f.name)
	return nil
}

// primaryFailed is the error of a primary whose Put ended before the body.
func (f *fan) primaryFailed() error {
	err := f.primary.err
	if err == nil {
		err = fmt.Errorf("put %s to %s: %w", f.name, f.primary.member, errStoppedReading)
	}
	f.primary.member.failedObject(f.name, err)
	return err
}

// abort ends every Put that is still under way and waits for their clean-up.
func (f *fan) abort(cause error) {
	all := append(append([]*feed{f.primary}, f.mirrors...), f.lost...)
	for _, one := range all {
		one.cancel(cause)
	}
	<-f.primary.done
	f.await(all[1:])
}

// commitMirrors tells the mirrors that the body has ended and waits for each,
// but not for ever. Who does not make it is dropped.
func (f *fan) commitMirrors(ctx context.Context) {
	f.finished = true
	for _, m := range f.mirrors {
		if !m.member.out() { // by another Put, while the primary committed
			m.finish()
		}
	}
	allEnded := func() bool {
		return !slices.ContainsFunc(f.mirrors, func(m *feed) bool { return !m.ended() })
	}
	if err := f.wait(ctx, allEnded, func(m *feed) bool { return !m.ended() }); err != nil {
		for _, m := range f.mirrors {
			m.cancel(err)
		}
	}
	f.await(append(slices.Clone(f.mirrors), f.lost...))
	for _, m := range f.mirrors {
		switch {
		case !m.ended():
			m.member.drop(f.whyCancelled(m, nil))
		case m.result(f.sent) != nil:
			m.member.drop(f.whyCancelled(m, m.result(f.sent)))
		default:
			m.member.storedObject(f.name)
		}
	}
	for _, m := range f.lost { // one that was told its end in time, and heard too late that it was dropped
		if m.ended() && m.result(f.sent) == nil {
			m.member.storedObject(f.name)
		}
	}
}

// end frees what the Puts' contexts hold, when all of them have ended.
func (f *fan) end() {
	f.primary.cancel(nil)
	for _, m := range append(f.mirrors, f.lost...) {
		m.cancel(nil)
	}
}

// whyCancelled prefers the reason for which this package has cancelled a Put
// to the mere "context canceled" of the store.
func (f *fan) whyCancelled(m *feed, err error) error {
	if cause := context.Cause(m.ctx); cause != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = fmt.Errorf("put %s to %s: %w", f.name, m.member, cause)
	}
	return err
}

// await waits until the stores have cleaned up. One that does not even stop
// when it is told to (a network file system that hangs) is left behind: its
// goroutine ends when its system call does. Its feed gives no io.EOF any more;
// had it been given one already, an object without a manifest may be left.
func (f *fan) await(feeds []*feed) {
	limit := time.NewTimer(f.writer.stall)
	defer limit.Stop()
	for _, one := range feeds {
		select {
		case <-one.done:
		case <-limit.C:
			return
		}
	}
}
