package restore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
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

	// Hosts are what is beside the nodes of To, by their addresses: these seed, stop and
	// start them, running or not. Without, all is sent to running nodes.
	Hosts map[string]Host

	// Logical sends values as commands, for running nodes that do not read the dumps.
	Logical bool

	// Apply is what of the snapshot's settings the nodes get, as the last step.
	Apply Apply

	// Zones are what hosts are lost together, by host as it stands in the addresses: a
	// shard's nodes are put in different ones wherever that can be.
	Zones map[string]string

	// Layout is which slots each shard of the restored cluster owns, in the order
	// of its primaries. Empty: the snapshot's. See [Balanced].
	Layout []slot.Set

	// Node seeds one node alone, of this place in At from 1 on, into ToDir itself, and
	// Name is the restore's: the same for each of its nodes, and no other restore's.
	// Names in At that are not known yet are waited for; 0 is DefaultNamesLimit.
	Node       int
	Name       string
	NamesLimit time.Duration

	// AppendOnly seeds dumps for servers that run with appendonly yes and would not
	// read a dump.rdb: each is the base of a set of append-only files.
	AppendOnly bool

	// Resume goes on where a restore of this snapshot into the very same nodes, or
	// folder, was killed or left, from this machine or another. Where that one did
	// something else, what it has left is removed first.
	Resume bool

	// KeepPartial leaves what is done where it is when something stops the restore,
	// for Resume, and does not undo it.
	KeepPartial bool

	// Replacing says that what running nodes hold may be lost.
	Replacing Replacing

	// AOF restores from the append-only files of the snapshot, not its dumps.
	AOF bool

	// Passing says that the running nodes will be thrown away: what they keep is nobody's
	// to be told.
	Passing bool

	Access   *cluster.Access // to the targets, and to the snapshot's own nodes
	Replicas int             // how many in all, or AllReplicas
	Parallel int             // shards at once; 0 is a number that suits this machine
	Progress progress.Func
	Now      func() time.Time // nil is the system's clock

	// Patience is how long a replay waits for one answer of a node, or until it takes in
	// one buffer; 0 is two minutes.
	Patience time.Duration
}

// Result is what a restore did.
type Result struct {
	Shards     []Shard
	Keys       uint64 // keys sent, or placed in folders
	Bytes      int64  // of the dumps they came from
	Phases     []Phase
	Encodings  rdb.Encodings      // of the keys that a replay sent, as the snapshot's dumps have them
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

// Phase is how long one step took, and for what of it the snapshot's objects, which
// stream from the store into what is done with them, were waited for.
type Phase struct {
	Name    string // "check", "empty", "assign", "join", "load", "functions", "replicas", "compare", "enable"; "seed", "name"; "stage", "stop", "place", "start", "settle", "clear"
	Elapsed time.Duration
	Waits   catalog.Waits
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
	switch {
	case r.through() && r.KeepPartial && r.hosts.touched:
		return nil, r.leave(err)
	case r.through():
		return nil, r.undoHosts(ctx, err)
	}
	err, untouched := r.ofLoss(err)
	switch {
	case untouched:
		return nil, err
	case r.KeepPartial:
		return nil, r.leave(err)
	case r.ToDir != "":
		return nil, r.discard(err)
	}
	return nil, r.undo(ctx, err)
}

// step is one of the steps of a restore.
type step struct {
	name string
	what func() string // what it does, in words, once the first has been done
	// do can be done again, from whatever state it was stopped in.
	do func(context.Context) error
	// done tells whether a killed restore has done it; nil: it is done once more.
	done func(context.Context) (bool, error)
}

// steps are those of a seed or of a replay. The first is the check.
func (r *run) steps() []step {
	check := step{"check", r.saysCheck, r.thenClaim(r.check), nil}
	if r.ToDir != "" {
		return []step{
			check,
			{"seed", r.saysSeed, r.seed, nil},
			{"name", r.saysName, r.nameFolders, nil},
		}
	}
	steps := []step{check}
	if r.through() {
		return append(steps, r.hostSteps()...)
	}
	if r.Replacing.Name != "" {
		steps = append(steps, step{"empty", r.saysEmpty, r.empty, nil})
	}
	steps = append(steps, []step{
		{"assign", r.saysAssign, r.assign, r.assigned},
		{"join", r.saysJoin, r.join, r.joined},
		{"load", r.saysLoad, r.load, r.allLoaded},
		{"functions", r.saysFunctions, r.loadFunctions, nil},
		{"replicas", r.saysReplicas, r.attachReplicas, nil},
		{"compare", r.saysCompare, r.compare, nil},
	}...)
	if r.Apply.any() {
		steps = append(steps, step{"enable", r.saysEnable, r.enable, nil})
	}
	return steps
}

// check looks for everything that forbids the restore, and changes nothing.
func (r *run) check(ctx context.Context) error {
	if err := r.checkApply(ctx); err != nil {
		return err
	}
	switch {
	case r.ToDir != "":
		return r.checkSeed(ctx)
	case r.through():
		return r.checkHosts(ctx)
	}
	return r.checkTargets(ctx)
}

// run is one restore under way.
type run struct {
	Options
	manifest *manifest.Manifest
	meter    *catalog.Meter // of what is opened of the snapshot
	layout   []slot.Set     // by shard of the restored cluster
	started  time.Time
	room     chan struct{} // holds a token for each shard of the snapshot that is read
	places   []place       // the primaries by shard, then the replicas
	targets  []*target     // of a replay, by place
	made     []string      // of a seed: what it made, to be removed if it fails
	held     *unfinished
	given    []place             // through hosts: all that were given, by rank
	hosts    hostRun             // through hosts
	taken    []catalog.Abandoned // through hosts: restores that this one has taken over
	claim    *catalog.Claim
	before   *catalog.Abandoned // the killed restore that this one goes on with; nil for none
	leftAsIs bool               // what is done stays, for another to go on with
	wanted   *manifest.Settings // what is to be applied is of these
	lost     atomic.Bool        // what targets held before

	mu      sync.Mutex // guards what the shards' goroutines add
	kept    []loaded   // the journal
	outcome Result
	types   []rdb.Encodings // by the snapshot's shards
	code    [][][]byte      // function libraries by the snapshot's shards
	stores  []string        // by the snapshot's shards, where each was read
}

func begin(o Options) (*run, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if (o.ToDir == "") == (len(o.To) == 0) {
		return nil, errors.New("restore: give either running nodes or a folder")
	}
	m := o.Snapshot.Manifest
	meter := catalog.NewMeter(o.Now)
	o.Snapshot = o.Snapshot.Metered(meter)
	r := &run{Options: o, manifest: m, meter: meter, started: o.Now(), layout: o.Layout,
		types: make([]rdb.Encodings, len(m.Shards)), code: make([][][]byte, len(m.Shards)), stores: make([]string, len(m.Shards)), room: make(chan struct{}, o.Parallel)}
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
		done, err := r.isDone(ctx, s)
		if err == nil && !done {
			err = s.do(ctx)
		}
		if err != nil {
			return err
		}
		r.outcome.Phases = append(r.outcome.Phases, Phase{s.name, r.Now().Sub(started), r.meter.Take()})
	}
	return nil
}

// isDone tells whether a killed restore has done a step.
func (r *run) isDone(ctx context.Context, s step) (bool, error) {
	if r.before == nil || s.done == nil {
		return false, nil
	}
	return s.done(ctx)
}

func (r *run) result() *Result {
	for i, s := range r.outcome.Shards {
		r.outcome.Keys += s.Keys
		for _, source := range r.sourcesOf(i) {
			if name := r.stores[source]; name != "" && !slices.Contains(r.outcome.Shards[i].Stores, name) {
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
	for i := range r.types {
		r.outcome.Encodings.Add(&r.types[i])
	}
	for _, i := range r.reads() {
		r.outcome.Bytes += r.sizeOf(i)
	}
	if r.Node > 0 { // of the others nothing was done
		own := r.places[r.own()].shard
		r.outcome.Shards, r.outcome.Folders[0].Shard = r.outcome.Shards[own:own+1], 0
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
