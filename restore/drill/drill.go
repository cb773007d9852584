package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/drill/probe"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// Options says what to rehearse and where.
type Options struct {
	Snapshot *catalog.Snapshot
	Runtime  Runtime // "" is Auto
	Image    string  // of containers; "" is found by the snapshot's server
	Program  string  // of local processes; "" is found by the snapshot's server

	// From is the one store that everything is read from, as if all others were
	// lost; "" reads from any.
	From string
	// Shards is how many shards the slots are divided over evenly; 0 leaves them
	// as the snapshot has them. Replicas is how many replicas there are in all;
	// AsTaken is one for each shard that had any.
	Shards, Replicas int

	// Probes are what else the restored cluster must answer.
	Probes []probe.Probe

	// Hold, if set, is called with the restored cluster before it is removed:
	// to look around, or to ask it more. The removal waits for its return, and
	// ctx's end is for it to honour.
	Hold func(ctx context.Context, s Sandbox, r *Report) error

	Progress progress.Func
	Now      func() time.Time // nil is the system's clock
	Logger   *slog.Logger     // nil is silence
}

// AsTaken as [Options].Replicas gives each shard a replica that had one.
const AsTaken = -1

// Run rehearses the recovery of one snapshot. doc.go describes the steps.
//
// A snapshot that turns out damaged, or a restored cluster that differs, is a
// Report with findings and Proved false; an error means that the rehearsal
// itself could not be held. Where all was done but the sandbox could not be
// removed whole, both are returned.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	d, err := begin(o)
	if err != nil {
		return nil, err
	}
	defer d.end()

	// The manifest: one that contradicts itself, or says nothing of some slots, is
	// damage, and no cluster has to be built to find it.
	if err := d.manifest.Validate(); err != nil {
		d.report.find("manifest", string(d.manifest.ID), strings.ReplaceAll(err.Error(), "\n", "; "))
		d.report.Ended = d.Now()
		return d.report, nil
	}

	// Runtime, and the sweep in every runtime: an earlier drill may have had
	// another.
	if d.place, err = findPlace(ctx, d.Runtime, d.Logger); err != nil {
		return nil, err
	}
	defer d.place.close()
	_ = d.phase("sweep", func() error { return d.sweep(ctx) }) // it has been logged

	// Image: made or pulled once, so no part of a recovery's time.
	if err := d.phase("image", func() error { return d.place.choose(ctx, d.Image, d.Program, d.manifest.Server) }); err != nil {
		return nil, err
	}

	// A server that does not read the dumps need not be started to know that.
	if err := d.reads(); err != nil {
		return nil, err
	}

	// Provision. From here on the clock of a recovery runs, and whatever
	// happens the sandbox goes.
	defer func() { err = errors.Join(err, d.remove(ctx)) }()
	recovering := d.Now()
	if err := d.phase("provision", func() error { return d.provision(ctx) }); err != nil {
		return nil, err
	}

	// Restore and compare, by the code that a real recovery uses.
	if err := d.restore(ctx); err != nil {
		return nil, err
	}
	d.report.RTO = catalog.Seconds(d.Now().Sub(recovering))

	// Ask what applications would: the measuring is over, and nothing is compared
	// any more.
	if err := d.phase("probe", func() error { return d.probe(ctx) }); err != nil {
		return nil, err
	}

	// Hold.
	if d.Hold != nil {
		if err := d.Hold(ctx, d.sandbox, d.report); err != nil {
			return d.report, fmt.Errorf("look around in drill %s: %w", d.report.ID, err)
		}
	}
	return d.report, nil
}

// rehearsal is one drill under way.
type rehearsal struct {
	Options
	manifest *manifest.Manifest
	owner    owner
	report   *Report
	place    *place
	sandbox  Sandbox
	restored bool // there is a cluster to be asked
}

func begin(o Options) (*rehearsal, error) {
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if o.Runtime, err = ParseRuntime(string(o.Runtime)); err != nil {
		return nil, err
	}
	if o.Program != "" && o.Runtime == Auto {
		o.Runtime = Process // whatever engine there is: no container runs it
	}
	by, err := self()
	if err != nil {
		return nil, fmt.Errorf("begin drill: %w", err)
	}
	if o.From != "" {
		stores := o.Snapshot.Stores()
		at := slices.IndexFunc(stores, func(s storage.Named) bool { return s.Name == o.From })
		if at < 0 {
			return nil, hint.Add(fmt.Errorf("store %q does not have snapshot %s", o.From, o.Snapshot.Manifest.ID), "slotark show names the stores that have it; slotark mirror sync brings up those that lack it.")
		}
		o.Snapshot = o.Snapshot.In(stores[at])
	}
	started := o.Now()
	id := manifest.NewID(started)
	d := &rehearsal{Options: o, manifest: o.Snapshot.Manifest, owner: by}
	d.report = newReport(id, d.manifest, started)
	d.report.From, d.report.Shards = o.From, o.Shards
	d.Logger = o.Logger.With("drill", id, "cluster", d.manifest.Cluster, "snapshot", d.manifest.ID)
	running.begin(id)
	return d, nil
}

// end lets the next sweep take what this drill could not remove.
func (d *rehearsal) end() {
	running.end(d.report.ID)
	d.Progress.Emit(progress.Event{Task: "drill", Phase: "done", Keys: d.report.Keys, Ended: true})
}

// phase runs one part of the drill and notes how long it took.
func (d *rehearsal) phase(name string, do func() error) error {
	d.Progress.Emit(progress.Event{Task: "drill", Phase: name})
	started := d.Now()
	err := do()
	d.report.Phases = append(d.report.Phases, Phase{Name: name, Elapsed: catalog.Seconds(d.Now().Sub(started))})
	return err
}

// sweep logs its own failure: what another drill left must not stop this one.
func (d *rehearsal) sweep(ctx context.Context) error {
	err := sweep(ctx, d.place.engine, sandboxRoot(), d.owner, d.Logger)
	if err != nil {
		d.Logger.Warn("could not remove what old drills left", "error", err)
	}
	return err
}

// remove tears the sandbox down, if it came to one.
func (d *rehearsal) remove(ctx context.Context) error {
	if d.sandbox == nil {
		return nil
	}
	err := d.phase("remove", func() error { return closeSandbox(ctx, d.sandbox) })
	// Once more: of a drill that was killed a moment before this one began, the
	// engine may have been making containers when the first sweep looked.
	if ctx.Err() == nil {
		_ = d.sweep(ctx) // it has been logged
	}
	d.report.Ended = d.Now()
	return err
}

func (d *rehearsal) provision(ctx context.Context) error {
	sandbox, err := d.place.provision(ctx, newOrder(d.report.ID, d.owner, d.manifest, d.Shards, d.Replicas))
	if err != nil {
		return fmt.Errorf("provision drill %s: %w", d.report.ID, err)
	}
	d.sandbox = sandbox
	d.report.Runtime, d.report.Image, d.report.Nodes = d.place.runtime, d.place.image.name, d.sandbox.Describe()
	node := d.sandbox.Access().Open(d.sandbox.Nodes()[0])
	info, err := node.Info(ctx, "server")
	if err = errors.Join(err, node.Close()); err != nil {
		return fmt.Errorf("ask drill %s for its version: %w", d.report.ID, err)
	}
	d.report.Engine, d.report.ServerVersion = info.Engine()
	d.Logger.Info("provisioned", "nodes", d.report.Nodes, "version", d.report.ServerVersion)
	return nil
}

// restore fills the sandbox and compares it with the snapshot.
func (d *rehearsal) restore(ctx context.Context) error {
	var layout []slot.Set
	if d.Shards > 0 {
		layout = restore.Balanced(d.Shards)
	}
	done, err := restore.Run(ctx, restore.Options{
		Snapshot: d.Snapshot,
		Layout:   layout,
		To:       d.sandbox.Nodes(),
		Access:   d.sandbox.Access(),
		Replicas: restore.AllReplicas,
		Passing:  true,
		Progress: d.Progress,
		Now:      d.Now,
	})
	if err == nil {
		d.report.add(done)
		d.restored = true
		d.Logger.Info("restored and compared", "keys", d.report.Keys, "findings", len(d.report.Findings))
		return nil
	}
	if ctx.Err() == nil && d.report.damage(err) {
		return nil
	}
	err = fmt.Errorf("restore in drill %s: %w", d.report.ID, err)
	// A node that died, for want of memory perhaps, is the cause behind what
	// the restore saw.
	if ctx.Err() == nil {
		err = errors.Join(err, d.sandbox.Check(ctx))
	}
	return err
}
