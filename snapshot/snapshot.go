package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/mirror"
	"github.com/slotark/slotark/storage/seal"
)

// Ways to collect a dump.
const (
	CollectAuto   = "auto"   // an agent where one answers, else the data folder where it is on this machine, else the stream
	CollectBgsave = "bgsave" // BGSAVE and the data folder
	CollectStream = "stream" // the replication stream
	CollectAgent  = "agent"  // an agent beside each node
)

// ErrDisturbed is returned when the cluster changed while it was captured.
var ErrDisturbed = errors.New("the cluster changed during the snapshot")

// Options says what to capture and where to put it.
type Options struct {
	Cluster   string // the name it is kept under
	Seeds     []string
	Access    *cluster.Access
	Stores    []storage.Named // the primary first
	Mirroring catalog.Mirroring
	Sealer    *seal.Sealer      // of every object but the manifest; nil leaves them as they are
	Collect   string            // one of the Collect constants; "" is auto
	Folders   map[string]string // node address → its data folder as seen from here
	Agents    map[string]Agent  // node address → the agent beside it
	Primary   bool              // take every dump from the primary, though a replica could give it
	MaxLag    int64             // bytes a replica may be behind; 0 is DefaultMaxLag
	Parallel  int               // shards captured at once; 0 is DefaultParallel
	Limit     time.Duration     // for the whole; 0 is no limit
	DryRun    bool              // stop before anything is asked of a node or put into a store
	Build     string            // "slotark 0.1.0", for the manifest
	Progress  progress.Func
	Now       func() time.Time // nil is the system's clock
}

// Defaults of Options.
const (
	DefaultMaxLag   = 16 << 20
	DefaultParallel = 4
)

// Result is what a snapshot came to.
type Result struct {
	Manifest *manifest.Manifest // of a dry run: without dumps
	Plan     []Chosen           // the node that gives each shard's dump, by first slot
	Outcomes []mirror.Outcome   // one for each store, the primary first; none of a dry run
	Warnings []string           // what did not stop the snapshot
	Elapsed  time.Duration
}

// Complete tells whether every store has the snapshot.
func (r *Result) Complete() bool {
	for _, o := range r.Outcomes {
		if o.Err != nil {
			return false
		}
	}
	return true
}

// Slots is the number of slots that the shards cover.
func (r *Result) Slots() int {
	total := 0
	for _, p := range r.Plan {
		total += p.Slots.Len()
	}
	return total
}

// Take takes one snapshot. An error means that there is none; the stores hold
// nothing of it, as far as they could still be reached.
func Take(ctx context.Context, o Options) (_ *Result, err error) {
	o = o.withDefaults()
	ctx, cancel := o.limited(ctx)
	defer cancel()
	run := &run{Options: o, started: o.Now()}
	run.id = manifest.NewID(run.started)

	// Topology, as every node sees it.
	run.topology, err = cluster.Discover(ctx, o.Access, o.Seeds)
	if err != nil {
		return nil, err
	}

	// One node for each shard.
	run.choices = choose(run.topology, o)
	if o.DryRun {
		return run.result(run.manifest(nil)), nil
	}

	// The stores, before any node is asked to work.
	repository, err := catalog.Create(ctx, o.Stores, run.started)
	if err != nil {
		return nil, err
	}
	if run.writer, err = repository.Begin(o.Mirroring); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = run.abort(ctx, err)
		}
	}()

	// Capture: collect, inspect, seal and put, in one pass.
	shards, err := run.capture(ctx)
	if err != nil {
		return nil, run.explain(ctx, err)
	}

	// Topology again: nothing may have moved.
	if err := run.undisturbed(ctx); err != nil {
		return nil, err
	}

	// The manifest makes it a snapshot, if all that agents put is where it is to be.
	if err := run.confirm(ctx, shards); err != nil {
		return nil, err
	}
	m := run.manifest(shards)
	if err := commitManifest(ctx, run.writer, m); err != nil {
		return nil, err
	}
	if err := run.keep(ctx); err != nil {
		return nil, err
	}
	return run.result(m), nil
}

// run is one snapshot on its way.
type run struct {
	Options
	id       manifest.ID
	started  time.Time
	topology *cluster.Topology
	choices  []choice
	writer   *catalog.Writer

	delivered deliveries // by agents
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Sealer == nil {
		o.Sealer = seal.Plain()
	}
	if o.Collect == "" {
		o.Collect = CollectAuto
	}
	if o.MaxLag == 0 {
		o.MaxLag = DefaultMaxLag
	}
	if o.Parallel == 0 {
		o.Parallel = DefaultParallel
	}
	return o
}

func (o Options) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.Limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.Limit, fmt.Errorf("the snapshot took over its limit of %s", o.Limit))
}

// undisturbed looks at the topology once more and refuses what moved.
func (r *run) undisturbed(ctx context.Context) error {
	after, err := cluster.Discover(ctx, r.Access, r.Seeds)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisturbed, err)
	}
	if after.Fingerprint() != r.topology.Fingerprint() {
		return hint.Add(fmt.Errorf("%w: %s", ErrDisturbed, difference(r.topology, after)),
			"let the failover or resharding end, then take the snapshot again")
	}
	return nil
}

// explain looks whether a capture failed because the cluster changed: that a
// connection was closed is only how a failover shows.
func (r *run) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if change := r.undisturbed(ctx); change != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; %w", change, err)
	}
	return err
}

// difference names the first thing that is not as it was.
func difference(before, after *cluster.Topology) string {
	was := map[string]cluster.Shard{}
	for _, s := range before.Shards {
		was[s.Primary.ID] = s
	}
	for _, s := range after.Shards {
		old, known := was[s.Primary.ID]
		switch {
		case !known:
			return fmt.Sprintf("%s is a primary now (a failover)", s.Primary.Addr)
		case old.Slots != s.Slots:
			return fmt.Sprintf("%s had slots %s and has %s now", s.Primary.Addr, old.Slots, s.Slots)
		case old.Primary.ConfigEpoch != s.Primary.ConfigEpoch:
			return fmt.Sprintf("%s went from config epoch %d to %d", s.Primary.Addr, old.Primary.ConfigEpoch, s.Primary.ConfigEpoch)
		case len(old.Replicas) != len(s.Replicas):
			return fmt.Sprintf("%s had %d replicas and has %d now", s.Primary.Addr, len(old.Replicas), len(s.Replicas))
		}
	}
	return fmt.Sprintf("%d shards became %d, or replicas moved between them", len(before.Shards), len(after.Shards))
}

func (r *run) result(m *manifest.Manifest) *Result {
	result := &Result{Manifest: m, Elapsed: r.Now().Sub(r.started)}
	for _, c := range r.choices {
		result.Plan = append(result.Plan, c.chosen())
	}
	if r.writer != nil {
		result.Outcomes = r.writer.Outcomes()
	}
	result.Warnings = append(result.Warnings, r.delivered.warnings...)
	for _, f := range m.Findings {
		result.Warnings = append(result.Warnings, f.Subject+": "+f.Detail)
	}
	return result
}
