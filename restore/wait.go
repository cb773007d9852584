package restore

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is the pause between two looks at what is waited for. Local
// clusters settle within tens of milliseconds.
const pollEvery = 50 * time.Millisecond

// wait looks until nothing is waited for, at most for limit. look returns what
// it still waits for, as the end of a sentence: "10.0.0.1:6379 knows 1 of 6
// nodes"; its error ends the wait.
func wait(ctx context.Context, limit time.Duration, look func(context.Context) (string, error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	pending := "nothing was answered"
	for {
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("after %s %s", limit, pending)
		case <-timer.C:
		}
		now, err := look(limited)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case limited.Err() != nil && err != nil: // cut off by the limit: what was seen last says more
			continue
		case err != nil:
			return err
		case now == "":
			return nil
		}
		pending = now
		timer.Reset(pollEvery)
	}
}
