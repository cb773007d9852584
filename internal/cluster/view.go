package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/slot"
)

// view is what one node said of the cluster and of itself.
type view struct {
	asked  string // the address it was asked at
	nodes  []NodeLine
	byID   map[string]NodeLine
	self   NodeLine
	state  Info                 // CLUSTER INFO
	info   Info                 // INFO server, replication, persistence, memory
	shards map[string]shardNode // CLUSTER SHARDS by node id; nil before 7.0
	jobs   []Migration          // that run, of a node that has some and lets us see them (Valkey 9)

	// loading is the node's answer while it reads its data: then it serves
	// INFO and nothing else, and the fields but info are empty.
	loading error
}

// look asks one node everything in one round trip.
func look(ctx context.Context, a *Access, addr string) (*view, error) {
	node := a.Open(addr)
	defer func() { _ = node.Close() }()
	// The failure of the pipeline is that of one of its commands: which one
	// decides what it means.
	replies, _ := node.Pipeline(ctx, [][]any{
		{"CLUSTER", "NODES"}, {"CLUSTER", "INFO"}, {"CLUSTER", "SHARDS"},
		{"INFO", "server"}, {"INFO", "replication"}, {"INFO", "persistence"}, {"INFO", "memory"},
	})
	seen := &view{asked: addr, info: Info{}}
	for _, reply := range replies[3:] {
		if err, failed := reply.(error); failed {
			return nil, err
		}
		maps.Copy(seen.info, ParseInfo(fmt.Sprint(reply)))
	}
	if err, failed := replies[0].(error); failed && IsCode(err, "LOADING") {
		seen.loading = err
		return seen, nil
	}
	for _, reply := range replies[:2] {
		if err, failed := reply.(error); failed {
			return nil, err
		}
	}
	if err := seen.readNodes(fmt.Sprint(replies[0])); err != nil {
		return nil, fmt.Errorf("read node list of %s: %w", addr, err)
	}
	seen.state = ParseInfo(fmt.Sprint(replies[1]))
	switch reply := replies[2].(type) {
	case []any:
		seen.shards = parseShards(reply)
	case error:
		// 6.2 and older do not know the command. Everything else it could
		// say, a missing right above all, is to be heard.
		var refused ServerError
		if !errors.As(reply, &refused) || !refused.IsUnknownCommand() {
			return nil, reply
		}
	}
	if seen.transfers() {
		// Which slots they are is good to know, and needs a right of its own.
		reply, _ := node.Do(ctx, "CLUSTER", "GETSLOTMIGRATIONS")
		seen.jobs = running(parseMigrations(reply))
	}
	return seen, nil
}

// readNodes reads CLUSTER NODES.
func (v *view) readNodes(text string) (err error) {
	if v.nodes, err = ParseNodes(text); err != nil {
		return err
	}
	// The server lists nodes in the order of its hash table.
	slices.SortFunc(v.nodes, func(a, b NodeLine) int {
		return cmp.Or(cmp.Compare(a.Addr(), b.Addr()), cmp.Compare(a.ID, b.ID))
	})
	v.byID = map[string]NodeLine{}
	for _, line := range v.nodes {
		v.byID[line.ID] = line
		if line.Has("myself") {
			v.self = line
		}
	}
	if v.self.ID == "" {
		return errors.New("no node in it is the one that was asked")
	}
	return nil
}

// shardNode is what CLUSTER SHARDS adds to a node: its health, and the slots of
// its shard where it is the primary.
type shardNode struct {
	health string // "online", "failed" or "loading"
	slots  slot.Set
}

// parseShards reads CLUSTER SHARDS: an array of shards, each a flat list of
// names and values. Servers add names from version to version, so everything
// is found by name, and what is not understood is passed over: the node list
// is the authority, this only adds to it.
func parseShards(reply []any) map[string]shardNode {
	found := map[string]shardNode{}
	for _, item := range reply {
		shard := pairs(item)
		var slots slot.Set
		bounds, _ := shard["slots"].([]any)
		for i := 0; i+1 < len(bounds); i += 2 {
			if r, err := slot.ParseRange(fmt.Sprintf("%v-%v", bounds[i], bounds[i+1])); err == nil {
				slots.AddRange(r)
			}
		}
		nodes, _ := shard["nodes"].([]any)
		for _, item := range nodes {
			node := pairs(item)
			id, _ := node["id"].(string)
			health, _ := node["health"].(string)
			entry := shardNode{health: health}
			if node["role"] == "master" {
				entry.slots = slots
			}
			found[id] = entry
		}
	}
	return found
}

// pairs reads a flat list of names and values.
func pairs(item any) map[string]any {
	list, _ := item.([]any)
	named := map[string]any{}
	for i := 0; i+1 < len(list); i += 2 {
		if name, ok := list[i].(string); ok {
			named[name] = list[i+1]
		}
	}
	return named
}

// role is what the node says of itself in INFO.
func (v *view) role() Role {
	if v.info.Text("role") == "slave" {
		return RoleReplica
	}
	return RolePrimary
}

// describe fills in what a node said of itself.
func (v *view) describe(m *Member) {
	m.Reachable = true
	m.Engine, m.Version = v.info.Engine()
	m.RunID, m.ReplID = v.info.Text("run_id"), v.info.Text("master_replid")
	m.Loading = v.info.Int("loading") == 1
	if v.role() == RolePrimary {
		m.Offset = v.info.Int("master_repl_offset")
		return
	}
	m.Offset = v.info.Int("slave_repl_offset")
	m.LinkUp = v.info.Text("master_link_status") == "up"
	m.SyncInProgress = v.info.Int("master_sync_in_progress") == 1
	m.LastIO = time.Duration(v.info.Int("master_last_io_seconds_ago")) * time.Second
}

// host is the host the node was asked at: its address where the node does not
// know its own.
func (v *view) host() string {
	host, _, err := net.SplitHostPort(v.asked)
	if err != nil {
		return strings.Trim(v.asked, "[]")
	}
	return host
}
