package cluster

import (
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/hint"
)

// Codes of problems, each with what a person does about it.
const (
	CodeUnreachable = "unreachable" // a node does not answer
	CodeFailed      = "failed"      // nodes flag a node as failed
	CodeSuspected   = "suspected"   // nodes flag a node as perhaps failed (pfail)
	CodeHandshake   = "handshake"   // a node is just being met
	CodeNoAddress   = "no-address"  // nobody knows a node's address
	CodeState       = "state"       // cluster_state is not ok
	CodeUncovered   = "uncovered"   // slots without an owner
	CodeOpenSlot    = "open-slot"   // a slot is being moved, or was left half moved
	CodeDisagree    = "disagree"    // two nodes hold different views
	CodeOrphan      = "orphan"      // a replica of nothing that is there
	CodeLoading     = "loading"     // a primary still reads its data
	CodeWrongNode   = "wrong-node"  // another node answers at a node's address
	CodeMigration   = "migration"   // an atomic slot migration runs (Redis 8.4, Valkey 9)
	CodeAccess      = "access"      // a node refuses the user, the password or a command
)

// Codes of warnings: what is not as it should be but stops nothing.
const (
	CodeFlagged         = "flagged"          // a node that holds no slots is flagged as failed, and answers
	CodeReplicaDown     = "replica-down"     // a replica is down
	CodeReplicaLoading  = "replica-loading"  // a replica still reads its data
	CodeReplicaUnlinked = "replica-unlinked" // a replica has lost its primary
	CodeDeadNode        = "dead-node"        // a node without slots is down
)

var advice = map[string]string{
	CodeUnreachable: hintReach,
	CodeFailed:      "Bring the node back, or fail over to one of its replicas, and try again.",
	CodeSuspected:   "Wait until the cluster has decided whether the node failed, and try again.",
	CodeHandshake:   "Wait until the new node has joined, and try again.",
	CodeNoAddress:   "Bring the node back, or remove it from every node with CLUSTER FORGET.",
	CodeState:       "See CLUSTER INFO on the node: slots without an owner, or too few primaries reachable.",
	CodeUncovered:   "Give the slots an owner (redis-cli --cluster fix), and try again.",
	CodeOpenSlot:    "Let the resharding finish, or close the slot with CLUSTER SETSLOT … STABLE (redis-cli --cluster fix), and try again.",
	CodeDisagree:    "Wait until the change that is under way has spread to every node, and try again.",
	CodeOrphan:      "Attach the replica to a primary with CLUSTER REPLICATE, or remove it.",
	CodeLoading:     "Wait until the node has loaded its data, and try again.",
	CodeWrongNode:   "Check the address mapping: it leads to another node than the one that announces this address.",
	CodeMigration:   "Let the slot migration finish (CLUSTER GETSLOTMIGRATIONS, or CLUSTER MIGRATION STATUS ALL, shows it), and try again.",
	CodeAccess:      "Give the user the same password and the rights of docs/access.md on every node.",

	CodeFlagged:         "Look at the links between the nodes (CLUSTER LINKS): the others do not hear this one.",
	CodeReplicaDown:     "Start the replica again, or remove it from every node with CLUSTER FORGET.",
	CodeReplicaLoading:  "Wait until it has loaded its data.",
	CodeReplicaUnlinked: "Look at its log: its primary's address, masteruser and masterauth, or a full sync that does not come to its end.",
	CodeDeadNode:        "Start the node again, or remove it from every node with CLUSTER FORGET.",
}

// Codes are all codes of problems, and all of warnings.
func Codes() (problems, warnings []string) {
	return slices.Clone(rank), []string{CodeFlagged, CodeReplicaDown, CodeReplicaLoading, CodeReplicaUnlinked, CodeDeadNode}
}

// Problem is one reason why a cluster is not fit to be worked on.
type Problem struct {
	Code    string // one of the codes above
	Subject string // "node 10.0.0.1:6379", "slots 0-99", "slot 42"
	Detail  string // what is wrong with it, without the subject
	Node    string // the announced address of the node that it shows at; "" where it is of no one node
	Cause   error  // of CodeAccess: what the node answered
}

// Advice is what a person does about it.
func (p Problem) Advice() string { return advice[p.Code] }

func (p Problem) String() string { return p.Subject + ": " + p.Detail }

// UnhealthyError is returned by [Discover] for a cluster that is not whole or
// not at rest. Nothing was changed: errors.Is knows it as [hint.ErrRefused],
// and the hint says what to do about the first problem.
type UnhealthyError struct{ Problems []Problem }

func (e *UnhealthyError) Error() string {
	if more := len(e.Problems) - 1; more > 0 {
		return fmt.Sprintf("check cluster: %s (and %d more)", e.Problems[0], more)
	}
	return fmt.Sprintf("check cluster: %s", e.Problems[0])
}

// unhealthy builds the error of at least one problem.
func unhealthy(problems []Problem) error {
	return hint.Refuse(&UnhealthyError{problems}, advice[problems[0].Code])
}
