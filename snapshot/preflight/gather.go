package preflight

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/cluster"
)

// askLimit is how many nodes are asked at once.
const askLimit = 16

// settings are those that advice looks at. One of them is no secret.
var settings = []string{
	"dir", "dbfilename", "save", "stop-writes-on-bgsave-error", "rdbchecksum", "protected-mode",
	"cluster-node-timeout", "cluster-require-full-coverage", "client-output-buffer-limit",
}

// stopping are those that tell whether a failed save stops a node's writes.
var stopping = []string{"stop-writes-on-bgsave-error", "save"}

// node is what one node said of itself, beyond its place in the topology.
type node struct {
	cluster.Member
	source   *Source // nil: it would not be asked for a dump
	way      Way     // by which it is, or would be
	info     cluster.Info
	modules  []string
	settings map[string]string // those that were asked for and could be seen
	missing  []string          // ACL rules that the user lacks, of those that way takes
	off      []string          // commands that way takes and the server has not
	unkept   []string          // ACL rules that the user lacks, of those that keeping the settings takes
	unseen   bool              // the settings may not be read
	open     bool              // it answers whoever has no password
	here     bool              // it runs on this machine
}

// gather asks every node that answers.
func (o Options) gather(ctx context.Context, topology *cluster.Topology, sources []Source) ([]*node, error) {
	var nodes []*node
	for _, member := range topology.Members() {
		if !member.Reachable || member.Loading {
			continue // that is a finding already, or a replica that is passed over
		}
		n := &node{Member: member, way: o.Way}
		if len(sources) > 0 {
			n.way = sources[0].Way
		}
		for i := range sources {
			if sources[i].Addr == member.Addr {
				n.source, n.way = &sources[i], sources[i].Way
			}
		}
		nodes = append(nodes, n)
	}
	var group errgroup.Group
	group.SetLimit(askLimit)
	for _, n := range nodes {
		group.Go(func() error {
			o.ask(ctx, n)
			return nil
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look at the nodes: %w", err)
	}
	return nodes, nil
}

// probe asks a node, of which little is known, for its rights alone.
func (o Options) probe(ctx context.Context, member cluster.Member, way Way) *node {
	n := &node{Member: member, way: way, info: cluster.Info{}}
	o.try(ctx, n, append(slices.Clone(looking), o.takes(way)...), nil, nil)
	return n
}

// ask asks one node for its facts. A node that stops answering meanwhile gives
// none: the topology was whole, and what comes after notices.
func (o Options) ask(ctx context.Context, n *node) {
	n.info = cluster.Info{}
	var wanted []right
	if n.source != nil || o.Advice {
		wanted = o.takes(n.way)
	}
	var names []string
	switch {
	case o.Advice:
		names = settings
	case n.source != nil && n.way == Folder:
		names = []string{"dir", "dbfilename"}
	}
	var kept []right
	if o.Advice && o.Settings {
		kept = keeping
	}
	o.try(ctx, n, wanted, names, kept)
	if !o.Advice && n.info.Text("rdb_last_bgsave_status") == "err" {
		o.askStopping(ctx, n)
	}
	n.here = o.machine.runs(o.Access, n)
	if o.Advice {
		n.open = o.opens(ctx, n.Addr)
	}
}

// try asks in one round trip for INFO, settings, and whether the user has rights.
// INFO comes first: its long reply is what PSYNC stumbles over.
func (o Options) try(ctx context.Context, n *node, wanted []right, names []string, kept []right) {
	commands := [][]any{{"INFO"}}
	var asked []right
	for _, r := range wanted {
		if r.ask == nil || r.rule == "+psync" && before(n.Version, 7, 0) {
			continue
		}
		asked = append(asked, r)
		commands = append(commands, r.ask)
	}
	for _, name := range names {
		commands = append(commands, []any{"CONFIG", "GET", name})
	}
	for _, r := range kept {
		commands = append(commands, r.ask)
	}
	client := o.Access.Open(n.Addr)
	defer func() { _ = client.Close() }()
	// Each reply is looked at by itself.
	replies, _ := client.Pipeline(ctx, commands)
	if text, ok := replies[0].(string); ok {
		n.info, n.modules = cluster.ParseInfo(text), modules(text)
	}
	for i, r := range asked {
		denied, off := refused(replies[1+i])
		if denied {
			n.missing = append(n.missing, r.rule)
		}
		if off && r.rule != "+cluster|shards" { // 6.2 has none, and needs none
			n.off = append(n.off, fmt.Sprint(r.ask[0]))
		}
	}
	if slices.Contains(n.missing, "+psync") {
		n.missing = append(n.missing, "+sync")
	}
	n.settings = map[string]string{}
	for i, name := range names {
		reply := replies[1+len(asked)+i]
		if denied, off := refused(reply); denied || off {
			n.unseen = true
		}
		n.see(name, reply)
	}
	for i, r := range kept {
		if denied, _ := refused(replies[1+len(asked)+len(names)+i]); denied {
			n.unkept = append(n.unkept, r.rule)
		}
	}
}

// askStopping asks a node whose last save failed what that means for its writes.
// It is a round trip of its own, and the rare case: no snapshot needs this right
// over the wire, and a node notes down each refusal (ACL LOG).
func (o Options) askStopping(ctx context.Context, n *node) {
	commands := make([][]any, len(stopping))
	for i, name := range stopping {
		commands[i] = []any{"CONFIG", "GET", name}
	}
	client := o.Access.Open(n.Addr)
	defer func() { _ = client.Close() }()
	replies, _ := client.Pipeline(ctx, commands) // what may not be seen is told by nobody
	for i, name := range stopping {
		n.see(name, replies[i])
	}
}

// see keeps what CONFIG GET answered, if it is a setting.
func (n *node) see(name string, reply any) {
	if pair, ok := reply.([]any); ok && len(pair) == 2 {
		n.settings[name] = fmt.Sprint(pair[1])
	}
}

// opens tells whether a node answers commands of whoever has no password.
func (o Options) opens(ctx context.Context, addr string) bool {
	anybody := *o.Access
	anybody.Username, anybody.Password = "", ""
	client := anybody.Open(addr)
	defer func() { _ = client.Close() }()
	return client.Ping(ctx) == nil
}

// modules reads the lines "module:name=search,ver=…" of INFO. Valkey 9.1 lists
// its own scripting among them, which every one has.
func modules(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		fields, found := strings.CutPrefix(line, "module:name=")
		name, _, _ := strings.Cut(fields, ",")
		if found && name != "lua" {
			names = append(names, strings.TrimSpace(name))
		}
	}
	slices.Sort(names)
	return names
}

// before tells whether a version is older than another. What cannot be read is
// not.
func before(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a < major || a == major && b < minor)
}
