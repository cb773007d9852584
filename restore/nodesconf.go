package restore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/slot"
)

// confNode is one node as a nodes.conf names it.
type confNode struct {
	place
	id    string
	epoch uint64   // a primary's own; a replica shows its primary's
	slots slot.Set // a primary's
}

// newNodeID is what a server makes for itself: 40 hexadecimal digits at
// random. The snapshot's own ids are never used again: a restored node would
// take part in the gossip of the cluster it came from.
func newNodeID() string {
	random := make([]byte, 20)
	rand.Read(random) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(random)
}

// formatNodesConf returns the nodes.conf of one of the nodes. It holds only
// the fields that every release since 4.0 writes: an auxiliary field unknown
// to a server stops it (clusterLoadConfig in cluster_legacy.c), and so does a
// second "myself".
//
//	<id> <ip>:<port>@<bus port> <flags> <primary id or -> <ping> <pong> <epoch> <link> <slots>...
//	vars currentEpoch <epoch> lastVoteEpoch 0
func formatNodesConf(nodes []confNode, self int) string {
	primaries := map[int]confNode{} // by shard
	last := uint64(0)
	for _, n := range nodes {
		if n.primary {
			primaries[n.shard] = n
			last = max(last, n.epoch)
		}
	}
	var text strings.Builder
	for i, n := range nodes {
		flags, primary, link := "master", "-", "disconnected"
		if !n.primary {
			flags, primary = "slave", primaries[n.shard].id
		}
		if i == self {
			flags, link = "myself,"+flags, "connected"
		}
		// An IPv6 address stands here without brackets: the last colon parts it
		// from the port.
		fmt.Fprintf(&text, "%s %s:%d@%d %s %s 0 0 %d %s", n.id, n.ip, n.port, n.busPort, flags, primary,
			primaries[n.shard].epoch, link)
		for _, part := range n.slots.Ranges() {
			text.WriteString(" " + part.String())
		}
		text.WriteByte('\n')
	}
	fmt.Fprintf(&text, "vars currentEpoch %d lastVoteEpoch 0\n", last)
	return text.String()
}

// confNodes gives every place an id, and every primary its slots and an epoch
// of its own: of two primaries with one epoch, one would change its own.
func (r *run) confNodes() []confNode {
	nodes := make([]confNode, len(r.places))
	for i, p := range r.places {
		nodes[i] = confNode{place: p, id: newNodeID()}
		if r.Node > 0 {
			nodes[i].id = SeededID(r.Name, r.manifest.ID, p.rank+1)
		}
		if p.primary {
			nodes[i].epoch = uint64(p.shard) + 1
			nodes[i].slots = r.layout[p.shard]
		}
	}
	return nodes
}
