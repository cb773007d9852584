package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/slotark/slotark/internal/clock"
)

// Job is something that is to be done again and again.
type Job struct {
	Name     string                      // unique; logged under "job"
	Schedule string                      // see CheckSchedule
	Timeout  time.Duration               // of one run; its context is cancelled then
	Run      func(context.Context) error // must end soon after its context is done
}

// Run is one run of a job that has ended.
type Run struct {
	Job     string
	Result  Result
	Started time.Time
	Ended   time.Time
	Err     error // nil if and only if Result is Done
}

// Result says in a word how a run ended.
type Result string

// The ways a run ends.
const (
	Done        Result = "done"
	Failed      Result = "failed"
	TimedOut    Result = "timed out"   // it failed after its time limit had passed
	Interrupted Result = "interrupted" // it failed after the scheduler was stopped
	Panicked    Result = "panicked"
)

// Upcoming says when a job is next due.
type Upcoming struct {
	Job     string
	At      time.Time
	Running bool // it runs at this moment
	Waiting bool // it is due, and waits for another job to end
}

// Options are what [New] needs.
type Options struct {
	Jobs     []Job          // what is due at the same instant runs in this order
	Location *time.Location // the schedules' time zone; nil is UTC
	Logger   *slog.Logger   // nil logs nothing
	OnEnd    func(Run)      // told of each run that ended, one at a time; may be nil; must return soon
	Grace    time.Duration  // how long Run waits for a job that was told to stop; 0 is 30 s
}

// ErrStillRunning is returned by [Scheduler.Run] when a job did not end within
// the grace it was given.
var ErrStillRunning = errors.New("job still running")

// errTimeLimit is the cause of a context that a run's time limit ended.
var errTimeLimit = errors.New("time limit")

// Scheduler runs jobs when they are due. Make one with [New].
type Scheduler struct {
	log      *slog.Logger
	location *time.Location
	onEnd    func(Run)
	grace    time.Duration

	mu      sync.Mutex // guards what follows, for Next
	entries []*entry   // in the order of Options.Jobs
	queue   []*entry
	running *entry
}

// entry is a job and where it stands.
type entry struct {
	Job
	schedule cron.Schedule
	next     time.Time // wall clock only; zero while the scheduler does not run
}

// New checks the options, all of them, and returns a scheduler that does
// nothing until [Scheduler.Run].
func New(o Options) (*Scheduler, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Scheduler{log: o.Logger, location: o.Location, onEnd: o.OnEnd, grace: cmp.Or(o.Grace, 30*time.Second)}
	if s.location == nil {
		s.location = time.UTC
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, job := range o.Jobs {
		schedule, err := parse(job.Schedule)
		if err != nil {
			return nil, err
		}
		s.entries = append(s.entries, &entry{Job: job, schedule: schedule})
	}
	return s, nil
}

// Next tells when each job is next due, the soonest first.
func (s *Scheduler) Next() []Upcoming {
	s.mu.Lock()
	defer s.mu.Unlock()
	upcoming := make([]Upcoming, len(s.entries))
	for i, e := range s.entries {
		at := e.next
		if at.IsZero() {
			at = e.schedule.Next(s.now())
		}
		upcoming[i] = Upcoming{Job: e.Name, At: at, Running: s.running == e, Waiting: slices.Contains(s.queue, e)}
	}
	slices.SortStableFunc(upcoming, func(a, b Upcoming) int { return a.At.Compare(b.At) })
	return upcoming
}

// now is the wall clock in the schedules' zone. The monotonic reading is taken
// off: it stands still while a machine sleeps, and schedules do not.
func (s *Scheduler) now() time.Time { return clock.Now().Round(0).In(s.location) }

// lookAround is how often the wall clock is read while nothing is due, so that
// a clock that was set, or a machine that slept, is noticed.
const lookAround = time.Minute

// Run runs the jobs until ctx is done. Then the running job's context is
// cancelled, it is given the grace to end, and what waits is forgotten. Run
// returns nil after a clean stop, else an error that is [ErrStillRunning]. It
// is called once.
func (s *Scheduler) Run(ctx context.Context) error {
	last := s.now()
	s.reckon(last)
	for _, e := range s.Next() {
		s.log.Info("job scheduled", "job", e.Job, "next", e.At)
	}
	ended := make(chan Run, 1) // room for the run that nobody waits for any more
	for {
		timer := time.NewTimer(s.untilNext())
		select {
		case <-ctx.Done():
			timer.Stop()
			return s.stop(ctx, ended)
		case run := <-ended:
			timer.Stop()
			s.end(ctx, run)
		case <-timer.C:
		}
		now := s.now()
		if now.Before(last.Add(-lookAround)) { // the clock was set back: what was reckoned lies too far ahead
			s.reckon(now)
		}
		last = now
		s.enqueue(now)
		if ctx.Err() == nil {
			s.startNext(ctx, ended)
		}
	}
}

// reckon computes anew when each job is due.
func (s *Scheduler) reckon(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		e.next = e.schedule.Next(now)
	}
}

func (s *Scheduler) untilNext() time.Duration {
	soonest := s.Next()[0].At
	return min(lookAround, soonest.Sub(s.now()))
}

// enqueue queues what is due. However long it has been due, it is due once.
func (s *Scheduler) enqueue(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.next.After(now) {
			continue
		}
		e.next = e.schedule.Next(now)
		switch {
		case s.running == e:
			s.log.Warn("job skipped", "job", e.Name, "reason", "its last run has not ended", "next", e.next)
		case slices.Contains(s.queue, e):
			s.log.Warn("job skipped", "job", e.Name, "reason", "it waits for another job already", "next", e.next)
		default:
			s.queue = append(s.queue, e)
		}
	}
}

// startNext starts the first job of the queue, if none runs.
func (s *Scheduler) startNext(ctx context.Context, ended chan<- Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil || len(s.queue) == 0 {
		return
	}
	e := s.queue[0]
	s.queue, s.running = s.queue[1:], e
	s.log.Info("job started", "job", e.Name)
	go func() { ended <- e.run(ctx) }()
}

// end notes that a run has ended.
func (s *Scheduler) end(ctx context.Context, run Run) {
	s.mu.Lock()
	next := s.running.next
	s.running = nil
	s.mu.Unlock()

	attrs := []any{"job", run.Job, "result", string(run.Result), "elapsed", run.Ended.Sub(run.Started), "next", next}
	if run.Err != nil {
		attrs = append(attrs, "error", run.Err)
	}
	var p *panicError
	if errors.As(run.Err, &p) {
		attrs = append(attrs, "stack", string(p.stack))
	}
	level := slog.LevelError
	switch run.Result {
	case Done:
		level = slog.LevelInfo
	case Interrupted:
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "job ended", attrs...)
	if s.onEnd != nil {
		s.onEnd(run)
	}
}

// stop waits for the running job, whose context is done already.
func (s *Scheduler) stop(ctx context.Context, ended <-chan Run) error {
	s.mu.Lock()
	running := s.running
	s.queue = nil
	s.mu.Unlock()
	if running == nil {
		return nil
	}
	s.log.Info("stopping", "job", running.Name, "grace", s.grace)
	timer := time.NewTimer(s.grace)
	defer timer.Stop()
	select {
	case run := <-ended:
		s.end(ctx, run)
		return nil
	case <-timer.C:
		s.log.Error("job did not stop", "job", running.Name, "grace", s.grace)
		return fmt.Errorf("stop job %s within %s: %w", running.Name, s.grace, ErrStillRunning)
	}
}
