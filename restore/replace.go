package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	// Never advise to flush what may be somebody's cluster, and never print the
	// name that is to be typed.
	hintMember = "Restore into empty nodes that belong to no cluster: give other addresses. Only to destroy what these hold: --replace with the name of the snapshot's cluster."
	hintEmpty  = "Restore into empty nodes. Where what these hold may be lost: --replace with the name of the snapshot's cluster."
	hintLive   = "This is the cluster itself, not a copy: what it holds now is newer than the snapshot, and would be gone. Only if that is meant: --replace-live-source as well."
	hintName   = "Type the name of the cluster that the snapshot is of, exactly as slotark list writes it."
	hintHalf   = "No half of a cluster is emptied: give all its nodes, so that each has a place, or remove those that are gone for good with CLUSTER FORGET."
)

// Replacing is what a person has said about nodes that hold something. The zero
// value is: nothing may be lost.
type Replacing struct {
	// Name is the name of the snapshot's cluster, typed out. "" is not said.
	Name string
	// LiveSource: also where the nodes are the very cluster that the snapshot was
	// taken from.
	LiveSource bool
}

// Held is what a node has that a restore onto it would destroy.
type Held struct {
	Address   string
	Keys      uint64
	Replica   bool     // its keys are its primary's, too
	Libraries int      // of functions
	Others    []Member // of the cluster that it belongs to
	Source    bool     // that is the cluster the snapshot was taken from
	facts     []string // all of it in words, each the end of a sentence
}

// Member is another node of a cluster.
type Member struct{ ID, Address string }

// String is what the node has, in words: "holds 5 keys and is a replica".
func (h Held) String() string { return human.List(h.facts) }

// any tells whether there is something.
func (h *Held) any() bool { return len(h.facts) > 0 }

// Check refuses a name that is not the one which must be typed.
func (s Replacing) Check(m *manifest.Manifest) error {
	if s.Name == "" || s.Name == m.Cluster {
		return nil
	}
	return hint.Refuse(fmt.Errorf("--replace %q: the snapshot is of a cluster of another name", s.Name), hintName)
}

// objection is what stands against emptying one node, in words, and what to do
// about it. Nothing: it may be emptied, or is empty.
func (s Replacing) objection(h *Held) (facts []string, advice string) {
	switch {
	case !h.any():
		return nil, ""
	case s.Name == "" && len(h.Others) > 0:
		return h.facts, hintMember
	case s.Name == "":
		return h.facts, hintEmpty
	case h.Source && !s.LiveSource:
		return []string{factSource}, hintLive
	}
	return nil, ""
}

const factSource = "belongs to the live cluster this snapshot was taken from"

// halves objects to emptying nodes of clusters that have other nodes as well:
// these would be left with slots that nobody serves. ids are the targets' node ids.
func (s Replacing) halves(nodes []*Held, ids []string) []error {
	if s.Name == "" {
		return nil // that they belong to a cluster is the objection
	}
	var addresses []string
	for _, h := range nodes {
		addresses = append(addresses, h.Address)
	}
	var against []error
	named := map[string]bool{}
	for _, h := range nodes {
		var left []string
		for _, m := range h.Others {
			if !slices.Contains(ids, m.ID) && !slices.Contains(addresses, m.Address) && !named[m.ID] {
				named[m.ID] = true
				left = append(left, m.Address)
			}
		}
		if len(left) > 0 {
			slices.Sort(left)
			against = append(against, hint.Add(fmt.Errorf("%s belongs to a cluster with %s, which %s not among the targets", h.Address, human.List(left),
				plural(len(left), "is", "are")), hintHalf))
		}
	}
	return against
}

// look asks a node what it holds. info is its INFO.
func (t *target) look(ctx context.Context, info cluster.Info, m *manifest.Manifest) error {
	replies, err := t.node.Pipeline(ctx, [][]any{{"CLUSTER", "INFO"}, {"CLUSTER", "NODES"}})
	if err != nil {
		return err
	}
	state, _ := replies[0].(string)
	text, _ := replies[1].(string)
	nodes, err := cluster.ParseNodes(text)
	if err != nil {
		return fmt.Errorf("ask %s for its nodes: %w", t.addr(), err)
	}
	at := slices.IndexFunc(nodes, func(n cluster.NodeLine) bool { return n.Has("myself") })
	if at < 0 {
		return fmt.Errorf("ask %s for its nodes: it does not list itself", t.addr())
	}
	t.announced, t.id = nodes[at], nodes[at].ID
	libraries, err := t.libraries(ctx)
	if err != nil {
		return err
	}
	t.held = heldBy(t.addr(), info, cluster.ParseInfo(state), nodes, m)
	t.held.hasFunctions(libraries)
	return nil
}

// heldBy is what a node holds, by its INFO, CLUSTER INFO and CLUSTER NODES.
func heldBy(address string, info, state cluster.Info, nodes []cluster.NodeLine, m *manifest.Manifest) Held {
	h := Held{Address: address, Keys: keysIn(info)}
	if h.Keys > 0 {
		h.facts = append(h.facts, "holds "+human.Plural(h.Keys, "key"))
	}
	slots, source := 0, false
	for _, n := range nodes {
		source = source || slices.ContainsFunc(m.Topology.Nodes, func(of manifest.Node) bool { return of.ID == n.ID })
		switch {
		case n.Has("myself"):
			slots = n.Slots.Len()
		case n.Has("noaddr"): // who answers at its address is another by now
		default:
			h.Others = append(h.Others, Member{n.ID, n.Addr()})
		}
	}
	known := state.Int("cluster_known_nodes") - 1 // those that shake hands, too, which CLUSTER NODES hides
	belongs := len(h.facts)
	switch {
	case source && (known > 0 || slots > 0):
		h.Source = true
		h.facts = append(h.facts, factSource)
	case known > 0:
		h.facts = append(h.facts, "belongs to a cluster already: it knows "+human.Plural(known, "other node"))
	case slots > 0:
		h.facts = append(h.facts, "owns "+human.Plural(slots, "slot")+" already")
	}
	if info.Text("role") != "master" {
		h.Replica = true
		h.facts = append(h.facts, "is a replica")
	}
	// SET-CONFIG-EPOCH is refused by a node that has an epoch.
	if epoch := state.Int("cluster_my_epoch"); len(h.facts) == belongs && epoch != 0 {
		h.facts = append(h.facts, fmt.Sprintf("has been part of a cluster: its config epoch is %d", epoch))
	}
	return h
}

// hasFunctions adds libraries of functions to what a node holds.
func (h *Held) hasFunctions(libraries int) {
	if h.Libraries = libraries; libraries > 0 {
		h.facts = append(h.facts, fmt.Sprintf("has %d function %s", libraries, plural(libraries, "library", "libraries")))
	}
}

// libraries is how many libraries of functions a node has.
func (t *target) libraries(ctx context.Context) (int, error) {
	if r, _ := parseRelease(t.version); !r.atLeast(7, 0) {
		return 0, nil // no functions before 7.0
	}
	reply, err := t.node.Do(ctx, "FUNCTION", "LIST")
	list, _ := reply.([]any)
	return len(list), err
}

// keysIn adds up the keys of all databases: "db0:keys=5,expires=0,avg_ttl=0".
func keysIn(info cluster.Info) uint64 {
	var total uint64
	for field, value := range info {
		var db int
		var keys uint64
		if _, err := fmt.Sscanf(field, "db%d", &db); err != nil {
			continue
		}
		if _, err := fmt.Sscanf(value, "keys=%d", &keys); err == nil {
			total += keys
		}
	}
	return total
}

// holding are the targets that hold something.
func (r *run) holding() []*target {
	var all []*target
	for _, t := range r.targets {
		if t.held.any() {
			all = append(all, t)
		}
	}
	return all
}

// halved is [Replacing.halves] of the targets.
func (r *run) halved() []error {
	var nodes []*Held
	var ids []string
	for _, t := range r.targets {
		nodes, ids = append(nodes, &t.held), append(ids, t.id)
	}
	return r.Replacing.halves(nodes, ids)
}

// loses is what all targets hold together, in words; "" for nothing.
func (r *run) loses() string {
	var keys uint64
	libraries, nodes := 0, r.holding()
	for _, t := range nodes {
		if !t.held.Replica {
			keys += t.held.Keys
			libraries += t.held.Libraries
		}
	}
	if len(nodes) == 0 {
		return ""
	}
	parts := []string{human.Plural(keys, "key")}
	if libraries > 0 {
		parts = append(parts, fmt.Sprintf("%d function %s", libraries, plural(libraries, "library", "libraries")))
	}
	what := strings.Join(parts, " and ") + " on " + human.Plural(len(nodes), "node")
	if slices.ContainsFunc(nodes, func(t *target) bool { return t.held.Source }) {
		what += " of the live cluster that the snapshot was taken from"
	}
	return what
}
