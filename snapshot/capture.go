package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Pauses between two tries of a shard: for what passes, a fork that failed or a
// connection that was cut, and not to be one more load on a node in trouble.
const (
	retryPause     = 500 * time.Millisecond
	retryPauseMost = 15 * time.Second
	settlePause    = time.Second
)

// captured is a shard's dump in the stores, and the choice it came of. One
// without a dump is still to be taken.
type captured struct {
	choice
	shard *manifest.Shard
}

// capture takes every shard's dump and looks at the topology again: what
// changed meanwhile is taken again, until nothing did. The first shard that has
// no tries left stops the others.
func (r *run) capture(ctx context.Context) ([]manifest.Shard, error) {
	taken := make([]captured, len(r.choices))
	for i, c := range r.choices {
		taken[i].choice = c
	}
	for {
		if err := r.captureAll(ctx, taken); err != nil {
			return nil, r.explain(ctx, err)
		}
		after, err := r.settled(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDisturbed, err)
		}
		r.topology = after
		moved := false
		if taken, moved, err = r.replan(ctx, taken); err != nil {
			return nil, err
		}
		if !moved {
			break
		}
	}
	r.choices = nil
	var shards []manifest.Shard
	for _, t := range taken {
		r.choices = append(r.choices, t.choice)
		shards = append(shards, *t.shard)
	}
	return shards, nil
}

// captureAll takes the dumps that are missing, beside each other.
func (r *run) captureAll(ctx context.Context, taken []captured) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range taken {
		if taken[i].shard != nil {
			continue
		}
		group.Go(func() error {
			if err := r.captureShard(ctx, &taken[i]); err != nil {
				return fmt.Errorf("shard %s: %w", taken[i].choice.shard.Slots, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// captureShard takes one shard's dump, and again or from another of its nodes
// where that fails. It ends without a dump and without an error where the shard
// is not the one any more that was to be taken.
func (r *run) captureShard(ctx context.Context, t *captured) error {
	for pause := retryPause; ; pause = min(2*pause, retryPauseMost) {
		c := t.choice
		job := r.job(c)
		capturer, err := r.capturer(ctx, job)
		if err != nil {
			return err
		}
		shard, err := capturer.Capture(ctx, job, r.turns.of(c.shard.Primary.ID, c.source.Addr))
		if err == nil {
			t.shard = &shard
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, ErrRetryable) {
			return err
		}
		if c.try >= r.Tries {
			return fmt.Errorf("try %d, the last: %w", c.try, err)
		}
		r.retried(c, err.Error())
		if err := wait(ctx, pause); err != nil {
			return err
		}
		topology, settleErr := r.settled(ctx)
		if settleErr != nil {
			return fmt.Errorf("%w; before that: %w", settleErr, err)
		}
		at := slices.IndexFunc(topology.Shards, func(s cluster.Shard) bool { return s.Slots == c.shard.Slots })
		if at < 0 {
			return nil // a resharding: its slots are parted anew
		}
		fit, fitErr := candidates(topology.Shards[at], r.Options)
		if fitErr != nil {
			return fmt.Errorf("%w; before that: %w", fitErr, err)
		}
		t.choice = c.next(fit, errors.Is(err, collect.ErrCannotSave))
	}
}

// replan compares what was taken with the topology of now. What is of a shard
// that did not change stays; the rest is discarded and to be taken again.
func (r *run) replan(ctx context.Context, taken []captured) (now []captured, moved bool, err error) {
	choices, err := choose(r.topology, r.Options)
	if err != nil {
		return nil, false, err
	}
	var changes []string
	kept := map[string]captured{} // by primary
	for _, t := range taken {
		change := t.disturbance(r.topology)
		if t.shard != nil && change == "" {
			kept[t.choice.shard.Primary.ID] = t
			continue
		}
		if change == "" {
			change = "its slots were parted anew for a while"
		}
		changes = append(changes, change)
		r.retried(t.choice, change)
		if t.shard == nil {
			continue
		}
		// What an agent has put goes when the manifest comes.
		if err := r.writer.Discard(ctx, catalog.Folder(r.Cluster, r.id)+r.job(t.choice).folder()); err != nil {
			r.note("superseded", "shard "+t.choice.shard.Slots.String(),
				fmt.Sprintf("what try %d has stored of it is not part of the snapshot, and could not be removed: %v", t.try, err))
		}
	}
	for _, c := range choices {
		if t, ok := kept[c.shard.Primary.ID]; ok {
			now = append(now, t)
			continue
		}
		for _, t := range taken {
			if t.choice.shard.Slots.Intersect(c.shard.Slots).Len() > 0 {
				c.try = max(c.try, t.try+1)
			}
		}
		if c.try > r.Tries {
			return nil, false, hint.Add(fmt.Errorf("%w: %s", ErrDisturbed, changes[0]),
				"let the failover or resharding end, then take the snapshot again")
		}
		now, moved = append(now, captured{choice: c}), true
	}
	return now, moved, nil
}

// settled is the topology once the cluster is whole and of one mind. A failover
// takes its time, so an unhealthy cluster is waited for, but not for ever.
func (r *run) settled(ctx context.Context) (*cluster.Topology, error) {
	for began := clock.Now(); ; {
		topology, err := cluster.Discover(ctx, r.Access, r.seeds())
		passing := errors.As(err, new(*cluster.UnhealthyError)) || errors.Is(err, cluster.ErrUnreachable)
		if !passing || clock.Since(began)+settlePause > r.Settle {
			return topology, err
		}
		if err := wait(ctx, settlePause); err != nil {
			return nil, err
		}
	}
}

// seeds are all nodes that may know the cluster: the one that was given may be
// what has died.
func (r *run) seeds() []string {
	seeds := slices.Clone(r.Seeds)
	for _, m := range r.topology.Members() {
		if !slices.Contains(seeds, m.Addr) {
			seeds = append(seeds, m.Addr)
		}
	}
	return seeds
}

// job is what is to be done for one shard.
func (r *run) job(c choice) Job {
	return Job{
		Cluster: r.Cluster, Snapshot: r.id, Shard: c.shard, Source: c.source, Lag: c.lag, Why: c.why,
		Collect: r.Collect, Attempt: c.try, Silence: r.Silence, Bandwidth: r.Bandwidth,
		AOF: r.AOF, Recorded: r.recorded[c.source.ID],
	}
}

// retried tells that a shard is to be taken once more.
func (r *run) retried(c choice, why string) {
	subject := "shard " + c.shard.Slots.String()
	r.Progress.Emit(progress.Event{Task: subject, Phase: "retry", Detail: why})
	r.note("retried", subject, fmt.Sprintf("try %d, on %s, did not count: %s", c.try, c.chosen(), why))
}

// note keeps a warning for the manifest.
func (r *run) note(code, subject, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, manifest.Finding{Code: code, Severity: "warning", Subject: subject, Detail: detail})
}

// wait passes some time, unless ctx ends.
func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
