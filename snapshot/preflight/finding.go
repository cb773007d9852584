package preflight

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
)

// Severity is what a finding means for a snapshot.
type Severity string

const (
	Error   Severity = "error"   // a snapshot is refused
	Warning Severity = "warning" // a snapshot is taken and is poor, or the cluster is in danger
	Info    Severity = "info"    // advice
)

var severities = []Severity{Error, Warning, Info}

// Finding is one thing that is not as it should be.
type Finding struct {
	Code     string // one of Codes
	Severity Severity
	Subject  string   // "node 10.0.0.1:6379", "slots 42", "all 6 nodes", "cluster"
	Detail   string   // what is wrong, without the subject
	Advice   string   // what to do, as a sentence
	Nodes    []string // announced addresses, where it is of nodes
	Cause    error    // what a node answered, where it is about that

	snapshot bool // it concerns a snapshot taken now
}

func (f Finding) String() string { return f.Subject + ": " + f.Detail }

// rule is what all findings of a code have in common.
type rule struct {
	severity Severity
	snapshot bool // it concerns a snapshot taken now, and is looked for before each
	advice   string
}

// rules are this package's own codes; those of internal/cluster stand beside.
var rules = map[string]rule{
	"rights":           {Error, true, ""}, // its advice is the ACL rules
	"command-off":      {Error, true, "Collect in another way (--collect), or give the command back its name (rename-command)."},
	"no-source":        {Error, true, ""},
	"no-agent":         {Error, true, "Start slotark agent beside that node and name it: --agent HOST:PORT=https://HOST:PORT; or let --collect auto take another way."},
	"agent-down":       {Warning, false, "Start slotark agent there: once this node is to give a dump, it is collected in another way, or with --collect agent not at all."},
	"no-folder":        {Warning, true, "Let the user that the agent runs as read the folder: its dump comes over the wire until then, and its append-only files cannot be taken."},
	"rights-elsewhere": {Warning, false, ""}, // each try that is denied is noted down by a node that is not needed
	"settings-rights":  {Warning, false, ""}, // a snapshot tells it itself
	"disk-full":        {Warning, true, "Free some of that disk: its save will fail, and another node of the shard is asked; or collect over the wire, from nodes with repl-diskless-sync yes: --collect stream."},
	"disk-room":        {Warning, true, "Free some of that disk before its data grows."},
	"save-failed":      {Warning, true, "Look at its log: most often its disk is full, its folder cannot be written, or fork had no memory."},
	"writes-refused":   {Warning, true, "Mend its disk or memory and run BGSAVE; or let it write meanwhile: CONFIG SET stop-writes-on-bgsave-error no."},
	"rewrite-failed":   {Warning, true, "Look at its log, mend its disk or memory, and run BGREWRITEAOF."},
	"aof-failed":       {Warning, true, "Free some of its disk: it cannot write its append-only file."},
	"fork-memory":      {Warning, true, "Free some memory on that machine, or let a replica on another one give the dump."},
	"overcommit-none":  {Warning, true, "Set vm.overcommit_memory = 1 on that machine: without it a fork is refused as soon as its memory is promised twice."},
	"mixed-versions":   {Warning, true, "Bring all nodes to one version: a dump of the newer cannot be read by the older."},
	"old-version":      {Warning, true, "Bring the nodes to Redis 7.0, Valkey 7.2 or later: what is older was never tried."},
	"new-version":      {Warning, true, "Look for a newer slotark: one that does not know the format of a dump refuses it."},
	"replica-lag":      {Warning, true, "Look at the replica's load and its network; --max-lag says how far behind one may be to give the dump."},
	"no-checksum":      {Warning, false, "CONFIG SET rdbchecksum yes where the server has it as a setting to change, else in its file: without it a flipped bit in a dump cannot be seen."}, // as settings-rights

	"saving":         {Info, false, "Nothing: a snapshot waits until it has ended."},
	"rewriting":      {Info, false, "Nothing: a snapshot from its folder waits until it has ended."},
	"stop-writes":    {Info, false, "Watch rdb_last_bgsave_status; or collect over the wire, which writes to no disk of a node: --collect stream."},
	"fork-room":      {Info, false, "Leave as much memory free as a node uses, or take dumps from replicas on machines that have it."},
	"overcommit":     {Info, false, "Set vm.overcommit_memory = 1 on that machine, as Redis' own log asks for."},
	"huge-pages":     {Info, false, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: else each write after a fork copies 2 MiB."},
	"modules":        {Info, false, "Have the same modules wherever a snapshot is restored. Their values are checked for their structure, not for what they mean."},
	"databases":      {Info, false, "Restore only into servers that have these databases (Valkey 9: cluster-databases)."},
	"unseen":         {Info, false, ""},
	"elsewhere":      {Info, false, "Run slotark doctor on those machines too, for these."},
	"few-primaries":  {Info, false, "Use at least three primaries: with fewer, one that is lost takes the majority with it and no replica takes over."},
	"no-replica":     {Info, false, "Give each primary a replica on another machine: without one its slots are lost with it."},
	"one-host":       {Info, false, "Spread the nodes over machines, and those over zones: this one takes the whole cluster with it."},
	"same-host":      {Info, false, "Move the replica to another machine: this one takes both copies with it."},
	"no-password":    {Info, false, "Set requirepass and masterauth, or users (ACL SETUSER default off), and keep the ports off public networks."},
	"unprotected":    {Info, false, "CONFIG SET protected-mode yes, or set a password and bind to the addresses that are meant."},
	"no-persistence": {Info, false, "Set save points or appendonly yes: a node that restarts comes back empty, and its replicas empty themselves after it."},
	"node-timeout":   {Info, false, "Set cluster-node-timeout to about 15000: much less takes a pause for a failure, much more waits long for a failover."},
	"full-coverage":  {Info, false, "Where part of the data is better than none, set cluster-require-full-coverage no: now one lost shard stops all."},
	"no-maxmemory":   {Info, false, "Set maxmemory below what the machine has, with room for a fork: else the kernel ends the node when memory does."},
	"maxmemory-room": {Info, false, "Lower maxmemory so that a fork has room: writes during a save copy up to as much again."},
	"eviction":       {Info, false, "Nothing, if it is a cache. A snapshot holds what was not evicted; for data, use maxmemory-policy noeviction."},
	"replica-buffer": {Info, false, "Raise client-output-buffer-limit replica (hard and soft) to what is written during a full sync: else it never comes to its end."},
	"backlog":        {Info, false, "Raise repl-backlog-size to hold what is written in some minutes: else each short break of a link costs a full sync, and a fork."},
	"fragmentation":  {Info, false, "CONFIG SET activedefrag yes, or restart the replicas one by one and fail over to them."},

	"store-down":    {Error, true, "Check the address, the credentials and the network; slotark storage check tries a store out."},
	"mirror-down":   {Warning, false, "Check the address, the credentials and the network; what it misses is brought up by slotark mirror sync."}, // as settings-rights
	"no-repository": {Info, false, "Nothing: the first snapshot makes it."},
}

// Codes are the codes of findings, by severity, those of internal/cluster with them.
func Codes() map[Severity][]string {
	problems, warnings := cluster.Codes()
	codes := map[Severity][]string{Error: problems, Warning: warnings}
	for code, r := range rules {
		codes[r.severity] = append(codes[r.severity], code)
	}
	for _, list := range codes {
		slices.Sort(list)
	}
	return codes
}

// judgement collects findings.
type judgement struct {
	nodes  int  // of the cluster
	advice bool // all nodes are looked at, and not only those that would be asked
	list   []Finding
}

// of is a finding of one node.
func (j *judgement) of(code, node, format string, args ...any) {
	j.list = append(j.list, j.finding(code, "", []string{node}, fmt.Sprintf(format, args...)))
}

// about is a finding of something else.
func (j *judgement) about(code, subject, format string, args ...any) {
	j.list = append(j.list, j.finding(code, subject, nil, fmt.Sprintf(format, args...)))
}

func (j *judgement) finding(code, subject string, nodes []string, detail string) Finding {
	r := rules[code]
	return Finding{Code: code, Severity: r.severity, Subject: subject, Detail: detail, Advice: r.advice, Nodes: nodes, snapshot: r.snapshot}
}

// advise gives the findings of a code, which have none, their advice.
func (j *judgement) advise(code, format string, args ...any) {
	for i := range j.list {
		if j.list[i].Code == code && j.list[i].Advice == "" {
			j.list[i].Advice = fmt.Sprintf(format, args...)
		}
	}
}

// NoAgent is the finding of a node whose agent cannot capture it: an error where
// the agent is to give the shard's dump.
func NoAgent(addr, detail string, needed bool) Finding {
	code := "agent-down"
	if needed {
		code = "no-agent"
	}
	return (&judgement{}).finding(code, "node "+addr, []string{addr}, strings.ReplaceAll(detail, "\n", "; "))
}

// problem is what internal/cluster found.
func (j *judgement) problem(p cluster.Problem, severity Severity) {
	f := Finding{Code: p.Code, Severity: severity, Subject: p.Subject, Detail: p.Detail, Advice: p.Advice(), Cause: p.Cause, snapshot: true}
	if p.Node != "" {
		f.Nodes = []string{p.Node}
	}
	j.list = append(j.list, f)
}

// findings are all, errors first, each told once: what is the same of several
// nodes becomes one finding, in the words of the first.
func (j *judgement) findings() []Finding {
	var all []Finding
	for _, f := range j.list {
		at := slices.IndexFunc(all, func(g Finding) bool {
			_, own := rules[f.Code]
			return own && g.Code == f.Code && len(f.Nodes) > 0 && len(g.Nodes) > 0 && (f.Severity != Error || f.Detail == g.Detail)
		})
		if at < 0 {
			all = append(all, f)
			continue
		}
		all[at].Nodes, all[at].Subject = append(slices.Clone(all[at].Nodes), f.Nodes...), ""
	}
	for i, f := range all {
		if f.Subject == "" {
			all[i].Subject = j.name(f.Nodes)
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	return all
}

// name is how a person reads which nodes.
func (j *judgement) name(nodes []string) string {
	switch n := len(nodes); {
	case n == 1:
		return "node " + nodes[0]
	case n == j.nodes:
		return fmt.Sprintf("all %d nodes", n)
	case n <= 3:
		return "nodes " + human.List(nodes)
	default:
		return fmt.Sprintf("nodes %s, %s and %d more", nodes[0], nodes[1], n-2)
	}
}

// refusal is why a snapshot is not taken: all errors, in one line.
type refusal struct{ errors []Finding }

// toldErrors bounds the line of a cluster in which everything is wrong.
const toldErrors = 8

func (r *refusal) Error() string {
	var told []string
	for _, f := range r.errors[:min(toldErrors, len(r.errors))] {
		told = append(told, f.String())
	}
	text := "check cluster: " + strings.Join(told, "; ")
	if more := len(r.errors) - toldErrors; more > 0 {
		text += fmt.Sprintf(" (and %d more: slotark doctor names them)", more)
	}
	return text
}

// Unwrap gives what a program may want to tell apart. The causes themselves stay
// out: they have advice of their own, and it would be told twice.
func (r *refusal) Unwrap() []error {
	var kinds []error
	for _, kind := range []error{cluster.ErrAuth, cluster.ErrNotCluster} {
		if slices.ContainsFunc(r.errors, func(f Finding) bool { return errors.Is(f.Cause, kind) }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// refuse is the error that names all errors, known as [hint.ErrRefused], with
// the advice of each once; nil where there are none.
func refuse(found []Finding) error {
	if len(found) == 0 {
		return nil
	}
	var advice []string
	for _, f := range found {
		if !slices.Contains(advice, f.Advice) {
			advice = append(advice, f.Advice)
		}
	}
	err := hint.Refuse(&refusal{found}, advice[len(advice)-1])
	for _, a := range slices.Backward(advice[:len(advice)-1]) {
		err = hint.Add(err, a)
	}
	return err
}
