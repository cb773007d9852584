package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
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
	limit := undoLimit + time.Duration(len(r.targets))*undoEach
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	// A node that was reset may be met again by one that was not yet: rounds,
	// until all are alone.
	err := wait(ctx, limit, func(ctx context.Context) (string, error) {
		if err := r.resetAll(ctx); err != nil {
			return err.Error(), nil
		}
		for _, t := range r.targets {
			if left, err := t.leftOver(ctx); err != nil {
				return err.Error(), nil
			} else if left != "" {
				return left, nil
			}
		}
		return "", nil
	})
	n := count(uint64(len(r.targets)), "node", "nodes")
	if err == nil {
		verb := "are"
		if len(r.targets) == 1 {
			verb = "is"
		}
		return fmt.Errorf("%w (undone: %s %s empty again and in no cluster)", cause, n, verb)
	}
	return hint.Add(fmt.Errorf("%w (and it could not be undone on all of %s: %w)", cause, n, err),
		"What is on these nodes is no restored cluster. Run FLUSHALL, FUNCTION FLUSH and CLUSTER RESET HARD on each: "+r.addresses())
}

// resetAll resets every node, also when one of them does not answer.
func (r *run) resetAll(ctx context.Context) error {
	failures := make([]error, len(r.targets))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, t := range r.targets {
		group.Go(func() error {
			failures[i] = t.reset(ctx)
			return nil
		})
	}
	_ = group.Wait() // failures are kept one by one
	if failed := objections(slices.DeleteFunc(failures, func(err error) bool { return err == nil })); len(failed) > 0 {
		return failed
	}
	return nil
}

func (r *run) addresses() string {
	text := ""
	for i, t := range r.targets {
		if i > 0 {
			text += ", "
		}
		text += t.addr()
	}
	return text
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
func (t *target) reset(ctx context.Context) error {
	info, err := t.node.Info(ctx, "server")
	if err != nil {
		return err
	}
	if info.Text("run_id") != t.runID {
		return fmt.Errorf("%s was restarted since, so it is left as it is", t.addr())
	}
	// A replica refuses to be flushed, and needs no flush: the reset makes it
	// an empty primary.
	if err := t.flush(ctx); err != nil && !cluster.IsCode(err, "READONLY") {
		return err
	}
	if _, err := t.node.Do(ctx, "CLUSTER", "RESET", "HARD"); err != nil {
		return err
	}
	if version, _ := parseRelease(t.version); version.atLeast(7, 0) {
		if _, err := t.node.Do(ctx, "FUNCTION", "FLUSH", "SYNC"); err != nil {
			return err
		}
	}
	return nil
}

// leftOver says what a node still has, "" when it is empty and alone.
func (t *target) leftOver(ctx context.Context) (string, error) {
	info, err := t.node.Info(ctx, "keyspace")
	if err != nil {
		return "", err
	}
	state, err := t.node.Text(ctx, "CLUSTER", "INFO")
	if err != nil {
		return "", err
	}
	switch parsed := cluster.ParseInfo(state); {
	case keysIn(info) > 0:
		return t.addr() + " still holds " + count(keysIn(info), "key", "keys"), nil
	case parsed.Int("cluster_known_nodes") != 1 || parsed.Int("cluster_slots_assigned") != 0:
		return t.addr() + " is still in a cluster", nil
	}
	return "", nil
}
