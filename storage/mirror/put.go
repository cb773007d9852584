package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slotark/slotark/storage"
)

// fan is one Put on its way to all stores.
type fan struct {
	writer  *Writer
	name    string
	stall   time.Duration
	primary *feed
	mirrors []*feed // those that are still in
	lost    []*feed // those that were dropped during this Put
	sent    int64
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
func (w *Writer) Commit(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if w.require <= 1 {
		return w.Put(ctx, name, body)
	}
	f, err := w.begin(ctx, name)
	if err != nil {
		return storage.Object{}, err
	}
	if err = f.pump(ctx, body); err == nil {
		f.commitMirrors(ctx)
		if err = f.enough(); err == nil {
			err = f.commitPrimary()
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
	f := &fan{writer: w, name: name, stall: w.stall, primary: startFeed(ctx, w.primary, name)}
	for _, m := range w.mirrors {
		if !m.out() {
			f.mirrors = append(f.mirrors, startFeed(ctx, m, name))
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
		if ctx.Err() != nil {
			return fmt.Errorf("put %s: %w", f.name, context.Cause(ctx))
		}
		c := newChunk()
		bodyErr := c.fill(body)
		f.sent += int64(len(c.data))
		err := f.deliver(ctx, c)
		c.release()
		if err == nil {
			err = f.enough()
		}
		switch {
		case err != nil:
			return err
		case bodyErr == io.EOF:
			return nil
		case bodyErr != nil:
			return fmt.Errorf("put %s: read body: %w", f.name, bodyErr)
		}
	}
}

// deliver gives a chunk to the primary and to each mirror.
func (f *fan) deliver(ctx context.Context, c *chunk) error {
	if len(c.data) == 0 {
		return nil
	}
	c.readers.Add(1)
	select {
	case f.primary.chunks <- c:
	case <-f.primary.done:
		c.release()
		return f.primaryFailed()
	case <-ctx.Done():
		c.release()
		return fmt.Errorf("put %s: %w", f.name, context.Cause(ctx))
	}
	in := f.mirrors[:0]
	for _, m := range f.mirrors {
		c.readers.Add(1)
		if f.offer(ctx, m, c) {
			in = append(in, m)
			continue
		}
		c.release()
		f.lost = append(f.lost, m)
	}
	f.mirrors = in
	return nil
}

// offer gives a chunk to a mirror, or drops it, which cancels its Put. It
// runs no timer unless it has to wait.
func (f *fan) offer(ctx context.Context, m *feed, c *chunk) bool {
	if !m.member.out() {
		select {
		case m.chunks <- c:
			return true
		default:
		}
	}
	timer := time.NewTimer(f.stall)
	defer timer.Stop()
	var reason error
	select {
	case m.chunks <- c:
		return true
	case <-m.done:
		if ctx.Err() != nil {
			return false // as below
		}
		if reason = m.err; reason == nil {
			reason = fmt.Errorf("put %s to %s: %w", f.name, m.member, errStoppedReading)
		}
	case <-m.member.dropped: // by another Put of this writer
	case <-timer.C:
		reason = fmt.Errorf("put %s to %s: %w: it took nothing more for %s", f.name, m.member, ErrStalled, f.stall)
	case <-ctx.Done():
		return false // the whole Put ends, that is not the mirror's fault
	}
	if reason != nil {
		m.member.drop(reason)
	}
	m.cancel(m.member.outcome())
	return false
}

// commitPrimary tells the primary that the body has ended and waits for it.
func (f *fan) commitPrimary() error {
	close(f.primary.chunks)
	<-f.primary.done
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
	for _, m := range f.mirrors {
		if m.member.out() { // by another Put, while the primary committed
			m.cancel(m.member.outcome())
			continue
		}
		close(m.chunks)
	}
	limit, stop := context.WithTimeoutCause(ctx, finishStalls*f.stall,
		fmt.Errorf("%w: it did not confirm the object within %s", ErrStalled, finishStalls*f.stall))
	defer stop()
	for _, m := range f.mirrors {
		select {
		case <-m.done:
			continue
		case <-m.member.dropped:
		case <-limit.Done():
			m.cancel(context.Cause(limit))
			continue
		}
		m.cancel(m.member.outcome())
	}
	f.await(append(f.mirrors, f.lost...))
	for _, m := range f.mirrors {
		select {
		case <-m.done:
			if err := m.result(f.sent); err != nil {
				m.member.drop(f.whyCancelled(m, err))
				continue
			}
			m.member.storedObject(f.name)
		default:
			m.member.drop(f.whyCancelled(m, nil))
		}
	}
}

// end frees what the Puts' contexts hold, when all of them have ended.
func (f *fan) end() {
	f.primary.cancel(nil)
	for _, m := range f.mirrors {
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
	limit := time.NewTimer(f.stall)
	defer limit.Stop()
	for _, one := range feeds {
		select {
		case <-one.done:
		case <-limit.C:
			return
		}
	}
}
