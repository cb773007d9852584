package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/slot"
)

// rank orders problems: causes before what follows from them, so that the
// first is the one to mend.
var rank = []string{
	CodeWrongNode, CodeAccess, CodeFailed, CodeNoAddress, CodeUncovered, CodeOpenSlot, CodeMigration, CodeUnreachable,
	CodeLoading, CodeSuspected, CodeHandshake, CodeDisagree, CodeOrphan, CodeState,
}

// verdict collects what is found wrong.
type verdict struct {
	problems []Problem
	warnings []Problem
	missed   map[string]bool // ids of dead nodes that hold nothing: left out
}

func (v *verdict) add(code, subject, format string, args ...any) {
	v.problems = append(v.problems, problem(code, subject, format, args...))
}

func (v *verdict) warn(code, subject, format string, args ...any) {
	v.warnings = append(v.warnings, problem(code, subject, format, args...))
}

func problem(code, subject, format string, args ...any) Problem {
	p := Problem{Code: code, Subject: subject, Detail: fmt.Sprintf(format, args...)}
	for _, kind := range []string{"node ", "replica "} {
		if node, of := strings.CutPrefix(subject, kind); of {
			p.Node = node
		}
	}
	return p
}

// judge compares the views and builds the topology they agree on. The topology
// is of use only where there are no problems.
func (s *surveyed) judge() (*Topology, []Problem) {
	v := &verdict{missed: map[string]bool{}}
	for _, node := range s.first.nodes {
		s.judgeNode(v, node)
	}
	s.judgeSlots(v)
	for _, seen := range s.ordered() {
		s.judgeView(v, seen)
	}
	topology := s.topology(v)
	slices.SortStableFunc(v.problems, func(a, b Problem) int {
		return cmp.Compare(slices.Index(rank, a.Code), slices.Index(rank, b.Code))
	})
	topology.Warnings = v.warnings
	return topology, v.problems
}

// judgeNode decides what it means that a node answers or not, given what the
// others say of it.
func (s *surveyed) judgeNode(v *verdict, node NodeLine) {
	subject := "node " + s.name(node.ID)
	if node.Has("handshake") || node.Role() == "" {
		v.add(CodeHandshake, subject, "it is just joining the cluster")
		return
	}
	failed, suspected, asked := s.flags(node.ID)
	// Without slots there is nothing in it to back up: a replica, or a former
	// primary whose replica took over.
	dispensable := node.Role() == RoleReplica || node.Slots.Len() == 0
	seen := s.views[node.ID]
	refused := s.silent[node.ID]
	switch {
	case errors.Is(refused, ErrAuth), errors.Is(refused, ErrNotCluster):
		v.add(CodeAccess, subject, "%v", refused)
		v.problems[len(v.problems)-1].Cause = refused
	case seen != nil && seen.loading == nil && seen.self.ID != node.ID:
		v.add(CodeWrongNode, subject, "another node answers there (%s)", seen.self.ID)
	case seen != nil && node.Role() == RolePrimary && s.loading(seen):
		v.add(CodeLoading, subject, "it is still loading its data")
	case seen != nil && dispensable && failed+suspected > 0:
		v.warn(CodeFlagged, subject, "it answers, but %d of %d nodes flag it as failed", failed+suspected, asked)
	case seen != nil && failed > 0:
		v.add(CodeFailed, subject, "it answers, but %d of %d nodes flag it as failed", failed, asked)
	case seen != nil && suspected > 0:
		v.add(CodeSuspected, subject, "it answers, but %d of %d nodes suspect that it failed", suspected, asked)
	case seen != nil:
		s.judgeReplica(v, node, seen)
	case failed == asked && asked > 0 && node.Role() == RoleReplica:
		v.warn(CodeReplicaDown, "replica "+s.name(node.ID), "it is down: all %d other nodes flag it as failed", asked)
	case failed == asked && asked > 0 && dispensable:
		v.warn(CodeDeadNode, subject, "it owns no slots and is down: all %d other nodes flag it as failed", asked)
		v.missed[node.ID] = true
	case failed == asked && asked > 0:
		v.add(CodeFailed, subject, "it is down and owns slots %s: all %d other nodes flag it as failed", node.Slots, asked)
	case node.Addr() == "":
		v.add(CodeNoAddress, subject, "no node knows its address")
	case failed+suspected > 0:
		v.add(CodeSuspected, subject, "it does not answer, and %d of %d nodes flag it as failed so far", failed+suspected, asked)
	default:
		v.add(CodeUnreachable, subject, "the cluster counts it as up, but: %v", s.silent[node.ID])
	}
}

func (s *surveyed) judgeReplica(v *verdict, node NodeLine, seen *view) {
	subject := "replica " + s.name(node.ID)
	switch {
	case node.Role() != RoleReplica:
	case s.loading(seen):
		v.warn(CodeReplicaLoading, subject, "it is still loading its data")
	case seen.info.Text("master_link_status") != "up":
		v.warn(CodeReplicaUnlinked, subject, "it is not linked to its primary")
	}
}

// judgeSlots looks for slots that nobody owns and slots that are on the move.
func (s *surveyed) judgeSlots(v *verdict) {
	missing := slot.Full()
	for _, node := range s.first.nodes {
		missing = missing.Minus(node.Slots)
	}
	if missing.Len() > 0 {
		v.add(CodeUncovered, "slots "+missing.String(), "no node owns them")
	}
	for _, seen := range s.ordered() {
		self := seen.self
		open := func(slots map[int]string, doing string) {
			byOther := map[string]*slot.Set{}
			for n, other := range slots {
				if byOther[other] == nil {
					byOther[other] = &slot.Set{}
				}
				byOther[other].Add(n)
			}
			for _, other := range slices.Sorted(maps.Keys(byOther)) {
				v.add(CodeOpenSlot, "slots "+byOther[other].String(), "open on node %s, %s node %s", s.name(self.ID), doing, s.name(other))
			}
		}
		open(self.Migrating, "migrating to")
		open(self.Importing, "importing from")
	}
}

// judgeView compares one node's view with the first one, and with what the
// node says of itself.
func (s *surveyed) judgeView(v *verdict, seen *view) {
	if seen.loading != nil {
		return
	}
	subject := "node " + s.name(seen.self.ID)
	if state := seen.state.Text("cluster_state"); state != "ok" {
		v.add(CodeState, subject, "its cluster_state is %q, not ok", state)
	}
	if moving := seen.moving(); moving != "" {
		v.add(CodeMigration, subject, "%s", moving)
	}
	// CLUSTER NODES hides a node that is being met; the count does not.
	if known := int(seen.state.Int("cluster_known_nodes")); known > len(seen.nodes) {
		v.add(CodeHandshake, subject, "it is meeting %d new nodes", known-len(seen.nodes))
	}
	if seen.role() != seen.self.Role() {
		v.add(CodeDisagree, subject, "it replicates as a %s, but the cluster knows it as a %s", seen.role(), seen.self.Role())
	}
	if difference := s.difference(seen); difference != "" {
		v.add(CodeDisagree, subject, "it does not see the cluster as node %s does: %s", s.name(s.first.self.ID), difference)
	}
	for id, entry := range seen.shards {
		line, listed := seen.byID[id]
		switch {
		case !listed:
		case entry.health == "failed" && line.Role() == RolePrimary && line.Slots.Len() > 0 && !line.Has("fail"):
			v.add(CodeSuspected, "node "+s.name(id), "node %s finds its health failed", s.name(seen.self.ID))
		case entry.slots.Len() > 0 && entry.slots != line.Slots:
			// Two commands, two instants: a slot changed hands in between.
			v.add(CodeDisagree, subject, "CLUSTER SHARDS and CLUSTER NODES differ on the slots of node %s", s.name(id))
		}
	}
}

// difference names the first thing in which a view differs from the first one.
func (s *surveyed) difference(seen *view) string {
	for _, line := range seen.nodes {
		if _, known := s.first.byID[line.ID]; !known {
			return "only it knows node " + s.name(line.ID)
		}
	}
	for _, ours := range s.first.nodes {
		theirs, known := seen.byID[ours.ID]
		name := s.name(ours.ID)
		switch {
		case !known:
			return "it does not know node " + name
		case theirs.Role() != ours.Role():
			return fmt.Sprintf("node %s is a %s to it, not a %s", name, orNeither(theirs.Role()), orNeither(ours.Role()))
		case theirs.PrimaryID != ours.PrimaryID:
			return fmt.Sprintf("the replica %s follows another primary", name)
		case theirs.Slots != ours.Slots:
			moved := theirs.Slots.Minus(ours.Slots).Union(ours.Slots.Minus(theirs.Slots))
			return fmt.Sprintf("whether node %s owns slots %s", name, moved)
		case ours.Role() == RolePrimary && theirs.ConfigEpoch != ours.ConfigEpoch:
			// Only a primary's own epoch counts: a replica's line repeats its
			// primary's, and lags.
			return fmt.Sprintf("node %s has config epoch %d, not %d", name, theirs.ConfigEpoch, ours.ConfigEpoch)
		}
	}
	return ""
}

func orNeither(r Role) Role { return cmp.Or(r, "node without a role") }

// topology builds what the first view says, with what each node said of itself.
func (s *surveyed) topology(v *verdict) *Topology {
	t := &Topology{}
	for _, seen := range s.views {
		epoch, _ := strconv.ParseUint(seen.state.Text("cluster_current_epoch"), 10, 64)
		t.CurrentEpoch = max(t.CurrentEpoch, epoch)
	}
	nodes := slices.Clone(s.first.nodes)
	slices.SortFunc(nodes, func(a, b NodeLine) int { return cmp.Compare(a.ID, b.ID) })
	at := map[string]int{}
	for _, node := range nodes {
		if node.Role() == RolePrimary && !v.missed[node.ID] {
			t.Shards = append(t.Shards, Shard{Slots: node.Slots, Primary: s.member(node)})
		}
	}
	slices.SortStableFunc(t.Shards, func(a, b Shard) int { return cmp.Compare(firstSlot(a), firstSlot(b)) })
	for i, shard := range t.Shards {
		at[shard.Primary.ID] = i
	}
	for _, node := range nodes {
		if node.Role() != RoleReplica {
			continue
		}
		i, found := at[node.PrimaryID]
		if !found {
			v.add(CodeOrphan, "node "+s.name(node.ID), "it is a replica, but its primary %q is not a primary of this cluster", node.PrimaryID)
			continue
		}
		t.Shards[i].Replicas = append(t.Shards[i].Replicas, s.member(node))
	}
	return t
}

func firstSlot(shard Shard) int {
	for n := range shard.Slots.All() {
		return n
	}
	return slot.Count // after all that own something
}

func (s *surveyed) member(node NodeLine) Member {
	m := Member{
		ID: node.ID, Addr: s.addr(node.ID), BusPort: node.BusPort, Hostname: node.Hostname,
		Role: node.Role(), PrimaryID: node.PrimaryID, ConfigEpoch: node.ConfigEpoch,
	}
	if seen := s.views[node.ID]; seen != nil {
		seen.describe(&m)
	}
	return m
}
