package manifest

import (
	"time"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/storage/seal"
)

// Version is the newest format version, in which new snapshots are written.
const Version = 2

// Manifest is one snapshot of one cluster. What has no manifest is not a
// snapshot: it is written last.
type Manifest struct {
	Version      int       `json:"format_version"`
	ID           ID        `json:"id"`
	ResealedFrom ID        `json:"resealed_from,omitempty"` // the snapshot whose dumps these are, sealed to others
	Cluster      string    `json:"cluster"`
	CreatedBy    string    `json:"created_by"` // "slotark 0.1.0"
	Started      time.Time `json:"started"`
	Finished     time.Time `json:"finished"`
	Server       Server    `json:"server"`
	Seal         Seal      `json:"seal,omitzero"` // of every object but the manifest; the zero value in version 1, which knows none
	Topology     Topology  `json:"topology"`
	Shards       []Shard   `json:"shards"`            // by first slot
	Settings     File      `json:"settings,omitzero"` // may be absent; the zero value in version 1, which knows none
	Stores       []string  `json:"stores"`            // names of the stores it was meant for, the primary first
	Findings     []Finding `json:"findings,omitempty"`
	Checksum     string    `json:"checksum,omitempty"` // of the text itself: Encode computes it, Decode checks it; none in version 1
}

// Seal is what was done to the objects before they were stored. The names are
// those of package seal.
type Seal struct {
	Compression string   `json:"compression"` // "zstd" or "none"
	Encryption  string   `json:"encryption"`  // "age" or "none"
	Recipients  []string `json:"recipients,omitempty"`
}

// Lock is the seal as package seal takes it.
func (s Seal) Lock() seal.Lock {
	return seal.Lock{Compression: s.Compression, Encryption: s.Encryption, Recipients: s.Recipients}
}

// SealOf records a lock.
func SealOf(l seal.Lock) Seal {
	return Seal{Compression: l.Compression, Encryption: l.Encryption, Recipients: l.Recipients}
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
	AOF         *AOF        `json:"aof,omitempty"` // nil where none was asked for
}

// Source is the node that wrote the dump, and how its bytes were collected.
type Source struct {
	Node     string `json:"node"` // node id
	Address  string `json:"address"`
	Role     string `json:"role"`      // "primary" or "replica"
	Collect  string `json:"collect"`   // "bgsave" or "stream"; by an agent "agent-bgsave" or "agent-stream"
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
	Object string `json:"object"` // relative to the snapshot's folder: "shard-0/dump.rdb.zst.age"
	Bytes  int64  `json:"bytes"`  // as it is stored
	SHA256 string `json:"sha256"` // of the stored bytes, hex
	Plain  Plain  `json:"plain,omitzero"`
}

// Plain is what a sealed object holds, once it is opened.
type Plain struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Content is what the object holds, whether it is sealed or stored as it is.
func (f File) Content() Plain {
	if f.Plain == (Plain{}) {
		return Plain{f.Bytes, f.SHA256}
	}
	return f.Plain
}

// NewFile records an object by the sums of a sealing.
func NewFile(object string, l seal.Lock, stored, plain seal.Sum) File {
	f := File{Object: object, Bytes: stored.Bytes, SHA256: stored.SHA256}
	if l.Sealed() {
		f.Plain = Plain(plain)
	}
	return f
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

// Files are all objects of the snapshot but the manifest, in the order in which
// they are written.
func (m *Manifest) Files() []File {
	files := make([]File, 0, 2*len(m.Shards)+1)
	for _, s := range m.Shards {
		files = append(files, s.Files()...)
	}
	if m.Settings != (File{}) {
		files = append(files, m.Settings)
	}
	return files
}

// Files are all objects of the shard, in the order in which they are written.
func (s Shard) Files() []File {
	return append([]File{s.Dump.File, s.SlotIndex}, s.AOF.Objects()...)
}

// Bytes is the size of all objects as they are stored, less the manifest.
func (m *Manifest) Bytes() int64 {
	var total int64
	for _, f := range m.Files() {
		total += f.Bytes
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
