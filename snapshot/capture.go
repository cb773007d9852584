package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
	"golang.org/x/sync/errgroup"
)

// staleTries is how often a dump over the wire is asked for again when the
// node hands out one whose fork came before the request.
const staleTries = 3

// capture takes every shard's dump; the first that fails stops the others.
func (r *run) capture(ctx context.Context) ([]manifest.Shard, error) {
	shards := make([]manifest.Shard, len(r.choices))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Parallel)
	for i, c := range r.choices {
		group.Go(func() error {
			shard, err := r.captureShard(ctx, c)
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

// captureShard takes one dump, again where the node gave an old one.
func (r *run) captureShard(ctx context.Context, c choice) (manifest.Shard, error) {
	for try := 1; ; try++ {
		shard, err := r.captureOnce(ctx, c)
		if err == nil || !errors.Is(err, collect.ErrStale) || try == staleTries {
			return shard, err
		}
	}
}

// captureOnce is the pipeline: collect → inspect → seal → put.
func (r *run) captureOnce(ctx context.Context, c choice) (manifest.Shard, error) {
	task := progress.Event{Task: "shard " + c.shard.Slots.String(), Phase: "save", Detail: c.chosen().String()}
	r.Progress.Emit(task)
	asked := clock.Now()
	source, way, err := r.collect(ctx, c)
	if err != nil {
		return manifest.Shard{}, err
	}
	task.Phase, task.Total = "collect", max(0, source.Size)
	inspected := newInspection(ctx, source, c.shard.Slots, func(done int64, keys uint64) {
		task := task
		task.Done, task.Keys = done, keys
		r.Progress.Emit(task)
	})
	// The sealer gets the dump's end only when it was found sound and fresh, and
	// the stores theirs only when the sealer has ended.
	inspected.verdict = func(report *rdb.Report) error { return fresh(source, report, clock.Since(asked)) }
	file, err := r.put(ctx, dumpObject(c.shard.Slots), inspected)
	if failure := inspected.Close(); failure != nil {
		err = failure // the dump's own trouble: what the stores say of it adds nothing
	}
	if err != nil {
		return manifest.Shard{}, fmt.Errorf("dump of %s: %w", c.source.Addr, err)
	}
	shard := r.record(c, source, way, inspected.report)
	shard.Dump.File = file
	index := manifest.NewSlotIndex(c.shard.Slots, inspected.report).Encode()
	shard.SlotIndex, err = r.put(ctx, indexObject(c.shard.Slots), bytes.NewReader(index))
	if err != nil {
		return manifest.Shard{}, err
	}
	size := file.Content().Bytes
	task.Done, task.Total, task.Keys, task.Ended = size, size, inspected.report.Keys, true
	r.Progress.Emit(task)
	return shard, nil
}

// put seals one object and puts it into the stores, in one pass.
func (r *run) put(ctx context.Context, name string, plain io.Reader) (manifest.File, error) {
	return putSealed(ctx, r.writer, catalog.Folder(r.Cluster, r.id), name, r.Sealer, plain)
}

// collect opens the dump by the way that was asked for, and says which it was.
func (r *run) collect(ctx context.Context, c choice) (*collect.Source, string, error) {
	addr := c.source.Addr
	folder := r.Folders[addr]
	byFile := r.Collect == CollectBgsave ||
		r.Collect == CollectAuto && (folder != "" || collect.Local(r.Access, addr)) && collect.Here(ctx, r.Access, addr, folder)
	if byFile {
		source, err := collect.Bgsave(ctx, r.Access, addr, collect.BgsaveOptions{Folder: folder})
		if err == nil || r.Collect == CollectBgsave || !errors.Is(err, collect.ErrNotHere) {
			return source, CollectBgsave, err
		}
	}
	source, err := collect.Stream(ctx, r.Access, addr, collect.StreamOptions{})
	return source, CollectStream, err
}

// clockMargin is how far ctime may be past the node's clock at the request plus
// the time that passed here: whole seconds on one side, two clocks' drift.
const clockMargin = 2 * time.Second

// fresh compares what the dump says of itself with what the node said before.
func fresh(source *collect.Source, report *rdb.Report, elapsed time.Duration) error {
	if report.Created.IsZero() {
		return fmt.Errorf("%w: it does not say when it was made (no ctime)", collect.ErrStale)
	}
	if report.Created.Before(source.NotBefore) {
		return fmt.Errorf("%w: it was made at %s, the request came at %s", collect.ErrStale,
			report.Created.Format(time.RFC3339), source.NotBefore.Format(time.RFC3339))
	}
	if latest := source.NotBefore.Add(elapsed + clockMargin); report.Created.After(latest) {
		return fmt.Errorf("%w: it was made at %s, after the node's own clock (%s)", collect.ErrStale,
			report.Created.Format(time.RFC3339), latest.Format(time.RFC3339))
	}
	if report.ReplID != "" && report.ReplID != source.ReplID {
		return fmt.Errorf("%w: its replication id is %s, the node's is %s: it is another node's dump, or a failover came between",
			collect.ErrStale, report.ReplID, source.ReplID)
	}
	return nil
}

// record is the manifest's entry for a shard, less its objects.
func (r *run) record(c choice, source *collect.Source, way string, report *rdb.Report) manifest.Shard {
	shard := manifest.Shard{
		Slots:       c.shard.Slots,
		Primary:     c.shard.Primary.ID,
		ConfigEpoch: c.shard.Primary.ConfigEpoch,
		Replicas:    len(c.shard.Replicas),
		Source: manifest.Source{
			Node: c.source.ID, Address: c.source.Addr, Role: string(c.source.Role), Collect: way, LagBytes: c.lag,
		},
		Taken:       source.Forked,
		Replication: manifest.Replication{ID: source.ReplID, Offset: source.ReplOffset, Exact: source.Exact},
		Dump: manifest.Dump{
			RDBVersion:       report.Version,
			Created:          report.Created,
			CRC64:            fmt.Sprintf("%016x", report.CRC64),
			ChecksumDisabled: report.ChecksumDisabled,
			Keys:             report.Keys,
			Expiring:         report.Expiring,
			MaxDB:            report.MaxDB,
			UsedMemory:       report.UsedMemory,
			Functions:        len(report.Functions),
		},
	}
	if report.ReplID != "" { // the dump's own word is exact
		shard.Replication = manifest.Replication{ID: report.ReplID, Offset: report.ReplOffset, Exact: true}
	}
	return shard
}
