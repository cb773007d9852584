package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	Replicas  string            // which nodes may give dumps, one of the Replicas constants; "" is prefer
	MaxLag    int64             // bytes a replica may be behind; 0 is DefaultMaxLag
	Settings  string            // one of the Settings constants; "" is auto
	Forks     string            // when nodes fork, one of the Forks constants; "" is apart
	Parallel  int               // forks in the cluster, and dumps under way here, at once; 0 is DefaultParallel. Together it does not count
	MaxSkew   time.Duration     // of forks together: more is a finding; 0 is DefaultMaxSkew
	Tries     int               // of each shard, on all of its nodes together; 0 is DefaultTries
	Silence   time.Duration     // how long a node may say nothing before its try has failed; 0 is a minute
	Settle    time.Duration     // how long the cluster may take to be whole again, as by a failover; 0 is DefaultSettle
	Bandwidth int64             // bytes a second that are read of one node's dump; 0 is no limit
	Limit     time.Duration     // for the whole; 0 is no limit
	AOF       bool              // take the nodes' append-only files, too
	DryRun    bool              // stop before anything is asked of a node or put into a store
	Build     string            // "slotark 0.1.0", for the manifest
	Progress  progress.Func
	Now       func() time.Time // nil is the system's clock
}

// Defaults of Options.
const (
	DefaultMaxLag   = 16 << 20
	DefaultParallel = 4
	DefaultMaxSkew  = time.Second
	DefaultTries    = 4
	DefaultSettle   = time.Minute
)

// Result is what a snapshot came to.
type Result struct {
	Manifest *manifest.Manifest // of a dry run: without dumps
	Plan     []Chosen           // the node that gives each shard's dump, by first slot
	Outcomes []mirror.Outcome   // one for each store, the primary first; none of a dry run
	Warnings []string           // what did not stop the snapshot
	Withheld []string           // secrets that its settings lack, as they would be kept only where they are encrypted
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

// Faulty tells whether the snapshot, though it is whole, is not what was asked
// for: a finding of it is an error.
func (r *Result) Faulty() bool {
	return slices.ContainsFunc(r.Manifest.Findings, func(f manifest.Finding) bool { return f.Severity == "error" })
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

	// Preflight: the topology as every node sees it, one node for each shard, and
	// all that would make them fail.
	found, err := run.preflight(ctx, false)
	if err != nil {
		return nil, err
	}
	if err := found.Refusal(); err != nil {
		return nil, err
	}
	if err := run.readyForAOF(ctx); err != nil {
		return nil, err
	}
	if o.DryRun {
		return run.planned(found.Sources), nil
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

	// Put back what a run that died left changed on nodes; record what will be.
	if err := run.intend(ctx, repository); err != nil {
		return nil, err
	}
	defer run.fulfil(ctx, repository)

	// Capture: collect, inspect, seal and put, in one pass. Then topology again:
	// what failed or changed meanwhile is taken again, until nothing did.
	run.prepare()
	shards, err := run.capture(ctx)
	if err != nil {
		return nil, err
	}

	// Settings: what the nodes are set up with, beside the keys.
	if err := run.keepSettings(ctx); err != nil {
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
	warnings []manifest.Finding // of the preflight
	writer   *catalog.Writer
	turns    *turns
	pipeline *Pipeline // of this machine

	delivered deliveries         // by agents
	kept      manifest.File      // the settings; the zero value where there are none
	about     []manifest.Finding // what is to be said of the settings
	withheld  []string           // secrets that they lack
	recorded  map[string]string  // node id → its own value of collect.RewriteSetting, as the repository has it

	mu    sync.Mutex
	notes []manifest.Finding // what was tried again, and why
}

// prepare makes what captures, and whose turn it is.
func (r *run) prepare() {
	parallel := r.Parallel
	if r.Forks == ForksTogether {
		parallel = 0 // all children write at once, and none may be kept waiting
	}
	r.turns = newTurns(r.Options, len(r.choices))
	r.pipeline = &Pipeline{
		Access: r.Access, Writer: r.writer, Sealer: r.Sealer, Folders: r.Folders, Parallel: parallel, Progress: r.Progress,
	}
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
	if o.Settings == "" {
		o.Settings = SettingsAuto
	}
	if o.MaxLag == 0 {
		o.MaxLag = DefaultMaxLag
	}
	o.Replicas = cmp.Or(o.Replicas, ReplicasPrefer)
	o.Forks = cmp.Or(o.Forks, ForksApart)
	o.Parallel = cmp.Or(o.Parallel, DefaultParallel)
	o.MaxSkew = cmp.Or(o.MaxSkew, DefaultMaxSkew)
	o.Tries = cmp.Or(o.Tries, DefaultTries)
	o.Settle = cmp.Or(o.Settle, DefaultSettle)
	return o
}

func (o Options) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.Limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.Limit, hint.Add(fmt.Errorf("the snapshot took over its limit of %s", o.Limit),
		"give it longer (--time-limit); slotark doctor looks at what may make the nodes slow"))
}

// explain looks whether a capture failed because the cluster changed: that a
// connection was closed is only how a failover shows.
func (r *run) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrDisturbed) {
		return err
	}
	after, discoverErr := cluster.Discover(ctx, r.Access, r.seeds())
	if ctx.Err() != nil {
		return err
	}
	if discoverErr != nil {
		return fmt.Errorf("%w: %w; %w", ErrDisturbed, discoverErr, err)
	}
	for _, c := range r.choices {
		if change := c.disturbance(after); change != "" {
			return hint.Add(fmt.Errorf("%w: %s; %w", ErrDisturbed, change, err),
				"let the failover or resharding end, then take the snapshot again")
		}
	}
	return err
}

func (r *run) result(m *manifest.Manifest) *Result {
	result := &Result{Manifest: m, Withheld: r.withheld, Elapsed: r.Now().Sub(r.started)}
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
