package snapshot

import (
	"context"
	"fmt"

	"github.com/slotark/slotark/snapshot/manifest"
	"golang.org/x/sync/errgroup"
)

// capture takes every shard's dump; the first that fails stops the others.
func (r *run) capture(ctx context.Context) ([]manifest.Shard, error) {
	shards := make([]manifest.Shard, len(r.choices))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Parallel)
	for i, c := range r.choices {
		group.Go(func() error {
			job := r.job(c)
			capturer, err := r.capturer(ctx, job)
			if err != nil {
				return err
			}
			shard, err := capturer.Capture(ctx, job, atOnce)
			if err != nil {
				return fmt.Errorf("shard %s: %w", c.shard.Slots, err)
			}
			shards[i] = shard
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return shards, nil
}

// pipeline is the one of this machine.
func (r *run) pipeline() *Pipeline {
	return &Pipeline{Access: r.Access, Writer: r.writer, Sealer: r.Sealer, Folders: r.Folders, Progress: r.Progress}
}

// job is what is to be done for one shard.
func (r *run) job(c choice) Job {
	return Job{Cluster: r.Cluster, Snapshot: r.id, Shard: c.shard, Source: c.source, Lag: c.lag, Why: c.why, Collect: r.Collect}
}

// atOnce is the turn of who need not wait.
func atOnce(context.Context) (func(), error) { return func() {}, nil }
