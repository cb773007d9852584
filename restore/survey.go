package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
	"golang.org/x/sync/errgroup"
)

// survey is what the dumps hold that not every server takes.
type survey struct {
	modules map[string]uint64 // values of modules, by the name of their type
	cannot  map[string]uint64 // why commands cannot carry a key, and how many there are
}

func newSurvey() *survey { return &survey{map[string]uint64{}, map[string]uint64{}} }

// add adds what another has found.
func (s *survey) add(other *survey) {
	for name, n := range other.modules {
		s.modules[name] += n
	}
	for why, n := range other.cannot {
		s.cannot[why] += n
	}
}

// survey reads every dump of the snapshot to its end, from the first store whose
// copy is whole, and changes nothing. carry, if given, begins to look whether a key can
// be sent as commands.
func (r *run) survey(ctx context.Context, carry func(*rdb.Record) carrier) (*survey, error) {
	all := newSurvey()
	group, ctx := errgroup.WithContext(ctx)
	for _, shard := range r.manifest.Shards {
		group.Go(func() error {
			select {
			case r.room <- struct{}{}:
				defer func() { <-r.room }()
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			var failures []error
			for _, store := range r.Snapshot.Stores() {
				found, err := r.surveyShard(ctx, r.Snapshot.In(store), shard, carry)
				if err == nil {
					r.mu.Lock()
					defer r.mu.Unlock()
					all.add(found)
					return nil
				}
				failures = append(failures, fmt.Errorf("store %s: %w", store.Name, err))
			}
			return fmt.Errorf("read shard %s: %w", shard.Slots, objections(failures))
		})
	}
	return all, group.Wait()
}

func (r *run) surveyShard(ctx context.Context, copied *catalog.Snapshot, shard manifest.Shard, carry func(*rdb.Record) carrier) (found *survey, err error) {
	body, err := copied.Open(ctx, shard.Dump.File)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	found = newSurvey()
	task := progress.Event{Task: "shard " + shard.Slots.String(), Phase: "survey", Total: shard.Dump.Content().Bytes}
	var key carrier
	options := rdb.Options{Size: task.Total}
	if carry != nil {
		options.View = func(rec *rdb.Record) func(*rdb.Element) error {
			key = carry(rec)
			return key.look
		}
	}
	reader := rdb.NewReader(body, options)
	for {
		record, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			if task.Keys != shard.Dump.Keys {
				return nil, fmt.Errorf("the dump holds %s, the manifest says %s: %w", human.Plural(task.Keys, "key"), human.Count(shard.Dump.Keys), verify.ErrDamaged)
			}
			task.Done, task.Ended = task.Total, true
			r.Progress.Emit(task)
			return found, nil
		case err != nil:
			return nil, err
		case record.Kind != rdb.KindKey:
			continue
		}
		if task.Keys++; task.Keys%progressKeys == 0 {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			task.Done = reader.Offset()
			r.Progress.Emit(task)
		}
		if record.Family == rdb.Module {
			found.modules[string(record.Name)]++
		}
		if carry != nil && key.why != "" {
			found.cannot[key.why]++
		}
	}
}
