package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// planID names all that decides what a restore does to which node, or puts into which
// folder: one with the same goes on where the other was killed.
func (r *run) planID() (string, error) {
	type node struct {
		Address string `json:"address"`
		BusPort int    `json:"bus_port"`
		Shard   int    `json:"shard"`
		Primary bool   `json:"primary"`
	}
	plan := struct {
		Snapshot   manifest.ID `json:"snapshot"`
		Layout     []slot.Set  `json:"layout"`
		AOF        bool        `json:"aof"`
		AppendOnly bool        `json:"append_only"`
		Node       string      `json:"node"`
		Nodes      []node      `json:"nodes"`
		Through    bool        `json:"through_hosts,omitempty"`
	}{Snapshot: r.manifest.ID, Layout: r.layout, AOF: r.AOF, AppendOnly: r.AppendOnly, Node: r.nodeID(), Through: r.through()}
	for _, p := range r.places {
		plan.Nodes = append(plan.Nodes, node{p.addr(), p.busPort, p.shard, p.primary})
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return "", fmt.Errorf("encode the plan: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// takeOver looks whether the targets are those of a restore of this snapshot that
// was killed. Its mark in the repository names the nodes that it had found empty:
// what they hold came from it. If that restore did the same as this one is to, and
// the nodes are as it can have left them, this one goes on with them (r.before);
// otherwise they are made empty again. Where there is no such mark nothing is done,
// and the check says what it finds.
func (r *run) takeOver(ctx context.Context) error {
	for _, failure := range each(r.targets, func(t *target) error { return t.identify(ctx) }) {
		if failure != nil {
			return failure
		}
	}
	killed, err := r.abandoned(ctx)
	if killed == nil {
		return err
	}
	if err := r.takeMark(ctx, *killed); err != nil {
		return err
	}
	if stale, err := r.mayHold(ctx, *killed); stale || err != nil {
		return err
	}
	var ours []*target
	for _, t := range r.targets {
		if t.of(*killed) {
			ours = append(ours, t)
		}
	}
	// What stands in the buffers of its connections would still be carried out.
	for _, failure := range each(ours, func(t *target) error { return t.alone(ctx) }) {
		if failure != nil {
			return failure
		}
	}
	by := fmt.Sprintf("a killed restore, begun at %s by process %d on %s", human.Moment(killed.Begun), killed.Process, killed.Host)
	goesOn, err := r.goesOn(ctx, *killed, ours)
	if err != nil {
		return err
	}
	if goesOn {
		return r.goOn(ctx, *killed, by)
	}
	if notEmpty, err := r.makeEmpty(ctx, ours); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("take over what a killed restore has left on %s: %w", human.Plural(len(notEmpty), "node"), err)
	}
	r.outcome.Notes = append(r.outcome.Notes, "began anew over what was left of "+by)
	return r.Snapshot.Forget(ctx, *killed)
}

// takeMark says in a killed restore's mark that it is over, unless it is seen to be
// alive. If it is so elsewhere, and only slept, it must not undo what is ours now.
func (r *run) takeMark(ctx context.Context, killed catalog.Abandoned) error {
	host, _ := os.Hostname()
	if killed.Host == host && killed.Process != os.Getpid() && !errors.Is(syscall.Kill(killed.Process, 0), syscall.ESRCH) {
		return hint.Refuse(fmt.Errorf("the restore into these nodes that began at %s goes on: it is process %d on this host", human.Moment(killed.Begun), killed.Process),
			"Wait for its end, or end it, and try again.")
	}
	if err := r.Snapshot.TakeOver(ctx, killed); err != nil {
		return hint.Add(err, "Without that a restore that is still alive could undo this one.")
	}
	return nil
}

// goesOn tells whether this restore may go on with what another has left.
func (r *run) goesOn(ctx context.Context, killed catalog.Abandoned, ours []*target) (bool, error) {
	plan, err := r.planID()
	if err != nil || killed.Plan != plan || len(ours) < len(r.targets) {
		return false, err
	}
	known := map[string]bool{}
	for _, t := range r.targets {
		known[t.id] = true
	}
	fits := make([]bool, len(r.targets))
	err = r.eachTarget(ctx, func(ctx context.Context, i int, t *target) (err error) {
		fits[i], err = r.couldBeLeft(ctx, i, t, known)
		return err
	})
	return err == nil && !slices.Contains(fits, false), err
}

// couldBeLeft tells whether a node is as a killed restore can have left it: with
// its slots or none, its epoch or none, knowing none but the others.
func (r *run) couldBeLeft(ctx context.Context, i int, t *target, known map[string]bool) (bool, error) {
	state, err := r.stateOf(ctx, i, t)
	if err != nil {
		return false, err
	}
	for _, line := range state.nodes {
		if !known[line.ID] {
			return false, nil
		}
	}
	if state.self.PrimaryID != "" { // already attached
		return !t.primary && state.self.PrimaryID == r.targets[t.shard].id, nil
	}
	return (state.slots || state.self.Slots.Len() == 0) && (state.hasEpoch || state.epoch == 0), nil
}

// targetState is what a node says of itself.
type targetState struct {
	nodes    []cluster.NodeLine
	self     cluster.NodeLine
	epoch    int64
	hasEpoch bool // the one that it is to have
	slots    bool // it owns those that it is to own
}

func (r *run) stateOf(ctx context.Context, i int, t *target) (targetState, error) {
	replies, err := t.node.Pipeline(ctx, [][]any{{"CLUSTER", "INFO"}, {"CLUSTER", "NODES"}})
	if err != nil {
		return targetState{}, err
	}
	info, _ := replies[0].(string)
	text, _ := replies[1].(string)
	s := targetState{epoch: cluster.ParseInfo(info).Int("cluster_my_epoch")}
	if s.nodes, err = cluster.ParseNodes(text); err != nil {
		return s, fmt.Errorf("ask %s for its nodes: %w", t.addr(), err)
	}
	for _, line := range s.nodes {
		if line.Has("myself") {
			s.self = line
		}
	}
	s.hasEpoch = s.epoch == int64(i+1)
	s.slots = !t.primary || s.self.Slots == r.layout[t.shard]
	return s, nil
}

// goOn takes what a killed restore has done for this one's.
func (r *run) goOn(ctx context.Context, killed catalog.Abandoned, by string) error {
	entries, err := r.Snapshot.Journal(ctx, killed)
	if err != nil {
		return err
	}
	r.before = &killed
	for _, text := range entries {
		var entry loaded
		if json.Unmarshal(text, &entry) == nil && r.believable(entry) {
			r.kept = append(r.kept, entry)
		}
	}
	r.outcome.Notes = append(r.outcome.Notes, "went on with "+by)
	return nil
}

// loaded is an entry of the journal: a bundle whose data is on its nodes.
type loaded struct {
	Onto   []int             `json:"onto"`   // shards of the layout
	Shards []loadedShard     `json:"shards"` // of each
	Stores map[string]string `json:"stores"` // by the slots of the snapshot's shard, where it was read
}

type loadedShard struct {
	RunID string `json:"run_id"` // of the process that has the keys: another one may have lost them
	Keys  uint64 `json:"keys"`
	Bytes int64  `json:"bytes"`
}

// believable tells whether an entry is of one of the bundles, and of processes that
// still run.
func (r *run) believable(entry loaded) bool {
	if len(entry.Onto) != len(entry.Shards) ||
		!slices.ContainsFunc(r.bundles(), func(b bundle) bool { return slices.Equal(b.onto, entry.Onto) }) {
		return false
	}
	for k, i := range entry.Onto {
		if entry.Shards[k].RunID != r.targets[i].runID { // the primaries stand first, by shard
			return false
		}
	}
	return true
}

// noteLoaded adds to the journal that a bundle is loaded. Without the entry it is only
// loaded once more by whoever goes on.
func (r *run) noteLoaded(ctx context.Context, b bundle) {
	entry := r.entryOf(b)
	r.mu.Lock()
	r.kept = append(r.kept, entry)
	r.mu.Unlock()
	_ = r.claim.Note(ctx, entry)
}

// entryOf is the journal's entry of a bundle that is loaded.
func (r *run) entryOf(b bundle) loaded {
	entry := loaded{Onto: b.onto, Stores: map[string]string{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range b.onto {
		shard := loadedShard{Keys: r.outcome.Shards[i].Keys, Bytes: r.outcome.Shards[i].Bytes}
		if len(r.targets) > 0 {
			shard.RunID = r.targets[i].runID // the primaries stand first, by shard
		}
		entry.Shards = append(entry.Shards, shard)
	}
	for _, i := range b.from {
		entry.Stores[r.manifest.Shards[i].Slots.String()] = r.stores[i]
	}
	return entry
}

// credit takes what the journal says of a bundle.
func (r *run) credit(b bundle, entry loaded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, i := range b.onto {
		r.outcome.Shards[i].Keys, r.outcome.Shards[i].Bytes = entry.Shards[k].Keys, entry.Shards[k].Bytes
	}
	for _, i := range b.from {
		r.stores[i] = entry.Stores[r.manifest.Shards[i].Slots.String()]
	}
}

// keeps tells whether a bundle need not be loaded any more, and takes what the journal
// says of it. Of sets that do not end where their dumps begin only reading them tells
// what the libraries of functions are.
func (r *run) keeps(b bundle) bool {
	if r.AOF && slices.ContainsFunc(b.from, func(i int) bool { return !r.manifest.Shards[i].AOF.Aligned }) {
		return false
	}
	r.mu.Lock()
	kept := slices.Clone(r.kept)
	r.mu.Unlock()
	at := slices.IndexFunc(kept, func(entry loaded) bool { return slices.Equal(entry.Onto, b.onto) })
	if at >= 0 {
		r.credit(b, kept[at])
	}
	return at >= 0
}

// abandoned is a restore of this snapshot into these nodes that has begun and not
// ended; nil where there is none.
func (r *run) abandoned(ctx context.Context) (*catalog.Abandoned, error) {
	left, err := r.Snapshot.Abandoned(ctx)
	at := slices.IndexFunc(left, func(a catalog.Abandoned) bool {
		return slices.ContainsFunc(r.targets, func(t *target) bool { return t.of(a) })
	})
	if at >= 0 {
		return &left[at], nil
	}
	return nil, err
}

// of tells whether a restore was onto this very node: the same process, or one that
// was started again from the same nodes.conf.
func (t *target) of(a catalog.Abandoned) bool {
	return slices.ContainsFunc(a.Targets, func(was catalog.Target) bool {
		return was.RunID == t.runID || was.NodeID != "" && was.NodeID == t.id
	})
}

// alone ends all connections of clients to a node but ours.
func (t *target) alone(ctx context.Context) error {
	_, err := t.node.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	return err
}

// identify asks a node which it is.
func (t *target) identify(ctx context.Context) error {
	info, err := t.node.Info(ctx, "server")
	if err != nil {
		return err
	}
	t.runID = info.Text("run_id")
	t.engine, t.version = info.Engine()
	t.id, err = t.node.Text(ctx, "CLUSTER", "MYID")
	return err
}
