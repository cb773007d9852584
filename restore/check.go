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
	// Never advise to flush what may be somebody's cluster.
	hintMember  = "Restore into empty nodes that belong to no cluster: give other addresses."
	hintEmpty   = "Restore into empty nodes. To make one of this, if what it holds may be lost: FLUSHALL, FUNCTION FLUSH and CLUSTER RESET HARD on it."
	hintCluster = "Start the node with cluster-enabled yes."
	hintLoading = "Wait until the node has loaded its data, and see what it holds."
	hintVersion = "Restore into the engine and the version that the snapshot was taken from, or a newer version of it."
	hintMemory  = "Raise maxmemory on the node, or set it to 0 until the restore is done."
	hintTwice   = "Give each node once."
	hintSeed    = "Seed instead, with --to-dir, or restore from the dumps: leave --from-aof out."
	hintDB      = "Start the node with cluster-databases large enough (Valkey 9.0 and later)."
)

// maxAsked bounds how many nodes are talked to at once.
const maxAsked = 16

// target is a running node that is to become part of the restored cluster.
type target struct {
	place
	node            *cluster.Node
	id, runID       string // node id; run id of the process
	engine, version string
	announced       cluster.NodeLine // its own line of CLUSTER NODES
	maxPayload      int64            // the longest argument it takes, bytes
	maxMemory       int64            // bytes; 0 is no limit
	attached        bool             // it follows its shard's primary
}

// checkTargets asks every node for everything that could forbid the restore.
// It changes nothing, and all objections come in one error.
func (r *run) checkTargets(ctx context.Context) error {
	if err := cmp.Or(r.checkSets(), r.checkLayout()); err != nil {
		return err
	}
	given, err := parsePlaces(r.To)
	if err != nil {
		return hint.Refuse(err, "give each node once, as HOST:PORT")
	}
	if err := enough(len(given), len(r.layout), r.Replicas); err != nil {
		return err
	}
	r.places = distribute(spread(given), len(r.layout), r.Replicas)
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
	err = refuse(append(against, r.sameNodes()...))
	if err == nil || r.Resume {
		return err
	}
	if killed, _ := r.abandoned(ctx); killed != nil { // without a store's word the advice is the usual one
		err = hint.Add(err, fmt.Sprintf("A restore of this snapshot into these nodes began at %s and did not end. If it was killed: the same command with --resume begins anew.", human.Moment(killed.Begun)))
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
	holds, err := t.holdings(ctx, info)
	if err != nil {
		return err
	}
	belongs, member, err := r.belongings(ctx, t, info)
	if err != nil {
		return err
	}
	advice := hintEmpty
	if member {
		advice = hintMember
	}
	object(append(holds, belongs...), advice)
	object(r.unreadable(t), hintVersion)
	object(r.tooOld(t), hintSeed)
	object(r.tooSmall(t, info), hintMemory)
	object(r.noDatabases(ctx, t), hintDB)
	t.maxPayload = t.longestArgument(ctx)
	if len(facts) == 0 {
		return nil
	}
	err = fmt.Errorf("%s %s", t.addr(), human.List(facts))
	for _, advice := range slices.Backward(hints) {
		err = hint.Add(err, advice)
	}
	return err
}

// holdings says what a node holds that a restore would mix with its own.
func (t *target) holdings(ctx context.Context, info cluster.Info) ([]string, error) {
	var facts []string
	if keys := keysIn(info); keys > 0 {
		facts = append(facts, "holds "+human.Plural(keys, "key"))
	}
	if r, _ := parseRelease(t.version); !r.atLeast(7, 0) {
		return facts, nil // no functions before 7.0
	}
	reply, err := t.node.Do(ctx, "FUNCTION", "LIST")
	if err != nil {
		return nil, err
	}
	if libraries, ok := reply.([]any); ok && len(libraries) > 0 {
		facts = append(facts, fmt.Sprintf("has %d function %s", len(libraries), plural(len(libraries), "library", "libraries")))
	}
	return facts, nil
}

// keysIn adds up the keys of all databases: "db0:keys=5,expires=0,avg_ttl=0".
func keysIn(info cluster.Info) uint64 {
	var total uint64
	for field, value := range info {
		var db int
		var keys uint64
		if _, err := fmt.Sscanf(field, "db%d", &db); err != nil {
			continue
		}
		if _, err := fmt.Sscanf(value, "keys=%d", &keys); err == nil {
			total += keys
		}
	}
	return total
}

// belongings says which cluster a node is part of already, if it is, and
// whether that has other members.
func (r *run) belongings(ctx context.Context, t *target, info cluster.Info) (facts []string, member bool, err error) {
	replies, err := t.node.Pipeline(ctx, [][]any{{"CLUSTER", "INFO"}, {"CLUSTER", "NODES"}})
	if err != nil {
		return nil, false, err
	}
	state, _ := replies[0].(string)
	text, _ := replies[1].(string)
	nodes, err := cluster.ParseNodes(text)
	if err != nil {
		return nil, false, fmt.Errorf("ask %s for its nodes: %w", t.addr(), err)
	}
	at := slices.IndexFunc(nodes, func(n cluster.NodeLine) bool { return n.Has("myself") })
	if at < 0 {
		return nil, false, fmt.Errorf("ask %s for its nodes: it does not list itself", t.addr())
	}
	t.announced, t.id = nodes[at], nodes[at].ID
	others := cluster.ParseInfo(state).Int("cluster_known_nodes") - 1
	slots := t.announced.Slots.Len()
	switch {
	case r.isOriginal(t.id) && (others > 0 || slots > 0):
		facts = append(facts, "belongs to the live cluster this snapshot was taken from")
	case others > 0:
		facts = append(facts, "belongs to a cluster already: it knows "+human.Plural(others, "other node"))
	case slots > 0:
		facts = append(facts, "owns "+human.Plural(slots, "slot")+" already")
	}
	if role := info.Text("role"); role != "master" {
		facts = append(facts, "is a replica")
	}
	// SET-CONFIG-EPOCH is refused by a node that has an epoch.
	if epoch := cluster.ParseInfo(state).Int("cluster_my_epoch"); len(facts) == 0 && epoch != 0 {
		facts = append(facts, fmt.Sprintf("has been part of a cluster: its config epoch is %d", epoch))
	}
	return facts, others > 0, nil
}

func (r *run) isOriginal(id string) bool {
	for _, n := range r.manifest.Topology.Nodes {
		if n.ID == id {
			return true
		}
	}
	return false
}

// unreadable says that a node does not take values of the snapshot's dumps.
func (r *run) unreadable(t *target) []string {
	for _, s := range r.manifest.Shards {
		if version := s.Dump.RDBVersion; !readable(t.engine, t.version, version) {
			return []string{fmt.Sprintf("runs %s %s, which does not read what %s wrote (RDB %d of %s %s)", engineName(t.engine), t.version,
				writerOf(version), version, engineName(r.manifest.Server.Engine), r.manifest.Server.Version)}
		}
	}
	return nil
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

// noDatabases says that a node has not the database that a key was in. Only
// Valkey 9 has more than one in cluster mode.
func (r *run) noDatabases(ctx context.Context, t *target) []string {
	need := r.maxDB(t.shard)
	if need == 0 || configInt(ctx, t.node, "cluster-databases", 1) > int64(need) {
		return nil
	}
	return []string{fmt.Sprintf("has no database %d, in which the snapshot has keys", need)}
}

// defaultMaxBulk is proto-max-bulk-len unless it was set.
const defaultMaxBulk = 512 << 20

func (t *target) longestArgument(ctx context.Context) int64 {
	return configInt(ctx, t.node, "proto-max-bulk-len", defaultMaxBulk)
}

// configInt reads a setting; where it cannot be read, its default.
func configInt(ctx context.Context, node *cluster.Node, name string, otherwise int64) int64 {
	reply, err := node.Do(ctx, "CONFIG", "GET", name)
	pair, ok := reply.([]any)
	if err != nil || !ok || len(pair) != 2 {
		return otherwise
	}
	var value int64
	if _, err := fmt.Sscan(fmt.Sprint(pair[1]), &value); err != nil {
		return otherwise
	}
	return value
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
