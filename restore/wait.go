package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/cluster"
)

// pollEvery is the pause between two looks at what is waited for. Local
// clusters settle within tens of milliseconds.
const pollEvery = 50 * time.Millisecond

// wait looks until nothing is waited for, at most for limit. look returns what
// it still waits for, as the end of a sentence: "10.0.0.1:6379 knows 1 of 6
// nodes"; its error ends the wait. A node that does not answer is asked again until
// the limit: while it forks for a full sync it says nothing, and so does one that
// has to wait for its machine. One that refuses, or is gone, is not.
func wait(ctx context.Context, limit time.Duration, look func(context.Context) (string, error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	pending := errors.New("nothing was answered")
	for {
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("after %s %w", limit, pending)
		case <-timer.C:
		}
		now, err := look(limited)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case limited.Err() != nil && err != nil: // cut off by the limit: what was seen last says more
			continue
		case cluster.Unanswered(err):
			pending = err
		case err != nil:
			return err
		case now == "":
			return nil
		default:
			pending = errors.New(now)
		}
		timer.Reset(pollEvery)
	}
}
