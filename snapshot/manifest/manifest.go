package manifest

import (
	"time"

	"github.com/slotark/slotark/internal/slot"
)

// Version is the format version this package writes.
const Version = 1

// Manifest is one snapshot of one cluster. What has no manifest is not a
// snapshot: it is written last.
type Manifest struct {
	Version   int       `json:"format_version"`
	ID        ID        `json:"id"`
	Cluster   string    `json:"cluster"`
	CreatedBy string    `json:"created_by"` // "slotark 0.1.0"
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished"`
	Server    Server    `json:"server"`
	Topology  Topology  `json:"topology"`
	Shards    []Shard   `json:"shards"` // by first slot
	Stores    []string  `json:"stores"` // names of the stores it was meant for, the primary first
	Findings  []Finding `json:"findings,omitempty"`
}

// Server is the software that wrote the dumps.
type Server struct {
	Engine  string `json:"engine"`  // "redis" or "valkey"
	Version string `json:"version"` // "7.0.15"
}

// Topology is the cluster as every node saw it, before and after the dumps.
type Topology struct {
	CurrentEpoch uint64 `json:"current_epoch"`
	Nodes        []Node `json:"nodes"` // by shard, the primary first
}

// Node is one member of the cluster.
type Node struct {
	ID          string   `json:"id"`
	Address     string   `json:"address"`  // as announced: "10.0.0.1:6379"
	BusPort     int      `json:"bus_port"` // of the cluster bus
	Hostname    string   `json:"hostname,omitempty"`
	Role        string   `json:"role"`              // "primary" or "replica"
	Primary     string   `json:"primary,omitempty"` // a replica's primary: its node id
	ConfigEpoch uint64   `json:"config_epoch"`
	Slots       slot.Set `json:"slots,omitzero"` // a primary's
}

// Shard is one shard's part of the snapshot.
type Shard struct {
	Slots       slot.Set    `json:"slots"`
	Primary     string      `json:"primary"` // node id
	ConfigEpoch uint64      `json:"config_epoch"`
	Replicas    int         `json:"replicas"`
	Source      Source      `json:"source"`
	Taken       time.Time   `json:"taken"` // the fork's instant, on the clock of the machine that took the snapshot
	Replication Replication `json:"replication"`
	Dump        Dump        `json:"dump"`
	SlotIndex   File        `json:"slot_index"`
}

// Source is the node that wrote the dump, and how its bytes were collected.
type Source struct {
	Node     string `json:"node"` // node id
	Address  string `json:"address"`
	Role     string `json:"role"`      // "primary" or "replica"
	Collect  string `json:"collect"`   // "bgsave" or "stream"
	LagBytes int64  `json:"lag_bytes"` // a replica's, behind its primary, when it was chosen
}

// Replication is where in the shard's replication stream the dump stands.
type Replication struct {
	ID     string `json:"id"`
	Offset int64  `json:"offset"`
	Exact  bool   `json:"exact"` // false: the offset was read just before the fork, the dump may hold a little more
}

// File is one object of the snapshot.
type File struct {
	Object string `json:"object"` // relative to the snapshot's folder: "shard-0/dump.rdb"
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the stored bytes, hex
}

// Dump is a shard's RDB file and what inspecting it found.
type Dump struct {
	File
	RDBVersion       int       `json:"rdb_version"`
	Created          time.Time `json:"created"`                     // AUX ctime, whole seconds of the node's clock
	CRC64            string    `json:"crc64"`                       // hex; of the whole dump, as its footer says
	ChecksumDisabled bool      `json:"checksum_disabled,omitempty"` // rdbchecksum no: unverifiable
	Keys             uint64    `json:"keys"`
	Expiring         uint64    `json:"expiring"` // keys with an expiry, of Keys
	MaxDB            int       `json:"max_db,omitempty"`
	UsedMemory       int64     `json:"used_memory"` // AUX used-mem, bytes
	Functions        int       `json:"functions"`   // libraries
}

// Finding is one thing wrong that did not stop the snapshot.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // "warning" or "error"
	Subject  string `json:"subject"`
	Detail   string `json:"detail"`
}

// Keys is the number of keys in all dumps.
func (m *Manifest) Keys() uint64 {
	var total uint64
	for _, s := range m.Shards {
		total += s.Dump.Keys
	}
	return total
}

// Expiring is the number of keys with an expiry in all dumps.
func (m *Manifest) Expiring() uint64 {
	var total uint64
	for _, s := range m.Shards {
		total += s.Dump.Expiring
	}
	return total
}

// Bytes is the size of all objects, less the manifest.
func (m *Manifest) Bytes() int64 {
	var total int64
	for _, s := range m.Shards {
		total += s.Dump.Bytes + s.SlotIndex.Bytes
	}
	return total
}

// Slots is the union of the shards' slots.
func (m *Manifest) Slots() slot.Set {
	var all slot.Set
	for _, s := range m.Shards {
		all = all.Union(s.Slots)
	}
	return all
}

// Skew is the latest minus the earliest instant among the shards.
func (m *Manifest) Skew() time.Duration {
	if len(m.Shards) == 0 {
		return 0
	}
	first, last := m.Shards[0].Taken, m.Shards[0].Taken
	for _, s := range m.Shards[1:] {
		if s.Taken.Before(first) {
			first = s.Taken
		}
		if s.Taken.After(last) {
			last = s.Taken
		}
	}
	return last.Sub(first)
}
