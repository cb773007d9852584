// Package scheduler runs jobs when they are due. It knows names, cron
// expressions and functions, and nothing of what the functions do.
//
// Invariant: at most one job runs at any instant, over all jobs; a job that is
// due while it runs or waits is not queued a second time; and nothing of a
// scheduler runs on after [Scheduler.Run] has returned nil.
//
// How it works: one goroutine, the one that called Run, owns all state that
// changes. It turns in a loop:
//
//  1. wait until the next job is due, the running one ends, or ctx is done;
//  2. put what is due in the queue, in the order of [Options.Jobs], unless it
//     is there already or runs: then log that it was left out;
//  3. if nothing runs, start the first of the queue in a goroutine of its own.
//
// robfig/cron reads the expressions and computes when they are due. Its own
// loop is not used: it starts all that is due together, each in a goroutine, so
// that a snapshot and a drill of the same minute would run in random order.
package scheduler
