package cluster

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/slot"
)

// idDigits is the length of a node id: CLUSTER_NAMELEN in cluster.h.
const idDigits = 40

// NodeLine is one node as CLUSTER NODES or a nodes.conf writes it.
type NodeLine struct {
	ID            string
	Host          string // "" where the node does not know its own, or nobody does
	Port, BusPort int
	Hostname      string
	Aux           map[string]string // "shard-id", "availability-zone", "tls-port", …
	Flags         []string
	PrimaryID     string // "" for a primary
	PingSent      int64  // unix ms; 0: no ping is waiting for its pong
	PongReceived  int64  // unix ms
	ConfigEpoch   uint64
	Linked        bool // "connected"; of the cluster bus
	Slots         slot.Set

	// Open slots, which only the line of "myself" shows: slot to the id of the
	// node at the other end.
	Migrating, Importing map[int]string
}

// Has tells whether the node carries a flag: "myself", "fail", "fail?",
// "handshake", "noaddr", "nofailover".
func (n NodeLine) Has(flag string) bool { return slices.Contains(n.Flags, flag) }

// Role tells a primary from a replica; "" for a node that is neither yet.
func (n NodeLine) Role() Role {
	switch {
	case n.Has("master"):
		return RolePrimary
	case n.Has("slave"):
		return RoleReplica
	}
	return ""
}

// Addr is the announced "host:port", "" where no host is known.
func (n NodeLine) Addr() string {
	if n.Host == "" {
		return ""
	}
	return net.JoinHostPort(n.Host, strconv.Itoa(n.Port))
}

// ParseNodes reads what CLUSTER NODES answers or a nodes.conf holds, of Redis
// 4.0 and later and of Valkey:
//
//	<id> <ip:port@bus[,hostname[,name=value]...]> <flags> <primary id or -> <ping> <pong> <epoch> <link> <slots>...
//
// The line "vars …" of a nodes.conf is passed over. The error names the line.
func ParseNodes(text string) ([]NodeLine, error) {
	var nodes []NodeLine
	seen := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "vars" {
			continue
		}
		node, err := parseNode(fields)
		if err != nil {
			return nil, fmt.Errorf("parse line %d of the node list: %w", number, err)
		}
		if seen[node.ID] {
			return nil, fmt.Errorf("parse line %d of the node list: node %s appears twice", number, node.ID)
		}
		seen[node.ID] = true
		nodes = append(nodes, node)
	}
	return nodes, nil
}

func parseNode(fields []string) (NodeLine, error) {
	var node NodeLine
	if len(fields) < 8 {
		return node, fmt.Errorf("it has %d fields of at least 8", len(fields))
	}
	if !isID(fields[0]) {
		return node, fmt.Errorf("%q is no node id", fields[0])
	}
	node.ID = fields[0]
	if err := node.parseAddress(fields[1]); err != nil {
		return node, err
	}
	if fields[2] != "noflags" {
		node.Flags = strings.Split(fields[2], ",")
	}
	if fields[3] != "-" {
		if !isID(fields[3]) {
			return node, fmt.Errorf("%q is no id of a primary", fields[3])
		}
		node.PrimaryID = fields[3]
	}
	var errs [3]error
	node.PingSent, errs[0] = strconv.ParseInt(fields[4], 10, 64)
	node.PongReceived, errs[1] = strconv.ParseInt(fields[5], 10, 64)
	node.ConfigEpoch, errs[2] = strconv.ParseUint(fields[6], 10, 64)
	for i, err := range errs {
		if err != nil {
			return node, fmt.Errorf("%q is no number", fields[4+i])
		}
	}
	node.Linked = fields[7] == "connected"
	for _, field := range fields[8:] {
		if err := node.parseSlots(field); err != nil {
			return node, err
		}
	}
	return node, nil
}

// parseAddress reads "ip:port@bus,hostname,name=value". The last colon parts
// ip and port, for an IPv6 address stands there without brackets. The hostname
// may be empty, and before 7.0 there is none; 3.x has no bus port.
func (n *NodeLine) parseAddress(field string) error {
	parts := strings.Split(field, ",")
	for i, part := range parts[1:] {
		name, value, isAux := strings.Cut(part, "=")
		switch {
		case isAux && n.Aux == nil:
			n.Aux = map[string]string{name: value}
		case isAux:
			n.Aux[name] = value
		case i == 0:
			n.Hostname = part
		}
	}
	endpoint, bus, hasBus := strings.Cut(parts[0], "@")
	colon := strings.LastIndexByte(endpoint, ':')
	if colon < 0 {
		return fmt.Errorf("%q is no address", field)
	}
	n.Host = strings.Trim(endpoint[:colon], "[]")
	var err error
	if n.Port, err = parsePort(endpoint[colon+1:]); err != nil {
		return fmt.Errorf("%q is no address: %w", field, err)
	}
	n.BusPort = n.Port + 10000
	if hasBus {
		if n.BusPort, err = parsePort(bus); err != nil {
			return fmt.Errorf("%q is no address: %w", field, err)
		}
	}
	return nil
}

// parseSlots reads "0-5460", "42", "[93->-<id>]" or "[77-<-<id>]".
func (n *NodeLine) parseSlots(field string) error {
	if !strings.HasPrefix(field, "[") {
		slots, err := slot.ParseRange(field)
		if err == nil {
			n.Slots.AddRange(slots)
		}
		return err
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(field, "["), "]")
	number, other, migrating := strings.Cut(inner, "->-")
	importing := false
	if !migrating {
		number, other, importing = strings.Cut(inner, "-<-")
	}
	open, err := slot.ParseRange(number)
	if err != nil || open.First != open.Last || !isID(other) || migrating == importing {
		return fmt.Errorf("%q is no open slot", field)
	}
	target := &n.Migrating
	if importing {
		target = &n.Importing
	}
	if *target == nil {
		*target = map[int]string{}
	}
	(*target)[open.First] = other
	return nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port >= 1<<16 {
		return 0, fmt.Errorf("%q is no port", text)
	}
	return port, nil
}

func isID(text string) bool {
	if len(text) != idDigits {
		return false
	}
	for _, c := range []byte(text) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}
