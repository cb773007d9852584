package scheduler

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/slotark/slotark/internal/clock"
)

// panicError is what a job that panicked failed with.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// run runs the job once, within its time limit.
func (e *entry) run(ctx context.Context) Run {
	run := Run{Job: e.Name, Started: clock.Now()}
	limited, cancel := context.WithTimeoutCause(ctx, e.Timeout, errTimeLimit)
	defer cancel()

	err := e.guarded(limited)

	run.Ended = clock.Now()
	var p *panicError
	switch {
	case err == nil:
		run.Result = Done
	case errors.As(err, &p):
		run.Result, run.Err = Panicked, err
	case errors.Is(context.Cause(limited), errTimeLimit):
		run.Result, run.Err = TimedOut, fmt.Errorf("time limit of %s exceeded: %w", e.Timeout, err)
	case ctx.Err() != nil:
		run.Result, run.Err = Interrupted, err
	default:
		run.Result, run.Err = Failed, err
	}
	return run
}

// guarded turns a panic into an error: one bad run must not end the schedule
// of all others.
func (e *entry) guarded(ctx context.Context) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value, debug.Stack()}
		}
	}()
	return e.Run(ctx)
}
