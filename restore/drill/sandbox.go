package drill

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Sandbox is a set of running, empty cluster nodes that know nobody.
//
// What an implementation MUST hold:
//
//   - Every node answered an authenticated PING before the sandbox was handed
//     out, holds no key, owns no slot and has met no other node.
//   - Access leads to these nodes and to nothing else, with a password that no
//     other sandbox has and that no command line, log or error shows.
//   - Everything it made carries the drill's id and owner, so that a later
//     drill's sweep finds it.
//   - Close removes all of it, also what a provisioning that failed half-way
//     made. It is safe to call again.
type Sandbox interface {
	// Nodes are the nodes' announced addresses; Access maps them to reachable
	// ones.
	Nodes() []string
	// Access is how the nodes are reached.
	Access() *cluster.Access
	// Check returns an error that names each node that no longer runs, and why.
	Check(ctx context.Context) error
	// Describe is what the nodes are, for a person: "6 containers of redis:7.0".
	Describe() string
	// Close removes the sandbox.
	Close(ctx context.Context) error
}

// answerLimit bounds each question to a node of a sandbox. Such a node shares its
// machine with all else that runs there, and waits its turn: what is slow is no
// damage of the snapshot, and what is gone refuses at once.
const answerLimit = 30 * time.Second

// order is what is asked of a runtime.
type order struct {
	id     manifest.ID
	owner  owner
	root   string // where private folders are made
	nodes  int
	shards int            // of the nodes, how many will be primaries; for people
	memory int64          // bytes one node may use
	secret cluster.Secret // every node's password

	databases int // that each node must have
}

// sandboxRoot is where drills make their private folders, and where the sweep
// looks for them.
func sandboxRoot() string { return os.TempDir() }

// replicaLimit bounds the replicas a drill gives each shard. One proves that a
// replica follows the restored primary; a second proves the same again and
// costs the same memory again.
const replicaLimit = 1

// newOrder derives the sandbox from a snapshot: its shards, or so many others, and
// so many replicas in all. Without a number there is one for each shard that had
// any; of other shards, as many as of all.
func newOrder(id manifest.ID, by owner, m *manifest.Manifest, shards, replicas int) order {
	o := order{
		id: id, owner: by, root: sandboxRoot(), databases: 1,
		shards: len(m.Shards), memory: nodeMemory(m),
		// rand.Text has 130 bits: nobody guesses it while a drill lasts.
		secret: cluster.Secret(rand.Text()),
	}
	had := 0
	for _, shard := range m.Shards {
		had += min(shard.Replicas, replicaLimit)
		o.databases = max(o.databases, shard.Dump.MaxDB+1)
	}
	if shards > 0 {
		// A node may get all there is, where it gets more than a shard had.
		if o.shards = shards; shards < len(m.Shards) {
			o.memory = memoryBase + (o.memory-memoryBase)*int64(len(m.Shards))
		}
		had = min(had, shards)
	}
	if replicas == AsTaken {
		replicas = had
	}
	o.nodes = o.shards + replicas
	return o
}

// The memory a node needs beside its data, and how often its data may be there
// at once: the keys, the pages copied while a child serves a full sync, and the
// buffers between.
const (
	memoryBase   = 512 << 20
	memoryCopies = 3
	// An encoded dump is smaller than what it becomes in memory. Where its own
	// figure (AUX used-mem) is missing or lies, its size stands in.
	memoryPerDumpByte = 4
	// No node holds more; a manifest that says so must not overflow the sum.
	memoryLargest = 1 << 50
)

// nodeMemory is a limit no honest snapshot comes near: it keeps a damaged one
// from taking the whole machine with it.
func nodeMemory(m *manifest.Manifest) int64 {
	var largest int64
	for _, shard := range m.Shards {
		largest = max(largest, shard.Dump.UsedMemory, min(shard.Dump.Content().Bytes, memoryLargest)*memoryPerDumpByte)
	}
	return memoryBase + memoryCopies*min(largest, memoryLargest)
}

// describe says how many of what a sandbox has.
func (o order) describe(thing string) string {
	if replicas := o.nodes - o.shards; replicas > 0 {
		return fmt.Sprintf("%d + %d %s", o.shards, replicas, thing)
	}
	return fmt.Sprintf("%d %s", o.nodes, thing)
}

// teardownLimit bounds removing a sandbox. Six containers take a second; the
// rest is for an engine that is busy.
const teardownLimit = 2 * time.Minute

// closeSandbox removes a sandbox though ctx may be done already: a cancel is
// when it matters most.
func closeSandbox(ctx context.Context, s Sandbox) error {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardownLimit)
	defer cancel()
	return s.Close(limited)
}
