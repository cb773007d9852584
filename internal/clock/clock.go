package clock

import "time"

// Now is the current time in UTC. Times that are stored or shown are UTC.
func Now() time.Time { return time.Now().UTC() }

// Since is the time elapsed since an instant that [Now] gave.
func Since(start time.Time) time.Duration { return time.Now().Sub(start) }
