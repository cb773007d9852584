package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
)

const (
	hintCluster = "Start the node with cluster-enabled yes."
	hintLoading = "Wait until the node has loaded its data, and see what it holds."
	hintVersion = "Restore into the engine and the version that the snapshot was taken from, or a newer version of it."
	hintMemory  = "Raise maxmemory on the node, or set it to 0 until the restore is done."
	hintTwice   = "Give each node once."
	hintSeed    = "Seed instead, with --to-dir, or restore from the dumps: leave --from-aof out."
	hintDB      = "Start the node with cluster-databases large enough (Valkey 9.0 and later)."
)

// defaultMaxBulk is proto-max-bulk-len unless it was set.
const defaultMaxBulk = 512 << 20

// maxAsked bounds how many nodes are talked to at once.
const maxAsked = 16

// target is a running node that is to become part of the restored cluster.
type target struct {
	place
	node            *cluster.Node
	id, runID       string // node id; run id of the process
	engine, version string
	announced       cluster.NodeLine  // its own line of CLUSTER NODES
	maxPayload      int64             // the longest argument it takes, bytes
	maxMemory       int64             // bytes; 0 is no limit
	config          map[string]string // settings that it told; nil: it was not asked
	modules         []string          // by name; nil: it does not tell
	held            Held              // what it has that is not the restore's
	attached        bool              // it follows its shard's primary
	state           HostState         // what its host last said
}

// checkTargets asks every node for everything that could forbid the restore.
// It changes nothing, and all objections come in one error.
func (r *run) checkTargets(ctx context.Context) error {
	if err := cmp.Or(r.Replacing.Check(r.manifest), r.checkSets(), r.checkLayout()); err != nil {
		return err
	}
	given, err := parsePlaces(r.To)
	if err != nil {
		return hint.Refuse(err, "give each node once, as HOST:PORT")
	}
	if err := enough(len(given), len(r.layout), r.Replicas); err != nil {
		return err
	}
	r.places = distribute(spread(r.zoned(given)), len(r.layout), r.Replicas)
	r.noteTogether()
	for _, p := range r.places {
		r.targets = append(r.targets, &target{place: p, node: r.Access.Open(p.given)})
	}
	if r.Resume {
		if err := r.takeOver(ctx); err != nil {
			return err
		}
	}
	against := each(r.targets, func(t *target) error { return r.examine(ctx, t) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.noteUnused(given)
	r.noteTargets()
	err = refuse(slices.Concat(against, r.halved(), r.sameNodes(), r.notFollowers(), r.withoutModules(ctx)))
	if err == nil {
		return r.checkLogical(ctx)
	}
	if r.Resume {
		return err
	}
	if killed, _ := r.abandoned(ctx); killed != nil { // without a store's word the advice is the usual one
		err = hint.Add(err, fmt.Sprintf("A restore of this snapshot into these nodes began at %s and did not end. If it was killed: the same command with --resume goes on.", human.Moment(killed.Begun)))
	}
	return err
}

// noteUnused says which addresses stay out of the restore.
func (r *run) noteUnused(given []place) {
	used := map[string]bool{}
	for _, p := range r.places {
		used[p.addr()] = true
	}
	for _, p := range given {
		if !used[p.addr()] {
			r.outcome.Notes = append(r.outcome.Notes, p.addr()+" was not needed and is left as it is")
		}
	}
}

// objections is several reasons in one line.
type objections []error

func (o objections) Error() string {
	lines := make([]string, len(o))
	for i, err := range o {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "; ")
}

func (o objections) Unwrap() []error { return o }

// refuse turns what was objected to into one error, nil where there is nothing.
func refuse(all []error) error {
	all = slices.DeleteFunc(all, func(err error) bool { return err == nil })
	if len(all) == 0 {
		return nil
	}
	err := error(objections(all))
	advice := hintMember
	if hints := hint.Of(err); len(hints) > 0 {
		advice = hints[0]
	}
	return hint.Refuse(err, advice)
}

// sameNodes finds one process under two addresses.
func (r *run) sameNodes() []error {
	var found []error
	by := map[string]*target{}
	for _, t := range r.targets {
		if other := by[t.runID]; other != nil && t.runID != "" {
			found = append(found, hint.Add(fmt.Errorf("%s and %s are the same node", other.addr(), t.addr()), hintTwice))
		}
		by[t.runID] = t
	}
	return found
}

// examine asks one node and returns what stands against it, nil for nothing.
func (r *run) examine(ctx context.Context, t *target) error {
	info, err := t.node.Info(ctx, "")
	if err != nil {
		return err
	}
	t.runID, t.maxMemory = info.Text("run_id"), info.Int("maxmemory")
	t.engine, t.version = info.Engine()
	if info.Int("cluster_enabled") != 1 {
		return hint.Add(fmt.Errorf("%s does not run in cluster mode", t.addr()), hintCluster)
	}
	if info.Int("loading") == 1 {
		return hint.Add(fmt.Errorf("%s is still loading its data", t.addr()), hintLoading)
	}
	var facts, hints []string
	object := func(more []string, advice string) {
		if len(more) > 0 {
			facts, hints = append(facts, more...), append(hints, advice)
		}
	}
	if err := t.look(ctx, info, r.manifest); err != nil {
		return err
	}
	if r.before != nil { // it is what a killed restore has left, and is gone on with
		t.held = Held{}
	}
	object(r.Replacing.objection(&t.held))
	if len(facts) == 0 && t.held.any() {
		if err := r.rehearse(ctx, t); err != nil {
			return err
		}
	}
	object(r.unreadable(t), hintLogical)
	object(r.tooOld(t), hintSeed)
	object(r.tooSmall(t, info), hintMemory)
	t.readConfig(ctx)
	t.readModules(ctx)
	object(r.noDatabases(t), hintDB)
	object(t.refusesWrites(info))
	t.maxPayload = t.number("proto-max-bulk-len", defaultMaxBulk)
	if len(facts) == 0 {
		return nil
	}
	err = fmt.Errorf("%s %s", t.addr(), human.List(facts))
	for _, advice := range slices.Backward(hints) {
		err = hint.Add(err, advice)
	}
	return err
}

// unreadable says that a node does not take values of the snapshot's dumps.
func (r *run) unreadable(t *target) []string {
	if r.Logical {
		return nil // nobody has to read them
	}
	return unreadableBy(r.manifest, t.engine, t.version)
}

// tooSmall says that a node's maxmemory would evict, or refuse, what its shard
// needs.
func (r *run) tooSmall(t *target, info cluster.Info) []string {
	most, need := info.Int("maxmemory"), r.memoryOf(t.shard)
	if most == 0 || most > need {
		return nil
	}
	return []string{fmt.Sprintf("may use %s of memory, shard %s needs %s", human.Size(most), r.layout[t.shard], human.Size(need))}
}

// meeting is where the other nodes reach a target: what it announces, or the
// address it was given by where it does not know its own yet.
func (t *target) meeting(ctx context.Context) (host string, port, busPort int, err error) {
	host, port, busPort = t.announced.Host, t.announced.Port, t.announced.BusPort
	if net.ParseIP(host) == nil {
		if err := t.resolve(ctx); err != nil {
			return "", 0, 0, err
		}
		host = t.ip.String()
	}
	if port == 0 {
		return "", 0, 0, errors.New("it does not say which port it listens on")
	}
	return host, port, busPort, nil
}
