package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/slot"
)

// Role is what a node is to its shard.
type Role string

// A node is one or the other; what is neither yet (a handshake) is a problem.
const (
	RolePrimary Role = "primary"
	RoleReplica Role = "replica"
)

// Topology is the cluster as all its reachable nodes saw it.
type Topology struct {
	CurrentEpoch uint64    // the highest any node knows
	Shards       []Shard   // by first slot; primaries without slots last, by id
	Warnings     []Problem // what is not as it should be but stops nothing
}

// Shard is one primary, the slots it owns and the replicas that follow it.
type Shard struct {
	Slots    slot.Set
	Primary  Member
	Replicas []Member // by id
}

// Member is one node and what it said of itself. A member that is not
// Reachable carries only what the other nodes know: the fields up to
// ConfigEpoch.
type Member struct {
	ID          string // 40 hexadecimal digits
	Addr        string // announced "host:port"; IPv6 hosts in brackets
	BusPort     int
	Hostname    string // announced; "" where none is
	Role        Role
	PrimaryID   string // a replica's primary
	ConfigEpoch uint64 // a replica's is its primary's

	Reachable       bool
	Engine, Version string // "redis" or "valkey"; "7.0.15"
	RunID, ReplID   string
	Offset          int64 // its own replication offset, in bytes
	Loading         bool

	// Of a replica's link to its primary.
	LinkUp         bool
	SyncInProgress bool
	LastIO         time.Duration // since it last heard from its primary; negative: not connected
}

// Members yields every member, shard by shard, the primary first.
func (t *Topology) Members() []Member {
	var all []Member
	for _, shard := range t.Shards {
		all = append(append(all, shard.Primary), shard.Replicas...)
	}
	return all
}

// Slots is the union of the shards' slots.
func (t *Topology) Slots() slot.Set {
	var all slot.Set
	for _, shard := range t.Shards {
		all = all.Union(shard.Slots)
	}
	return all
}

// Fingerprint is a hash over who owns which slots, roles, whose replica each
// replica is, and config epochs. Two fingerprints are equal if and only if
// nothing moved in between: a failover and back raises the epoch. Addresses,
// offsets and health do not count.
func (t *Topology) Fingerprint() string {
	var lines []string
	for _, shard := range t.Shards {
		p := shard.Primary
		lines = append(lines, fmt.Sprintf("primary %s epoch %d slots %s", p.ID, p.ConfigEpoch, shard.Slots))
		for _, r := range shard.Replicas {
			lines = append(lines, fmt.Sprintf("replica %s of %s", r.ID, r.PrimaryID))
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}
