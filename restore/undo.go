package restore

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"golang.org/x/sync/errgroup"
)

const (
	// undoLimit bounds the undoing, which also runs after an interruption.
	undoLimit = 15 * time.Second
	undoEach  = 200 * time.Millisecond
)

// undo makes the targets what the check proved them to be: empty, and in no
// cluster. Nothing is lost by it that was not brought here by this run. It
// returns the error that led here, and what became of the targets.
func (r *run) undo(ctx context.Context, cause error) error {
	r.Progress.Emit(progress.Event{Task: "restore", Phase: "undo"})
	ctx = context.WithoutCancel(ctx)
	if r.claim != nil && r.claim.Taken(ctx) {
		r.leftAsIs = true
		return fmt.Errorf("%w (nothing was undone: another process goes on with this restore)", cause)
	}
	left, err := r.makeEmpty(ctx, r.targets)
	all := human.Plural(len(r.targets), "node")
	if err == nil {
		return fmt.Errorf("%w (undone: %s %s empty again and in no cluster)", cause, all, plural(len(r.targets), "is", "are"))
	}
	var names []string
	for _, t := range left {
		names = append(names, t.addr())
	}
	return hint.Left(fmt.Errorf("%w (undone on %d of %s, not on %s: %w)", cause, len(r.targets)-len(left), all, human.List(names), err),
		"What is on "+human.List(names)+" is no restored cluster: run FLUSHALL, FUNCTION FLUSH and CLUSTER RESET HARD there.")
}

// leave says that all stays as it is, and what to do about it.
func (r *run) leave(cause error) error {
	r.leftAsIs = r.ToDir == "" // a folder has a journal of its own
	where := r.ToDir
	if where == "" {
		where = human.Plural(len(r.targets), "node")
	}
	return hint.Left(fmt.Errorf("%w (what was done on %s is left as it is: no restored cluster)", cause, where),
		"Go on with the same command and --resume.")
}

// makeEmpty empties targets and takes them out of their cluster, within a
// bound. It returns those that are not so, and why.
func (r *run) makeEmpty(ctx context.Context, targets []*target) ([]*target, error) {
	limit := undoLimit + time.Duration(len(targets))*undoEach
	// Longer than the wait itself, which then says what it last waited for.
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	left := targets
	// A node that was reset may be met again by one that was not yet: rounds,
	// until all are alone.
	err := wait(ctx, limit, func(ctx context.Context) (string, error) {
		_ = each(targets, func(t *target) error { return r.reset(ctx, t) }) // what failed is still there below
		found, why := notEmptied(ctx, targets)
		if ctx.Err() != nil {
			return "", ctx.Err() // a look that was cut off says nothing of the nodes
		}
		left = found
		if why != nil {
			return why.Error(), nil
		}
		return "", nil
	})
	return left, err
}

// each does something on all targets at once, also when it fails on one.
func each(targets []*target, do func(*target) error) []error {
	failures := make([]error, len(targets))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, t := range targets {
		group.Go(func() error {
			failures[i] = do(t)
			return nil
		})
	}
	_ = group.Wait() // failures are kept one by one
	return failures
}

// notEmptied returns the targets that are not empty and alone, and why.
func notEmptied(ctx context.Context, targets []*target) ([]*target, error) {
	var left []*target
	var why objections
	for i, err := range each(targets, func(t *target) error { return t.leftOver(ctx) }) {
		if err != nil {
			left, why = append(left, targets[i]), append(why, err)
		}
	}
	if len(why) == 0 {
		return nil, nil
	}
	return left, why
}

// flush removes every key. The memory comes back in the background: freeing
// gigabytes takes longer than a command may.
func (t *target) flush(ctx context.Context) error {
	_, err := t.node.Do(ctx, "FLUSHALL", "ASYNC")
	return err
}

// reset empties one node and takes it out of its cluster. It looks first that
// the process is the one that was found empty: the address could lead to
// another by now.
func (r *run) reset(ctx context.Context, t *target) error {
	err := t.sameProcess(ctx)
	switch {
	case err != nil:
	case t.held.any():
		err = r.resetAtOnce(ctx, t)
	default:
		err = t.resetEmpty(ctx)
	}
	if err != nil {
		return err
	}
	if version, _ := parseRelease(t.version); version.atLeast(7, 0) {
		if _, err := t.node.Do(ctx, "FUNCTION", "FLUSH", "SYNC"); err != nil {
			return err
		}
	}
	return nil
}

// resetEmpty is for a node that nobody else knows. A replica refuses to be
// flushed, and needs no flush: the reset makes it an empty primary.
func (t *target) resetEmpty(ctx context.Context) error {
	if err := t.flush(ctx); err != nil && !cluster.IsCode(err, "READONLY") {
		return err
	}
	_, err := t.node.Do(ctx, "CLUSTER", "RESET", "HARD")
	return err
}

// leftOver says what a node still has, nil when it is empty and alone.
func (t *target) leftOver(ctx context.Context) error {
	info, err := t.node.Info(ctx, "")
	if err != nil {
		return err
	}
	state, err := t.node.Text(ctx, "CLUSTER", "INFO")
	if err != nil {
		return err
	}
	switch parsed := cluster.ParseInfo(state); {
	case info.Text("run_id") != t.runID:
		return fmt.Errorf("%s was restarted since, so it is left as it is", t.addr())
	case keysIn(info) > 0:
		return fmt.Errorf("%s still holds %s", t.addr(), human.Plural(keysIn(info), "key"))
	case parsed.Int("cluster_known_nodes") != 1 || parsed.Int("cluster_slots_assigned") != 0:
		return fmt.Errorf("%s is still in a cluster", t.addr())
	}
	if libraries, err := t.libraries(ctx); err != nil || libraries > 0 {
		return cmp.Or(err, fmt.Errorf("%s still has functions", t.addr()))
	}
	return nil
}
