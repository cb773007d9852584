package s3

import (
	"math/rand/v2"
	"time"
)

const (
	// One request is tried this often in all. A part of an upload is tried
	// more often, because an hour's work depends on it.
	attempts     = 3
	partAttempts = 7

	// The longest wait before the second attempt; it doubles with each further one.
	firstPause = time.Second
)

// pauses are the waits between two attempts at one request. The SDK's own are
// random only up to their bound, and from then on the same for everybody: the parts
// and processes that a server refused together would come back together.
type pauses struct{ longest time.Duration }

// BackoffDelay implements retry.BackoffDelayer.
func (p pauses) BackoffDelay(attempt int, _ error) (time.Duration, error) {
	return pause(attempt, p.longest, rand.Float64()), nil
}

// pause is how long to wait after a failed attempt, from 1 on: at least half of a
// time that doubles up to the longest, and a random part, below 1, of the other half.
func pause(attempt int, longest time.Duration, random float64) time.Duration {
	full := longest
	if doubled := firstPause << min(max(0, attempt-1), 20); doubled < longest {
		full = doubled
	}
	return full/2 + time.Duration(random*float64(full/2))
}
