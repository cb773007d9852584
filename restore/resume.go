package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
)

// takeOver looks whether the targets are those of a restore of this snapshot that
// was killed, and makes them empty again. Its mark in the repository names the
// processes that it had found empty: what they hold came from it. Where there is
// no such mark nothing is done, and the check says what it finds.
func (r *run) takeOver(ctx context.Context) error {
	for _, failure := range each(r.targets, func(t *target) error { return t.identify(ctx) }) {
		if failure != nil {
			return failure
		}
	}
	killed, err := r.abandoned(ctx)
	if killed == nil {
		return err
	}
	host, _ := os.Hostname()
	if killed.Host == host && killed.Process != os.Getpid() && !errors.Is(syscall.Kill(killed.Process, 0), syscall.ESRCH) {
		return hint.Refuse(fmt.Errorf("the restore into these nodes that began at %s goes on: it is process %d on this host", human.Moment(killed.Begun), killed.Process),
			"Wait for its end, or end it, and try again.")
	}
	// What stands in the buffers of its connections would still be carried out.
	for _, failure := range each(r.targets, func(t *target) error { return t.alone(ctx) }) {
		if failure != nil {
			return failure
		}
	}
	if notEmpty, err := r.makeEmpty(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("take over what a killed restore has left on %s: %w", human.Plural(len(notEmpty), "node"), err)
	}
	r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("began anew over what was left of a killed restore, begun at %s by process %d on %s",
		human.Moment(killed.Begun), killed.Process, killed.Host))
	return r.Snapshot.Forget(ctx, *killed)
}

// abandoned is a restore of this snapshot into these very nodes that has begun and
// not ended; nil where there is none.
func (r *run) abandoned(ctx context.Context) (*catalog.Abandoned, error) {
	left, err := r.Snapshot.Abandoned(ctx)
	if at := slices.IndexFunc(left, r.ofTargets); at >= 0 {
		return &left[at], nil
	}
	return nil, err
}

// ofTargets tells whether a restore was onto these very processes.
func (r *run) ofTargets(a catalog.Abandoned) bool {
	if len(a.Targets) != len(r.targets) {
		return false
	}
	for _, t := range r.targets {
		if !slices.ContainsFunc(a.Targets, func(was catalog.Target) bool { return was.RunID == t.runID }) {
			return false
		}
	}
	return true
}

// alone ends all connections of clients to a node but ours.
func (t *target) alone(ctx context.Context) error {
	_, err := t.node.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	return err
}

// identify asks a node which process it is.
func (t *target) identify(ctx context.Context) error {
	info, err := t.node.Info(ctx, "server")
	if err != nil {
		return err
	}
	t.runID = info.Text("run_id")
	t.engine, t.version = info.Engine()
	return nil
}
