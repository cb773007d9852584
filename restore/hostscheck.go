package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	hintAgents    = "Name the agent of each node: --agent ADDR=https://HOST:PORT, or agents.urls in --config FILE."
	hintBus       = "Give the port with the address: HOST:PORT@BUSPORT."
	hintAppending = "Set appendonly yes in the node's configuration file, or restore from the dumps: leave --from-aof out."
	hintRoom      = "Free some on the node's disk: what it has is kept beside the restored data until that was compared."
	hintOther     = "If that one was killed: its own command with --resume goes on with it. If it has ended, and left what the node had before: remove slotark-restore from the node's data folder."
)

// checkHosts asks every node and its host for everything that could forbid the
// restore. It changes nothing but where [Options].Resume finds what a killed restore
// of another plan has left: the nodes get back what they had.
func (r *run) checkHosts(ctx context.Context) error {
	if err := cmp.Or(r.Replacing.Check(r.manifest), r.checkSets(), r.checkLayout()); err != nil {
		return err
	}
	if err := r.placeHosts(); err != nil {
		return err
	}
	if err := r.examineHosts(ctx); err != nil {
		return err
	}
	if err := r.takeOverHosts(ctx); err != nil {
		return err
	}
	against := each(r.targets, func(t *target) error { return r.examineNode(ctx, t) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.noteUnused(r.given)
	r.noteTargets()
	return refuse(slices.Concat(against, r.halved(), r.sameNodes(), r.notFollowers(), r.withoutModules(ctx)))
}

// placeHosts gives every shard its nodes, each of which has a host.
func (r *run) placeHosts() error {
	given, err := parsePlaces(r.To)
	if err != nil {
		return hint.Refuse(err, "give each node once, as HOST:PORT")
	}
	if err := enough(len(given), len(r.layout), r.Replicas); err != nil {
		return err
	}
	r.given = spread(r.zoned(given))
	r.places = distribute(r.given, len(r.layout), r.Replicas)
	r.noteTogether()
	var without []error
	for _, p := range r.places {
		if r.Hosts[p.addr()] == nil {
			without = append(without, hint.Add(fmt.Errorf("no agent is named for %s", p.addr()), hintAgents))
		}
		r.targets = append(r.targets, &target{place: p, node: r.Access.Open(p.given)})
	}
	r.hosts.id = manifest.NewID(r.started)
	return cmp.Or(refuse(without), func() (err error) {
		r.hosts.plan, err = r.planID()
		return err
	}())
}

// examineHosts asks all hosts, and with each its node.
func (r *run) examineHosts(ctx context.Context) error {
	against := each(r.targets, func(t *target) error {
		state, err := r.ask(ctx, t, HostExamine)
		t.state = state
		return err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return refuse(against)
}

// takeOverHosts looks whether a killed restore has left something beside the nodes.
// Where it did the same as this one is to, this one goes on with it, by its id;
// otherwise the nodes get back what they had. Both only with [Options].Resume.
func (r *run) takeOverHosts(ctx context.Context) error {
	var theirs []*target
	same := true
	for _, t := range r.targets {
		if t.state.Restore != "" {
			theirs = append(theirs, t)
			same = same && t.state.Restore == theirs[0].state.Restore && t.state.Plan == r.hosts.plan
		}
	}
	killed, err := r.abandonedHosts(ctx)
	switch {
	case err != nil:
		return err
	case !r.Resume && len(theirs) > 0:
		var against []error
		for _, t := range theirs {
			against = append(against, hint.Add(fmt.Errorf("restore %s has not come to its end on %s", t.state.Restore, t.addr()), hintOther))
		}
		return refuse(against)
	case !r.Resume:
		return nil
	}
	for _, k := range killed {
		if err := r.takeFrom(ctx, k); err != nil {
			return err
		}
	}
	if len(theirs) == 0 {
		return nil
	}
	if same {
		r.hosts.id, r.hosts.goesOn, r.hosts.touched, r.hosts.stopped = theirs[0].state.Restore, true, true, true
		r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("went on with a killed restore, begun %s", human.Moment(r.hosts.id.Time())))
		return nil
	}
	return r.bringBackFirst(ctx, theirs)
}

// takeFrom takes a restore that was killed over; its mark ends when this one's is there.
func (r *run) takeFrom(ctx context.Context, killed catalog.Abandoned) error {
	if err := r.takeMark(ctx, killed); err != nil {
		return err
	}
	r.taken = append(r.taken, killed)
	return nil
}

// bringBackFirst undoes what a killed restore of another plan has left, each host by
// its own record of it, and looks again.
func (r *run) bringBackFirst(ctx context.Context, theirs []*target) error {
	failures := each(theirs, func(t *target) error {
		order := r.order(t)
		order.Restore, order.Plan = t.state.Restore, t.state.Plan
		_, err := r.Hosts[t.addr()].Do(ctx, HostBack, order, nil)
		return err
	})
	if err := together(failures); err != nil {
		return fmt.Errorf("undo what a killed restore has left: %w", err)
	}
	r.outcome.Notes = append(r.outcome.Notes, "began anew: what the nodes had before a killed restore was brought back")
	return r.examineHosts(ctx)
}

// abandonedHosts are restores of this snapshot onto any of these nodes that have begun
// and not ended.
func (r *run) abandonedHosts(ctx context.Context) ([]catalog.Abandoned, error) {
	left, err := r.Snapshot.Abandoned(ctx)
	return slices.DeleteFunc(left, func(a catalog.Abandoned) bool {
		return !slices.ContainsFunc(a.Targets, func(was catalog.Target) bool {
			return slices.ContainsFunc(r.targets, func(t *target) bool { return t.addr() == was.Address })
		})
	}), err
}

// examineNode asks one node, or its folder where it does not run, and returns what
// stands against it, nil for nothing.
func (r *run) examineNode(ctx context.Context, t *target) error {
	info, err := t.node.Info(ctx, "")
	if errors.Is(err, cluster.ErrUnreachable) && t.state.Running && r.hosts.goesOn {
		// The killed restore had told it to stop, and it has ended since it was looked at.
		state, asked := r.ask(ctx, t, HostExamine)
		if asked != nil {
			return asked
		}
		t.state = state
	}
	if errors.Is(err, cluster.ErrUnreachable) && !t.state.Running {
		return r.examineFolder(t)
	}
	if err != nil {
		return err
	}
	t.runID, t.maxMemory = info.Text("run_id"), info.Int("maxmemory")
	t.engine, t.version = info.Engine()
	if info.Int("cluster_enabled") != 1 {
		return hint.Add(fmt.Errorf("%s does not run in cluster mode", t.addr()), hintCluster)
	}
	if !r.hosts.goesOn { // else it has what a killed restore has left, and may still load it
		if info.Int("loading") == 1 {
			return hint.Add(fmt.Errorf("%s is still loading its data", t.addr()), hintLoading)
		}
		if err := t.look(ctx, info, r.manifest); err != nil {
			return err
		}
	}
	t.readConfig(ctx)
	t.readModules(ctx)
	facts, advice := r.Replacing.objection(&t.held)
	o := objecting{facts: facts, advice: []string{advice}}
	o.add(r.unreadable(t), hintVersion)
	o.add(r.tooSmall(t, info), hintMemory)
	o.add(r.noDatabases(t), hintDB)
	if port := t.announced.BusPort; port != 0 && port != t.busPort {
		o.add([]string{fmt.Sprintf("has the cluster bus port %d", port)}, hintBus)
	}
	r.objectToFolder(t, &o)
	return o.err(t)
}

// examineFolder is examineNode of a node that does not run.
func (r *run) examineFolder(t *target) error {
	nodes, err := cluster.ParseNodes(t.state.Nodes)
	if err != nil { // whatever is wrong with it, it is moved aside
		nodes = nil
	}
	if !r.hosts.goesOn {
		info, state := cluster.Info{"role": "master"}, cluster.Info{"cluster_known_nodes": fmt.Sprint(max(1, len(nodes)))}
		for _, n := range nodes {
			if n.Has("myself") && n.Has("slave") {
				info["role"] = "slave"
			}
			if n.Has("myself") {
				t.id, t.announced = n.ID, n
			}
		}
		t.held = heldBy(t.addr(), info, state, nodes, r.manifest)
		t.held.hasFiles(t.state)
	}
	facts, advice := r.Replacing.objection(&t.held)
	o := objecting{facts: facts, advice: []string{advice}}
	r.objectToFolder(t, &o)
	return o.err(t)
}

// hasFiles adds what the folder of a node has that does not run.
func (h *Held) hasFiles(s HostState) {
	if len(s.Files) > 0 {
		h.facts = append(h.facts, fmt.Sprintf("does not run, and has %s in %s", human.List(s.Files), s.Folder))
	}
}

// objectToFolder objects to a folder that has no room, or whose node would not read
// what is put there.
func (r *run) objectToFolder(t *target, o *objecting) {
	if r.AOF && !t.state.AppendOnly {
		o.add([]string{"runs with appendonly no, and would not read append-only files"}, hintAppending)
	}
	if need := r.diskOf(t.shard); t.primary && !r.hosts.goesOn && t.state.Free < need {
		o.add([]string{fmt.Sprintf("has %s free in %s, its data needs %s", human.Size(t.state.Free), t.state.Folder, human.Size(need))}, hintRoom)
	}
}

// diskOf is about how many bytes of files a shard of the layout becomes.
func (r *run) diskOf(shard int) int64 {
	var total float64
	for _, i := range r.sourcesOf(shard) {
		slots := r.manifest.Shards[i].Slots
		total += float64(r.sizeOf(i)) * float64(slots.Intersect(r.layout[shard]).Len()) / float64(slots.Len())
	}
	return int64(total)
}

// objecting is what stands against one node, with what to do about each.
type objecting struct{ facts, advice []string }

func (o *objecting) add(facts []string, advice string) {
	if len(facts) > 0 {
		o.facts, o.advice = append(o.facts, facts...), append(o.advice, advice)
	}
}

func (o *objecting) err(t *target) error {
	if len(o.facts) == 0 {
		return nil
	}
	err := fmt.Errorf("%s %s", t.addr(), human.List(o.facts))
	for _, advice := range slices.Backward(o.advice) {
		if advice != "" {
			err = hint.Add(err, advice)
		}
	}
	return err
}
