// Package clock is the one place that asks the operating system for the time.
//
// Invariant: everything else takes the time as a value or a func() time.Time,
// so that a test decides what time it is. internal/tidy bans time.Now
// elsewhere.
package clock
