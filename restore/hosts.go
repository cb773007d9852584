package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Through the hosts, [Options].Hosts: beside each node is somebody, an agent, who
// seeds the node's data out of sight, stops the node, puts the data in the place of
// what it had, and starts it. No byte of it passes through here.

// Host is what is beside one node. An order that was carried out before, in whole or
// in part, is carried out to its end: a connection may be lost at any moment.
type Host interface {
	Do(ctx context.Context, action HostAction, order HostOrder, report progress.Func) (HostState, error)
}

// HostAction is what a host is asked for.
type HostAction string

const (
	// HostExamine looks at the node and its folder, and changes nothing.
	HostExamine HostAction = "examine"
	// HostStage seeds the node's data in a folder of its own, inside the node's.
	HostStage HostAction = "stage"
	// HostStop stops the node, and proves that its process is gone.
	HostStop HostAction = "stop"
	// HostPlace moves what the node has aside, and what was seeded into its place.
	HostPlace HostAction = "place"
	// HostStart starts the node, and waits until it has loaded its data.
	HostStart HostAction = "start"
	// HostBack brings back what the node had, and starts it if it ran.
	HostBack HostAction = "back"
	// HostClear removes what the node had.
	HostClear HostAction = "clear"
)

// HostOrder is which restore an action is part of, and all that decides what the
// node becomes. It is the same for each action of one restore at one node.
type HostOrder struct {
	Restore   manifest.ID       `json:"restore"` // of this restore
	Plan      string            `json:"plan"`    // names all that decides what is done to which node
	Cluster   string            `json:"cluster"`
	Snapshot  manifest.ID       `json:"snapshot"`
	Node      string            `json:"node"`  // its address, by which the host knows it
	Place     int               `json:"place"` // among At, from 1 on
	At        []string          `json:"at"`
	Zones     map[string]string `json:"zones,omitempty"`
	Replicas  int               `json:"replicas"`
	Layout    []slot.Set        `json:"layout,omitempty"` // empty: the snapshot's
	AOF       bool              `json:"aof,omitempty"`
	Replacing Replacing         `json:"replacing"`
}

// HostState is what a host says of its node.
type HostState struct {
	Folder  string      `json:"folder"`            // the node's data folder
	Free    int64       `json:"free"`              // bytes, on its file system
	Restore manifest.ID `json:"restore,omitempty"` // of the restore that has not come to its end here
	Plan    string      `json:"plan,omitempty"`    // of that one
	Running bool        `json:"running,omitempty"`
	NodeID  string      `json:"node_id,omitempty"` // of a node that was started: the restored one's
	// What is the node's own in its folder: names of files, and its nodes.conf.
	Files []string `json:"files,omitempty"`
	Nodes string   `json:"nodes,omitempty"`
	// AppendOnly tells that the node loads append-only files, and not a dump.
	AppendOnly bool     `json:"append_only,omitempty"`
	Keys       uint64   `json:"keys,omitempty"`   // that were staged
	Bytes      int64    `json:"bytes,omitempty"`  // that they came from
	Stores     []string `json:"stores,omitempty"` // that they were read in
	// Findings are those of what was staged: a store whose copy was passed over.
	Findings []manifest.Finding `json:"findings,omitempty"`
}

// hostRun is what a restore through hosts has beside the targets.
type hostRun struct {
	id      manifest.ID
	plan    string
	goesOn  bool // with what a killed restore of this plan has left
	touched bool // something was asked of a host that changes something
	stopped bool // a node may have been stopped
	cleared bool // what nodes had may be gone
}

func (r *run) through() bool { return len(r.Hosts) > 0 }

// hostSteps are the steps of a restore through hosts, its check apart.
func (r *run) hostSteps() []step {
	each := func(action HostAction) func(context.Context) error {
		return func(ctx context.Context) error { return r.onHosts(ctx, action, r.targets) }
	}
	steps := []step{
		{"stage", r.saysStage, each(HostStage), nil},
		{"stop", r.saysStop, each(HostStop), nil},
		{"place", r.saysPlace, each(HostPlace), nil},
		{"start", r.saysStart, r.startHosts, nil},
		{"settle", r.saysSettle, r.settle, nil},
		{"compare", r.saysCompare, r.compare, nil},
	}
	if r.Apply.any() {
		steps = append(steps, step{"enable", r.saysEnable, r.enable, nil})
	}
	return append(steps, step{"clear", r.saysClear, r.clearHosts, nil})
}

// order is what a target's host is told.
func (r *run) order(t *target) HostOrder {
	return HostOrder{Restore: r.hosts.id, Plan: r.hosts.plan, Cluster: r.manifest.Cluster, Snapshot: r.manifest.ID, Node: t.addr(), Place: t.rank + 1,
		At: r.hostAddresses(), Zones: r.Zones, Replicas: r.Replicas, Layout: r.Layout, AOF: r.AOF, Replacing: r.Replacing}
}

// hostAddresses are those of all nodes, in the order that their places were given out
// in: each host comes to the same places by them.
func (r *run) hostAddresses() []string {
	all := make([]string, len(r.given))
	for i, p := range r.given {
		all[i] = fmt.Sprintf("%s@%d", p.addr(), p.busPort)
	}
	return all
}

// ask has a target's host do something.
func (r *run) ask(ctx context.Context, t *target, action HostAction) (HostState, error) {
	host := r.Hosts[t.addr()]
	task := "node " + t.addr()
	return host.Do(ctx, action, r.order(t), func(e progress.Event) {
		if e.Task == "restore" {
			return // the host's own, of one node
		}
		e.Task = task
		r.Progress.Emit(e)
	})
}

// onHosts has hosts do something, all at once. It returns when all have answered:
// what one failed to do has to be undone where it was done.
func (r *run) onHosts(ctx context.Context, action HostAction, targets []*target) error {
	if r.claim.Taken(ctx) {
		r.leftAsIs = true
		return errors.New("another process goes on with this restore")
	}
	r.hosts.touched = true
	r.hosts.stopped = r.hosts.stopped || action == HostStop
	failures := each(targets, func(t *target) error {
		r.Progress.Emit(progress.Event{Task: "node " + t.addr(), Phase: string(action)})
		state, err := r.ask(ctx, t, action)
		if err != nil {
			return fmt.Errorf("%s %s: %w", action, t.addr(), err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		t.state = state
		if t.primary && action == HostStage {
			shard := &r.outcome.Shards[t.shard]
			shard.Keys, shard.Bytes, shard.Stores = state.Keys, state.Bytes, state.Stores
			for _, f := range state.Findings {
				if !slices.Contains(r.outcome.Findings, f) { // of one shard, several nodes may have found it
					r.outcome.Findings = append(r.outcome.Findings, f)
				}
			}
		}
		if state.NodeID != "" {
			t.id = state.NodeID
		}
		return nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return together(failures)
}

// together is several failures in one line, with what to do about the first that says.
func together(failures []error) error {
	failures = slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	if len(failures) == 0 {
		return nil
	}
	return objections(failures)
}

// startHosts starts the primaries, and when they have loaded their data the replicas:
// one that came first would find nobody to copy from, and could be elected, empty, in
// the place of a primary that does not answer while it loads.
func (r *run) startHosts(ctx context.Context) error {
	shards := len(r.layout)
	if err := r.onHosts(ctx, HostStart, r.targets[:shards]); err != nil {
		return err
	}
	return r.onHosts(ctx, HostStart, r.targets[shards:])
}

// settleLimit bounds the wait for a whole cluster, after each node has loaded its data.
const settleLimit = time.Minute

// settle waits until every node finds the cluster whole, and every replica has all
// that its primary has.
func (r *run) settle(ctx context.Context) error {
	err := r.eachTarget(ctx, func(ctx context.Context, _ int, t *target) error {
		id := t.id
		if err := wait(ctx, settleLimit, func(ctx context.Context) (string, error) { return "", t.identify(ctx) }); err != nil {
			return err
		}
		if id != "" && t.id != id {
			return fmt.Errorf("%s has the node id %s, its host started %s there: another server answers at this address", t.addr(), t.id, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	limit := settleLimit + time.Duration(len(r.targets))*joinEach
	if err := wait(ctx, limit, func(ctx context.Context) (string, error) { return r.notJoined(ctx, true) }); err != nil {
		return fmt.Errorf("wait for the cluster: %w", err)
	}
	for _, t := range r.targets {
		if t.primary {
			continue
		}
		primary := r.targets[t.shard]
		limit := attachLimit + time.Duration(r.memoryOf(t.shard)/attachRate)*time.Second
		if err := wait(ctx, limit, func(ctx context.Context) (string, error) { return notFollowing(ctx, t, primary) }); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.note("replica-not-attached", "error", t.addr(), fmt.Sprintf("does not follow %s: %s", primary.addr(), err))
			continue
		}
		t.attached = true
	}
	return nil
}

// clearHosts removes what the nodes had before, once all was found equal. Until then
// it can be brought back by hand.
func (r *run) clearHosts(ctx context.Context) error {
	comparison := r.outcome.Comparison
	behind := slices.ContainsFunc(r.targets, func(t *target) bool { return !t.primary && !t.attached })
	if behind || comparison == nil || !comparison.Equal() {
		r.outcome.Notes = append(r.outcome.Notes, "what the nodes had before is kept on each host, in slotark-restore/old of its data folder: it is brought back by stopping the node and moving it there; remove slotark-restore when it is not needed")
		return nil
	}
	r.hosts.cleared = true
	failures := each(r.targets, func(t *target) error {
		_, err := r.ask(ctx, t, HostClear)
		return err
	})
	for i, err := range failures {
		if err != nil && ctx.Err() == nil {
			r.note("not-cleared", "warning", r.targets[i].addr(), "what it had before could not be removed: "+err.Error())
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if what := r.loses(); what != "" {
		r.outcome.Notes = append(r.outcome.Notes, "what the nodes held before is gone: "+what)
	}
	return nil
}

// backLimit bounds the undoing: nodes are stopped and started by it.
const backLimit = 10 * time.Minute

// undoHosts undoes what was done through the hosts, and says in the error what became
// of the nodes.
func (r *run) undoHosts(ctx context.Context, cause error) error {
	switch {
	case r.leftAsIs:
		return fmt.Errorf("%w (nothing was undone)", cause)
	case !r.hosts.touched:
		return cause
	case r.hosts.cleared:
		return hint.Left(fmt.Errorf("%w (the cluster is restored and was compared; what the nodes had before may not be removed everywhere)", cause),
			"Go on with the same command and --resume.")
	}
	r.Progress.Emit(progress.Event{Task: "restore", Phase: "undo"})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backLimit)
	defer cancel()
	if r.claim.Taken(ctx) {
		r.leftAsIs = true
		return fmt.Errorf("%w (nothing was undone: another process goes on with this restore)", cause)
	}
	left, why := r.back(ctx)
	all := human.Plural(len(r.targets), "node")
	switch {
	case len(left) == 0 && !r.hosts.stopped:
		return fmt.Errorf("%w (nothing was changed on %s)", cause, all)
	case len(left) == 0:
		return fmt.Errorf("%w (undone: %s %s what %s before)", cause, all, plural(len(r.targets), "has", "have"), plural(len(r.targets), "it had", "they had"))
	}
	r.leftAsIs = true // its mark lets --resume go on
	return hint.Left(fmt.Errorf("%w (undone on %d of %s, not on %s: %w)", cause, len(r.targets)-len(left), all, human.List(left), why),
		"When their agents answer again, the same command with --resume goes on. By hand: stop the node, move what is in slotark-restore/old of its data folder back, and start it.")
}

// back brings back what the nodes had. It returns where that failed, and why.
func (r *run) back(ctx context.Context) (left []string, why error) {
	var failures []error
	for i, err := range each(r.targets, func(t *target) error {
		_, err := r.ask(ctx, t, HostBack)
		return err
	}) {
		if err != nil {
			left, failures = append(left, r.targets[i].addr()), append(failures, err)
		}
	}
	return left, together(failures)
}

// What the steps do, in words: a plan's.

func (r *run) saysHosts() string {
	text := fmt.Sprintf("%s reached, beside agents that may restore them", isAre(len(r.places)))
	if n := len(r.holding()); n > 0 {
		text += fmt.Sprintf(", and what %d %s may be lost", n, plural(n, "has", "have"))
	}
	return text
}

func (r *run) saysStage() string {
	what := human.Plural(len(r.layout), "dump")
	if r.AOF {
		what = human.Plural(len(r.layout), "set") + " of append-only files"
	}
	if r.reshaped() {
		what = fmt.Sprintf("%s, cut anew by slot from the snapshot's %d", what, len(r.manifest.Shards))
	}
	return fmt.Sprintf("%s, by the nodes' agents, each beside its node's own data", what)
}

func (r *run) saysStop() string {
	running := 0
	for _, t := range r.targets {
		if t.state.Running {
			running++
		}
	}
	if running == 0 {
		return "nothing: no node runs"
	}
	return human.Plural(running, "node") + ", by the commands of their agents, when all data is there"
}

func (r *run) saysPlace() string {
	return "what each node has is moved aside, and the restored data into its place"
}

func (r *run) saysStart() string {
	return fmt.Sprintf("%s, and when they have loaded, %s", human.Plural(len(r.layout), "primary node"), human.Plural(len(r.places)-len(r.layout), "replica"))
}

func (r *run) saysSettle() string {
	return "every node finds the cluster whole, every replica is in step"
}

func (r *run) saysClear() string {
	if what := r.loses(); what != "" {
		return "LOSES " + what + ", moved aside until then: only after an equal comparison"
	}
	return "nothing: no node held anything"
}
