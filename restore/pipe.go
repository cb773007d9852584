package restore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"golang.org/x/sync/semaphore"
)

const (
	// windowBytes bounds what is sent and not yet answered: it decides how late
	// a refusal is noticed, and bounds what a slow node piles up.
	windowBytes = 16 << 20
	// windowEach is what each command counts for besides its bytes, so that
	// the window bounds their number too.
	windowEach = 1 << 10
	// pipeBuffer is how much is sent at once.
	pipeBuffer = 128 << 10
	// defaultPatience is [Options].Patience. RESTORE of a value of gigabytes is one
	// answer.
	defaultPatience = 2 * time.Minute
	// killLimit is how long the node may take to tell or end a connection.
	killLimit = 30 * time.Second
)

// pipe sends commands to one node without waiting for each answer. One
// goroutine sends, another reads the answers; the first refusal ends both.
//
// Its user ends it with finish or with abort, once.
type pipe struct {
	addr     string
	ctx      context.Context
	cancel   context.CancelCauseFunc
	conn     net.Conn
	patience time.Duration // with one answer, or until the node takes in one buffer
	node     *cluster.Node
	id       int64 // of our connection, as the node counts them
	w        *bufio.Writer
	window   *semaphore.Weighted
	before   func() error  // called before it waits for answers: sends what is in buffers
	sent     chan sent     // never full: the window lets fewer through
	done     chan struct{} // closed when all answers were read, or one failed
	failed   error         // what the answers' reader ended with; after done
}

// sent is a command that waits for its answer.
type sent struct {
	what   string // "key", "database", for the error
	name   string // which; cut where it is long
	weight int64
	file   string // of a command: where it stands
	at     int64  // byte in the file
}

func (s sent) String() string {
	if s.what == kindCommand {
		return fmt.Sprintf("the command %s at byte %d of %s", s.name, s.at, s.file)
	}
	if s.what == kindKey {
		return s.what + " " + quoteKey([]byte(s.name))
	}
	return s.what + " " + s.name
}

func openPipe(ctx context.Context, access *cluster.Access, t *target, patience time.Duration) (*pipe, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	conn, reader, err := access.Dial(ctx, t.given)
	if err != nil {
		cancel(err)
		return nil, err
	}
	id, err := clientID(conn, reader)
	if err != nil {
		cancel(err)
		return nil, errors.Join(fmt.Errorf("ask %s for the id of our connection: %w", t.addr(), err), conn.Close())
	}
	p := &pipe{
		addr: t.addr(), ctx: ctx, cancel: cancel, conn: conn, patience: patience, node: t.node, id: id,
		w:      bufio.NewWriterSize(stallWriter{conn, patience}, pipeBuffer),
		window: semaphore.NewWeighted(windowBytes),
		sent:   make(chan sent, windowBytes/windowEach),
		done:   make(chan struct{}),
	}
	go func() {
		defer close(p.done)
		if p.failed = p.answers(reader); p.failed != nil {
			cancel(p.failed)
		}
	}()
	return p, nil
}

func clientID(conn net.Conn, reader *bufio.Reader) (int64, error) {
	if err := conn.SetDeadline(clock.Now().Add(killLimit)); err != nil {
		return 0, err
	}
	if _, err := conn.Write(cluster.AppendCommand(nil, "CLIENT", "ID")); err != nil {
		return 0, err
	}
	reply, err := cluster.ReadReply(reader)
	if err != nil {
		return 0, err
	}
	id, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("the answer to CLIENT ID is %v", reply)
	}
	return id, nil
}

// stallWriter gives each write its own time limit.
type stallWriter struct {
	net.Conn
	limit time.Duration
}

func (w stallWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(clock.Now().Add(w.limit)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// answers reads one answer for each command sent, in order.
func (p *pipe) answers(reader *bufio.Reader) error {
	for s := range p.sent {
		if err := p.conn.SetReadDeadline(clock.Now().Add(p.patience)); err != nil {
			return err
		}
		if _, err := cluster.ReadReply(reader); err != nil {
			return p.explain(s.String(), err)
		}
		p.window.Release(s.weight)
	}
	return nil
}

// send writes one command of about the given size. Before it waits for room
// it sends what is in the buffer: answers to that are what makes room.
func (p *pipe) send(s sent, write func(*bufio.Writer) error) error {
	s.weight = min(s.weight+windowEach, windowBytes)
	if !p.window.TryAcquire(s.weight) {
		if err := p.before(); err != nil {
			return err
		}
		if err := p.window.Acquire(p.ctx, s.weight); err != nil {
			return p.ended(err)
		}
	}
	p.sent <- s
	if err := write(p.w); err != nil {
		return p.ended(err)
	}
	return nil
}

// flush sends what is in the buffer.
func (p *pipe) flush() error {
	if err := p.w.Flush(); err != nil {
		return p.ended(err)
	}
	return nil
}

// finish waits for every answer and closes the connection.
func (p *pipe) finish() error {
	err := p.flush()
	close(p.sent)
	<-p.done
	p.cancel(nil)
	if p.failed != nil {
		err = p.failed // what sending ran into is its consequence
	}
	err = errors.Join(err, p.conn.Close())
	if err == nil {
		return nil
	}
	if ending := p.disown(); ending != nil {
		return objections{err, ending}
	}
	return err
}

// abort is finish for a pipe of which nothing is wanted any more.
func (p *pipe) abort() error {
	p.cancel(context.Canceled)
	close(p.sent)
	<-p.done
	_ = p.conn.Close() // what it says of a broken connection is known
	return p.disown()
}

// disown makes the node forget what it has received and not carried out yet.
// Closing the connection is not enough: the commands that stand in the node's
// buffers would still be carried out, after the FLUSHALL that undoes the rest.
func (p *pipe) disown() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), killLimit)
	defer cancel()
	// A node that is gone carries nothing out, and undoing names it in any case.
	if _, err := p.node.Do(ctx, "CLIENT", "KILL", "ID", p.id); err != nil && !errors.Is(err, cluster.ErrUnreachable) {
		return hint.Add(fmt.Errorf("end our connection to %s: %w", p.addr, err),
			"Keys that were under way may still have arrived: look at the node before it is used.")
	}
	return nil
}

// ended says why sending failed: what the node answered says more than that
// the connection is gone.
func (p *pipe) ended(err error) error {
	select {
	case <-p.done:
		if p.failed != nil {
			return p.failed
		}
	default:
	}
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() { // it takes nothing in, for it has not come to what it was sent before
		return fmt.Errorf("%s did not answer for %s while it was sent keys", p.addr, p.patience)
	}
	return fmt.Errorf("send to %s: %w", p.addr, err)
}

var refusals = map[string]string{
	"BUSYKEY":    "Somebody writes to the node: keep clients away from it until the restore is done.",
	"OOM":        "Raise maxmemory on the node, or set it to 0 until the restore is done.",
	"LOADING":    "The node was restarted during the restore: start again.",
	"MOVED":      "The node lost the slot during the restore: keep other tools away from it.",
	"READONLY":   "The node became a replica during the restore: keep other tools away from it.",
	"MISCONF":    "The node cannot save to its disk: see its log.",
	"NOPERM":     "Give the user the right +restore on all keys, and +function|load.",
	"NOREPLICAS": "Set min-replicas-to-write to 0 on the node until the restore is done.",
}

// explain says what a node refused.
func (p *pipe) explain(what string, err error) error {
	var refused cluster.ServerError
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		err = fmt.Errorf("%s refused %s: %w", p.addr, what, refused)
		if advice := refusals[refused.Code()]; advice != "" {
			return hint.Add(err, advice)
		}
		return err
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s did not answer for %s while it loaded %s", p.addr, p.patience, what)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%s closed the connection while it loaded %s", p.addr, what)
	}
	return fmt.Errorf("read the answer of %s to %s: %w", p.addr, what, err)
}
