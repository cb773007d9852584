package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/preflight"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/mirror"
)

// ErrAgentLost is returned by [Agent.Capture] when what became of the work is not
// known: the agent was killed, or is out of reach. What it put may be in the stores.
var ErrAgentLost = errors.New("the agent was lost")

// Order is all that an agent is told: the job, and where and how its objects are
// to be kept. It holds no secret. The agent refuses what its own settings do not
// allow.
type Order struct {
	Job
	Seal      manifest.Seal // what its own sealer must come to
	Stores    []string      // names of the stores, the primary first
	Mirroring catalog.Mirroring
}

// Agent captures shards beside a node and puts them straight into the stores, so
// that their bytes never come here.
type Agent interface {
	// Ready is nil where the agent answers and may capture the node.
	Ready(ctx context.Context, cluster, node string) error
	// Examine has the agent look at the node it is beside: whether it could take a
	// dump there, and its append-only files if these are wanted. An error is that
	// the agent is not ready, or cannot look.
	Examine(ctx context.Context, cluster, node string, aof bool) ([]preflight.Finding, error)
	// Capture takes one shard's dump, as [Capturer] does. After an error nothing of
	// it is left in the stores, unless the error is an [ErrAgentLost] or a
	// hint.ErrLeft. What it returns must be settled.
	Capture(ctx context.Context, o Order, turn Turn, report progress.Func) (Delivery, error)
}

// Delivery is a shard that an agent has put. The agent removes it again when it
// has not heard from us for a while and finds no manifest.
type Delivery interface {
	Shard() manifest.Shard
	// Outcomes are what each store has of it, the primary first.
	Outcomes() []mirror.Outcome
	// Hold makes sure that the agent has not given it up, and gives the caller at
	// least a minute from now in which it does not.
	Hold(ctx context.Context) error
	// Settle tells the agent that the shard is part of a snapshot, or else has it
	// removed, and waits until that is done. It returns what could not be.
	Settle(ctx context.Context, keep bool) error
}

// deliveries are what agents have put for one run, and what they may have.
type deliveries struct {
	mu       sync.Mutex
	all      []delivered
	lost     []string // folders in which an agent out of reach may have left something
	warnings []string
}

type delivered struct {
	Delivery
	job Job
}

func (d *deliveries) add(one delivered) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

func (d *deliveries) lose(folder string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = append(d.lost, folder)
}

func (d *deliveries) warn(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.warnings, text) {
		d.warnings = append(d.warnings, text)
	}
}

// byAgent is an agent as a [Capturer] of one run.
type byAgent struct {
	*run
	agent Agent
}

// Capture implements [Capturer].
func (b byAgent) Capture(ctx context.Context, j Job, turn Turn) (manifest.Shard, error) {
	order := Order{Job: j, Seal: manifest.SealOf(b.Sealer.Lock()), Mirroring: b.Mirroring}
	order.Collect = CollectAuto // how, among what its own settings allow, is the agent's to say
	for _, s := range b.Stores {
		order.Stores = append(order.Stores, s.Name)
	}
	delivery, err := b.agent.Capture(ctx, order, turn, b.Progress)
	if err != nil {
		if errors.Is(err, ErrAgentLost) || errors.Is(err, hint.ErrLeft) {
			b.delivered.lose(catalog.Folder(j.Cluster, j.Snapshot) + j.folder())
		}
		if errors.Is(err, ErrAgentLost) {
			err = Retryable(err)
		}
		return manifest.Shard{}, err
	}
	b.delivered.add(delivered{delivery, j})
	shard := delivery.Shard()
	if err := j.check(shard); err != nil {
		return manifest.Shard{}, fmt.Errorf("what the agent of %s says it has put: %w", j.Source.Addr, err)
	}
	shard.Source.Collect = agentPrefix + shard.Source.Collect
	return shard, nil
}

// agentPrefix stands before how an agent collected, in a manifest.
const agentPrefix = "agent-"

// check holds an agent's word against what it was told to do.
func (j Job) check(s manifest.Shard) error {
	switch {
	case s.Slots != j.Shard.Slots || s.Primary != j.Shard.Primary.ID || s.Source.Node != j.Source.ID:
		return fmt.Errorf("slots %s of %s, want %s of %s", s.Slots, s.Source.Node, j.Shard.Slots, j.Source.ID)
	case s.Source.Collect != CollectBgsave && s.Source.Collect != CollectStream:
		return fmt.Errorf("it was collected by %q", s.Source.Collect)
	}
	for _, f := range s.Files() {
		if !strings.HasPrefix(f.Object, j.folder()) {
			return fmt.Errorf("object %q is not in %s", f.Object, j.folder())
		}
	}
	return nil
}

// capturer says who captures a shard: the agent beside the node where there is
// one, else this machine.
func (r *run) capturer(ctx context.Context, j Job) (Capturer, error) {
	agent := r.Agents[j.Source.Addr]
	if r.Collect == CollectAgent && agent == nil {
		return nil, hint.Add(fmt.Errorf("there is no agent for %s", j.Source.Addr),
			"name it: --agent "+j.Source.Addr+"=https://HOST:PORT or agents.urls in --config FILE, or let --collect auto take another way for this node")
	}
	if agent == nil || r.Collect != CollectAgent && r.Collect != CollectAuto {
		return r.pipeline, nil
	}
	if r.Collect == CollectAuto {
		if err := agent.Ready(ctx, j.Cluster, j.Source.Addr); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			r.delivered.warn(fmt.Sprintf("%s: captured without its agent: %v", j.Source.Addr, err))
			return r.pipeline, nil
		}
	}
	return byAgent{r, agent}, nil
}

// confirm makes sure, right before the manifest, of all that agents have put: that
// they will not take it away, and that it is in our stores and not in others of
// the same name. A mirror that lacks something gets no manifest. What is not part of
// the snapshot, for its shard was captured anew, is removed.
func (r *run) confirm(ctx context.Context, shards []manifest.Shard) error {
	part := map[string]bool{}
	for _, s := range shards {
		part[s.Dump.Object] = true
	}
	isPart := func(d delivered) bool { return part[d.Shard().Dump.Object] }
	for _, d := range r.delivered.all {
		if !isPart(d) {
			r.dismiss(ctx, d)
		}
	}
	r.delivered.all = slices.DeleteFunc(r.delivered.all, func(d delivered) bool { return !isPart(d) })
	return r.each(func(d delivered) error {
		if err := d.Hold(ctx); err != nil {
			return err
		}
		for _, o := range d.Outcomes() {
			if o.Err != nil {
				r.writer.Drop(o.Name, o.Err)
			}
		}
		return r.look(ctx, d)
	})
}

// dismiss has an agent remove what it put. Where that cannot be told, it is tried
// from here later.
func (r *run) dismiss(ctx context.Context, d delivered) {
	if err := d.Settle(ctx, false); err != nil {
		r.delivered.lose(catalog.Folder(d.job.Cluster, d.job.Snapshot) + d.job.folder())
	}
}

// each calls a function for every delivery, all at once, and joins the errors.
func (r *run) each(do func(delivered) error) error {
	errs := make([]error, len(r.delivered.all))
	var wait sync.WaitGroup
	for i, d := range r.delivered.all {
		wait.Go(func() {
			if err := do(d); err != nil {
				errs[i] = fmt.Errorf("shard %s by the agent of %s: %w", d.job.Shard.Slots, d.job.Source.Addr, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// look finds a delivery's objects in the stores.
func (r *run) look(ctx context.Context, d delivered) error {
	missed := map[string]bool{}
	for _, o := range d.Outcomes() {
		missed[o.Name] = o.Err != nil
	}
	for i, store := range r.Stores {
		if missed[store.Name] {
			continue
		}
		err := stands(ctx, store, catalog.Folder(d.job.Cluster, d.job.Snapshot), d.Shard().Files())
		if err != nil && i == 0 {
			return hint.Add(err, "the agent's repository.primary leads to another place than ours: let both name the same store")
		}
		if err != nil {
			r.writer.Drop(store.Name, err)
		}
	}
	return nil
}

// stands checks that a store has objects, in their size.
func stands(ctx context.Context, store storage.Named, folder string, files []manifest.File) error {
	for _, f := range files {
		object, err := store.Stat(ctx, folder+f.Object)
		if err != nil {
			return fmt.Errorf("look for what an agent has put into %s: %w", store.Name, err)
		}
		if object.Bytes != f.Bytes {
			return fmt.Errorf("%s%s in %s has %d bytes, the agent put %d", folder, f.Object, store.Name, object.Bytes, f.Bytes)
		}
	}
	return nil
}

// settleLimit is for telling the agents how it ended, however the run did.
const settleLimit = 90 * time.Second

// keep tells the agents that what they put is part of a snapshot now. One that
// does not answer may give it up all the same, but finds the manifest first; so
// its objects are looked at once more, and are what counts.
func (r *run) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	err := r.each(func(d delivered) error {
		err := d.Settle(ctx, true)
		if err == nil {
			return nil
		}
		if gone := stands(ctx, r.Stores[0], catalog.Folder(d.job.Cluster, d.job.Snapshot), d.Shard().Files()); gone != nil {
			return fmt.Errorf("%w: %w", err, gone)
		}
		r.delivered.warn(fmt.Sprintf("the agent of %s did not hear that its shard is kept (%v): the shard is in the stores, and it will find that it is", d.job.Source.Addr, err))
		return nil
	})
	if err != nil {
		return err
	}
	if left := r.sweep(ctx); left != nil {
		r.delivered.warn(fmt.Sprintf("what a lost agent put could not be removed, and is no part of the snapshot: %v", left))
	}
	return nil
}

// drop has the agents remove what they put, and removes what those out of reach
// may have. It returns what is left.
func (r *run) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	_ = r.each(func(d delivered) error { r.dismiss(ctx, d); return nil })
	return r.sweep(ctx)
}

// sweep removes from every store what lost agents have put. No other attempt
// shares a folder with theirs.
func (r *run) sweep(ctx context.Context) error {
	var errs []error
	for _, folder := range r.delivered.lost {
		for _, store := range r.Stores {
			if err := sweepFolder(ctx, store, folder); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", store.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func sweepFolder(ctx context.Context, store storage.Named, folder string) error {
	var names []string
	for object, err := range store.List(ctx, folder) {
		if errors.Is(err, storage.ErrNoStore) {
			return nil
		}
		if err != nil {
			return err
		}
		names = append(names, object.Name)
	}
	var errs []error
	for _, name := range names {
		if err := store.Delete(ctx, name); err != nil && !errors.Is(err, storage.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
