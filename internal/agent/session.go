package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/mirror"
)

const (
	firstPause = 200 * time.Millisecond
	mostPause  = 3 * time.Second
	// firstPatience is how long an agent that was never reached is tried.
	firstPatience = 20 * time.Second
	// answerLimit is how long an agent may take to answer a question, or to remove
	// what it put.
	answerLimit = 75 * time.Second
)

// session is a coordinator's side of one job. Its connection is kept, and opened
// again, until the job is settled.
type session struct {
	client *Client
	id     string
	order  snapshot.Order
	report progress.Func

	stop context.CancelFunc
	done sync.WaitGroup // goroutines

	mu      sync.Mutex
	word    word
	now     state
	offset  time.Duration // how far the agent's clock is ahead of ours
	known   bool          // the agent has said something of the job
	lost    error         // set when it is given up
	denied  error         // why it got no turn
	changed chan struct{}
}

var _ snapshot.Delivery = (*session)(nil)

func newSession(c *Client, id string, o snapshot.Order) *session {
	return &session{client: c, id: id, order: o, changed: make(chan struct{}), stop: func() {}}
}

func (s *session) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until something is so, or nothing more will come.
func (s *session) await(ctx context.Context, is func() bool) error {
	for {
		s.mu.Lock()
		so, lost, changed := is(), s.lost, s.changed
		s.mu.Unlock()
		switch {
		case so:
			return nil
		case lost != nil:
			return lost
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// arrived tells whether the agent has answered; mu is held.
func (s *session) arrived() bool {
	return s.now.Result != nil || s.now.Failure != nil || s.denied != nil
}

func (s *session) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Failure != nil {
		return s.client.far(s.now.Failure)
	}
	return s.denied
}

// Shard implements [snapshot.Delivery]. The instant of its fork is on our clock,
// within the round trip in which the two were compared.
func (s *session) Shard() manifest.Shard {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := s.now.Result.Shard
	shard.Taken = shard.Taken.Add(-s.offset)
	return shard
}

// Outcomes implements [snapshot.Delivery].
func (s *session) Outcomes() []mirror.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	var outcomes []mirror.Outcome
	for _, o := range s.now.Result.Outcomes {
		one := mirror.Outcome{Name: o.Store}
		if o.Failure != nil {
			one.Err = s.client.far(o.Failure)
		}
		outcomes = append(outcomes, one)
	}
	return outcomes
}

// Hold implements [snapshot.Delivery].
func (s *session) Hold(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("agent %s: no answer within %s", s.client.url, answerLimit))
	defer cancel()
	var asked int
	s.change(func() {
		s.word.Hold++
		asked = s.word.Hold
	})
	err := s.await(ctx, func() bool { return s.now.Held >= asked || s.now.Settled != nil })
	if err != nil {
		return fmt.Errorf("%w: %w", snapshot.ErrAgentLost, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Held < asked {
		return hint.Add(fmt.Errorf("agent %s has given the job up: %w", s.client.url, errOrphaned), "the connection to it was lost for too long: take the snapshot again")
	}
	return nil
}

// Settle implements [snapshot.Delivery].
func (s *session) Settle(ctx context.Context, keep bool) error {
	defer s.close()
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("agent %s: no answer within %s", s.client.url, answerLimit))
	defer cancel()
	how := settleDrop
	if keep {
		how = settleKeep
	}
	s.change(func() { s.word.Settle = how })
	if err := s.await(ctx, func() bool { return s.now.Settled != nil }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Settled.How != how {
		return fmt.Errorf("agent %s was told to %s it, and did: %s", s.client.url, how, s.now.Settled.How)
	}
	if left := s.now.Settled.Left; left != nil {
		return s.client.far(left)
	}
	return nil
}

// close ends the session's goroutines.
func (s *session) close() {
	s.stop()
	s.done.Wait()
}

// begin keeps a connection in the background. It does not end with ctx, for the
// agent is to hear how the run ended; turns do.
func (s *session) begin(ctx context.Context, turn snapshot.Turn) {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	turns, cancel := context.WithCancel(ctx)
	s.stop = func() { cancel(); stop() }
	s.done.Go(func() { s.keep(run) })
	s.done.Go(func() { s.turns(turns, turn) })
}

// turns takes a turn for each that the agent asks for, and gives it back when its
// fork has ended or the job has.
func (s *session) turns(ctx context.Context, turn snapshot.Turn) {
	for n := 1; ; n++ {
		if s.await(ctx, func() bool { return s.now.Turns >= n }) != nil {
			return
		}
		ended, err := turn(ctx, s.machine())
		if err != nil {
			s.change(func() { s.denied = err })
			return
		}
		s.change(func() { s.word.Granted = n })
		_ = s.await(ctx, func() bool { return s.now.Ended >= n || s.arrived() }) // it has ended in any case
		ended()
	}
}

// machine is what the agent calls the one that it and its node run on.
func (s *session) machine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Machine
}

// keep holds a connection until the job is settled or lost.
func (s *session) keep(ctx context.Context) {
	pause, last := firstPause, clock.Now()
	for {
		heard, err := s.connect(ctx)
		if s.over() || ctx.Err() != nil {
			return
		}
		if !heard.IsZero() {
			last, pause = heard, firstPause
		}
		var refusal *refused
		if errors.As(err, &refusal) || final(err) || clock.Since(last) > s.patience() {
			s.lose(err)
			return
		}
		timer := time.NewTimer(pause)
		pause = min(pause*3/2, mostPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// over tells whether nothing more will come.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Settled != nil || s.lost != nil
}

// patience is how long the agent is tried again: less where it has not begun.
func (s *session) patience() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known {
		return s.client.patience
	}
	return min(s.client.patience, firstPatience)
}

// lose gives the job up. Where there was no connection at all, or only a refusal,
// nothing was done.
func (s *session) lose(err error) {
	var network *net.OpError
	var refusal *refused
	s.change(func() {
		never := errors.As(err, &refusal) || errors.Is(err, ErrUntrusted) || errors.Is(err, ErrProtocol) || errors.As(err, &network) && network.Op == "dial"
		undone := !s.known && never
		switch {
		case !undone:
			err = fmt.Errorf("%w: %w", snapshot.ErrAgentLost, err)
		case errors.As(err, &network) || errors.Is(err, ErrStopping): // it may come back, and the shard has other nodes
			err = snapshot.Retryable(err)
		}
		s.lost = err
	})
}

// connect opens a connection and serves it until it ends. It returns when the agent
// was last heard, the zero time for never, and why it ended.
func (s *session) connect(ctx context.Context) (heard time.Time, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer quiet.Stop()
	body, out := io.Pipe()
	defer out.CloseWithError(io.EOF)
	var saying sync.WaitGroup
	defer saying.Wait()
	defer cancel(nil)
	defer body.CloseWithError(io.ErrClosedPipe)
	saying.Go(func() { s.say(ctx, out) })
	asked := clock.Now()
	response, err := s.client.request(ctx, http.MethodPost, jobsPath+s.id, body)
	if err != nil {
		return heard, err
	}
	defer response.Body.Close()
	in := newLines(response.Body)
	for first := true; ; first = false {
		var now state
		if err := in.next(&now); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return heard, explain(s.client.url, err)
		}
		heard = clock.Now()
		quiet.Reset(silence)
		s.hear(now, first, asked, heard)
		if now.Settled != nil {
			return heard, nil
		}
	}
}

// hear takes the agent's state.
func (s *session) hear(now state, first bool, asked, heard time.Time) {
	var event *progress.Event
	s.change(func() {
		if first && !s.known {
			s.offset = now.Now.Sub(asked.Add(heard.Sub(asked) / 2))
		}
		s.known = true
		if now.Progress != nil && (s.now.Progress == nil || *s.now.Progress != *now.Progress) {
			event = now.Progress
		}
		s.now = now
	})
	if event != nil {
		s.report.Emit(*event)
	}
}

// say writes the order and then the words, until ctx ends or nobody reads.
func (s *session) say(ctx context.Context, out *io.PipeWriter) {
	defer out.Close()
	s.mu.Lock()
	first := opening{Order: s.order, Resume: s.known}
	s.mu.Unlock()
	if writeLine(out, first) != nil {
		return
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	var said word
	for force := true; ; {
		s.mu.Lock()
		now, changed := s.word, s.changed
		s.mu.Unlock()
		if force || now != said {
			if writeLine(out, now) != nil {
				return
			}
			said = now
		}
		select {
		case <-changed:
			force = false
		case <-tick.C:
			force = true
		case <-ctx.Done():
			return
		}
	}
}
