package preflight

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/human"
)

// right is an ACL rule, and how to find out whether the user has it: a command
// that needs it and does nothing. Servers look at the rights before they look at
// the arguments, so one with wrong arguments is refused for these only where it
// is allowed.
type right struct {
	rule string
	ask  []any // nil: it cannot be tried
}

// looking are the rights that finding the topology takes.
var looking = []right{
	{"+info", []any{"INFO", "server"}},
	{"+cluster|nodes", []any{"CLUSTER", "NODES"}},
	{"+cluster|info", []any{"CLUSTER", "INFO"}},
	{"+cluster|shards", []any{"CLUSTER", "SHARDS"}},
}

// taking are the rights that getting a dump out of a node takes.
var taking = map[Way][]right{
	Stream: {
		{"+time", []any{"TIME"}},
		{"+replconf", []any{"REPLCONF"}},
		{"+psync", askPSYNC},
		{"+sync", nil}, // goes with +psync
	},
	Folder: {
		{"+time", []any{"TIME"}},
		{"+bgsave", []any{"BGSAVE", "slotark-asks"}}, // a syntax error
		{"+config|get", []any{"CONFIG", "GET", "dir"}},
	},
}

// appending are the rights that append-only files take besides: of who collects,
// and of a coordinator of agents, who puts back what these could not.
var appending = []right{
	{"+config|get", []any{"CONFIG", "GET", "dir"}},
	{"+config|set", []any{"CONFIG", "SET", "auto-aof-rewrite-percentage", "slotark-asks"}}, // no number
}

// takes are the rights that getting all that is wanted out of a node takes.
func (o Options) takes(way Way) []right {
	rights := slices.Clone(taking[way])
	for _, r := range appending {
		if o.AOF && way != Stream && !slices.ContainsFunc(rights, func(has right) bool { return has.rule == r.rule }) {
			rights = append(rights, r)
		}
	}
	return rights
}

// keeping are the rights that keeping the nodes' settings takes: without them a
// snapshot is whole, and lacks these. ACL LIST and MODULE LIST take no argument
// that could be wrong, so they are asked as they are; nothing is kept of the
// answer.
var keeping = []right{
	{"+config|get", []any{"CONFIG", "GET", "dir"}},
	{"+acl|list", []any{"ACL", "LIST"}},
	{"+module|list", []any{"MODULE", "LIST"}},
	{"+function|list", []any{"FUNCTION", "LIST", "slotark-asks"}},
}

// askPSYNC is refused twice over: while replies to commands before it wait to be
// sent ("invalid with pending output"), and for its offset, which is no number
// (7.0 and later; before, a wrong offset was answered with a full sync, so
// there it is not asked).
var askPSYNC = []any{"PSYNC", "?", "slotark-asks"}

// Rules are the ACL rules that looking at the cluster and getting dumps out of
// it take, as docs/access.md lists them.
func Rules(way Way) []string { return Options{}.rules(way) }

func (o Options) rules(way Way) []string {
	var rules []string
	for _, r := range append(slices.Clone(looking), o.takes(way)...) {
		rules = append(rules, r.rule)
	}
	return rules
}

// setUser is the command that gives a user what it needs and takes nothing away.
func setUser(user string, rules []string) string {
	name := user
	if user == "" || user == "default" {
		name = "slotark on >PASSWORD" // the default user is everybody's: a user of our own
	}
	return fmt.Sprintf("ACL SETUSER %s %s", name, strings.Join(rules, " "))
}

// refused tells whether a reply means that the user may not run the command,
// and whether it means that the server has it not at all.
func refused(reply any) (denied, off bool) {
	err, failed := reply.(error)
	if !failed {
		return false, false
	}
	var answer cluster.ServerError
	return cluster.IsCode(err, "NOPERM"), errors.As(err, &answer) && answer.IsUnknownCommand()
}

// rights judges what the user may do, on the nodes that would be asked and,
// where a failover would make them the ones to ask, on the others.
func (j *judgement) rights(nodes []*node, o Options) {
	nobody := !slices.ContainsFunc(nodes, func(n *node) bool { return n.source != nil })
	for _, n := range nodes {
		j.missing(n, n.source != nil || nobody, o)
		if len(n.off) > 0 && n.source != nil {
			j.of("command-off", n.Addr, "the server does not know %s, which collecting by %s takes", human.List(n.off), n.way)
		}
	}
}

// settings judges whether the user may read what a snapshot keeps of the nodes'
// settings.
func (j *judgement) settings(nodes []*node, o Options) {
	var rules []string
	for _, n := range nodes {
		if len(n.unkept) == 0 {
			continue
		}
		j.of("settings-rights", n.Addr, "user %s may not read all that a snapshot keeps of its settings: %s", o.Access.User(), strings.Join(n.unkept, " "))
		for _, rule := range n.unkept {
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	j.advise("settings-rights", "Run on every node, or take snapshots with --keep-settings none: %s", setUser(o.Access.Username, rules))
}

// missing tells of the rights that a node does not give, if any.
func (j *judgement) missing(n *node, needed bool, o Options) {
	if len(n.missing) == 0 {
		return
	}
	code, when := "rights", ""
	if !needed {
		code, when = "rights-elsewhere", ": a snapshot fails once this node is to give the dump, after a failover"
	}
	user := o.Access.Username
	if user == "" {
		user = "default"
	}
	j.of(code, n.Addr, "user %s lacks %s%s", user, strings.Join(n.missing, " "), when)
	j.list[len(j.list)-1].Cause = cluster.ErrAuth
	j.advise(code, "Run on every node: %s", setUser(o.Access.Username, o.rules(n.way)))
}
