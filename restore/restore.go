package restore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// AllReplicas as [Options].Replicas makes a replica of every address that is
// left once each shard has its primary.
const AllReplicas = -1

// Options says what to restore and where to. Exactly one of To and ToDir is
// given.
type Options struct {
	Snapshot *catalog.Snapshot

	To    []string // replay into these running, empty nodes
	ToDir string   // or seed this new or empty folder

	// At are the addresses the seeded nodes will have, the primaries first, by
	// shard: "10.0.0.1:6379" or "10.0.0.1:6379@16379". Empty: the snapshot's.
	At []string

	// Layout is which slots each shard of the restored cluster owns, in the order
	// of its primaries. Empty: the snapshot's. See [Balanced].
	Layout []slot.Set

	// Resume begins anew where a restore of this snapshot into the very same nodes
	// was killed: what they hold is removed first. Of a replay.
	Resume bool

	// AOF restores from the append-only files of the snapshot, not its dumps.
	AOF bool

	Access   *cluster.Access // to the targets, and to the snapshot's own nodes
	Replicas int             // how many in all, or AllReplicas
	Parallel int             // shards at once; 0 is a number that suits this machine
	Progress progress.Func
	Now      func() time.Time // nil is the system's clock
}

// Result is what a restore did.
type Result struct {
	Shards     []Shard
	Keys       uint64 // keys sent, or placed in folders
	Bytes      int64  // of the dumps they came from
	Phases     []Phase
	Comparison *verify.Comparison // nil where there was none: seeded nodes do not run yet
	Folders    []Folder           // of a seed
	Notes      []string           // what a person has to know or do next
	Findings   []manifest.Finding // what is not as it should be, the comparison's apart
	Elapsed    time.Duration
}

// Complete tells whether the restore came to its end without a finding.
func (r *Result) Complete() bool {
	return len(r.Findings) == 0 && (r.Comparison == nil || r.Comparison.Equal())
}

// Shard is one shard as it was restored.
type Shard struct {
	Slots    slot.Set
	Primary  string   // address
	Replicas []string // addresses
	Stores   []string // the stores that its data came from, one unless it is made of several shards
	Keys     uint64
	Bytes    int64 // of the dumps' records, or whole dumps, that it was made of
}

// Phase is how long one step took.
type Phase struct {
	Name    string // "check", "assign", "join", "load", "functions", "replicas", "compare"; "seed", "name"
	Elapsed time.Duration
}

// Run restores a snapshot. doc.go describes the steps. An error means that
// nothing was restored: a guard refused (hint.ErrRefused), or what had been
// done was undone, which the error says.
func Run(ctx context.Context, o Options) (*Result, error) {
	r, err := begin(o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	defer r.release(ctx)
	steps := r.steps()

	// Check: until it returns, nothing is changed.
	if err := r.inOrder(ctx, steps[0]); err != nil {
		return nil, err
	}

	// From here on the targets are ours to change, and to bring back.
	if err = r.inOrder(ctx, steps[1:]...); err == nil {
		return r.result(), nil
	}
	if r.ToDir != "" {
		return nil, r.discard(err)
	}
	return nil, r.undo(ctx, err)
}

// step is one of the steps of a restore.
type step struct {
	name string
	do   func(context.Context) error
	what func() string // what it does, in words, once the first has been done
}

// steps are those of a seed or of a replay. The first is the check.
func (r *run) steps() []step {
	check := step{"check", r.thenClaim(r.check), r.saysCheck}
	if r.ToDir != "" {
		return []step{
			check,
			{"seed", r.seed, r.saysSeed},
			{"name", r.nameFolders, r.saysName},
		}
	}
	return []step{
		check,
		{"assign", r.assign, r.saysAssign},
		{"join", r.join, r.saysJoin},
		{"load", r.load, r.saysLoad},
		{"functions", r.loadFunctions, r.saysFunctions},
		{"replicas", r.attachReplicas, r.saysReplicas},
		{"compare", r.compare, r.saysCompare},
	}
}

// check looks for everything that forbids the restore, and changes nothing.
func (r *run) check(ctx context.Context) error {
	if r.ToDir != "" {
		return r.checkSeed(ctx)
	}
	return r.checkTargets(ctx)
}

// run is one restore under way.
type run struct {
	Options
	manifest *manifest.Manifest
	layout   []slot.Set // by shard of the restored cluster
	started  time.Time
	room     chan struct{} // holds a token for each shard of the snapshot that is read
	places   []place       // the primaries by shard, then the replicas
	targets  []*target     // of a replay, by place
	made     []string      // of a seed: what it made, to be removed if it fails
	held     *unfinished
	claim    *catalog.Claim

	mu      sync.Mutex // guards what the shards' goroutines add
	outcome Result
	code    [][][]byte // function libraries by the snapshot's shards
	stores  []string   // by the snapshot's shards, where each was read
}

func begin(o Options) (*run, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if (o.ToDir == "") == (len(o.To) == 0) {
		return nil, errors.New("restore: give either running nodes or a folder")
	}
	m := o.Snapshot.Manifest
	r := &run{Options: o, manifest: m, started: o.Now(), layout: o.Layout,
		code: make([][][]byte, len(m.Shards)), stores: make([]string, len(m.Shards)), room: make(chan struct{}, o.Parallel)}
	if len(r.layout) == 0 {
		for _, s := range m.Shards {
			r.layout = append(r.layout, s.Slots)
		}
	}
	r.outcome.Shards = make([]Shard, len(r.layout))
	for i, slots := range r.layout {
		r.outcome.Shards[i].Slots = slots
	}
	return r, nil
}

// defaultParallel is how many shards are restored at once: enough to keep
// stores and nodes busy, few enough that the values under way fit in memory.
const defaultParallel = 8

// inOrder runs steps and notes how long each took. The first error ends it.
func (r *run) inOrder(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		started := r.Now()
		r.Progress.Emit(progress.Event{Task: "restore", Phase: s.name})
		if err := s.do(ctx); err != nil {
			return err
		}
		r.outcome.Phases = append(r.outcome.Phases, Phase{s.name, r.Now().Sub(started)})
	}
	return nil
}

func (r *run) result() *Result {
	for i, s := range r.outcome.Shards {
		r.outcome.Keys += s.Keys
		for _, source := range r.sourcesOf(i) {
			if name := r.stores[source]; !slices.Contains(r.outcome.Shards[i].Stores, name) {
				r.outcome.Shards[i].Stores = append(r.outcome.Shards[i].Stores, name)
			}
		}
		for _, p := range r.places {
			switch {
			case p.shard != i:
			case p.primary:
				r.outcome.Shards[i].Primary = p.addr()
			default:
				r.outcome.Shards[i].Replicas = append(r.outcome.Shards[i].Replicas, p.addr())
			}
		}
	}
	for i := range r.manifest.Shards {
		r.outcome.Bytes += r.sizeOf(i)
	}
	r.outcome.Elapsed = r.Now().Sub(r.started)
	r.Progress.Emit(progress.Event{Task: "restore", Phase: "done", Keys: r.outcome.Keys, Ended: true})
	return &r.outcome
}

// sizeOf is what a shard of the snapshot is restored from, in bytes.
func (r *run) sizeOf(shard int) int64 {
	s := r.manifest.Shards[shard]
	if r.AOF && s.AOF != nil {
		return s.AOF.Content()
	}
	return s.Dump.Content().Bytes
}

// note adds a finding that does not stop the restore, from any goroutine.
func (r *run) note(code, severity, subject, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome.Findings = append(r.outcome.Findings, manifest.Finding{Code: code, Severity: severity, Subject: subject, Detail: detail})
}

// close closes the connections to the targets, and lets go of a folder.
func (r *run) close() {
	_ = r.held.close() // nothing was written that was not synced
	for _, t := range r.targets {
		t.node.Close()
	}
}
