package preflight

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

// Options says what to look at.
type Options struct {
	Access *cluster.Access
	Seeds  []string

	// Sources says which nodes would give the dumps. It is asked once, with the
	// topology of a cluster without problems. Its error is a finding.
	Sources func(context.Context, *cluster.Topology) ([]Source, error)
	// Way is how dumps are collected where no source says: what the rights are
	// named for when the cluster cannot even be looked at.
	Way    Way
	MaxLag int64 // bytes that a replica may be behind

	AOF      bool // the nodes' append-only files are to be taken, too
	Settings bool // the nodes' settings are to be kept in the snapshot

	// Advice looks for more than concerns a snapshot taken now: at all nodes,
	// their settings, and good practice.
	Advice bool

	machine *machine // what this program sees of where it runs; nil is the real one
}

// Source is a node that would give a dump.
type Source struct {
	Addr   string // announced
	Way    Way
	Folder string // where its data folder is seen from here; "" asks the node
}

// Way is how a dump gets out of a node.
type Way string

const (
	Folder Way = "bgsave" // BGSAVE, and the node's data folder
	Stream Way = "stream" // the replication stream
	Agent  Way = "agent"  // an agent beside the node, which has rights of its own
)

// Report is what was found.
type Report struct {
	// Topology of the cluster; where there are problems, as one node sees it; nil
	// where the cluster could not be looked at.
	Topology *cluster.Topology
	Sources  []Source
	Findings []Finding // errors first, then warnings, then advice
}

// Of are the findings of a severity.
func (r *Report) Of(s Severity) []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Severity != s })
}

// Refusal is why no snapshot is taken, in one error known as hint.ErrRefused;
// nil where one may be.
func (r *Report) Refusal() error { return refuse(r.Of(Error)) }

// Run looks at a cluster. An error is only that no seed leads to a cluster that
// may be asked; what is wrong with the cluster are findings.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.machine == nil {
		o.machine = &machine{root: "/", free: FreeBytes}
	}

	// Topology, with all that is wrong with it.
	topology, problems, err := cluster.Examine(ctx, o.Access, o.Seeds)
	if cluster.IsCode(err, "NOPERM") {
		return o.unseeable(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	report := &Report{Topology: topology}
	j := &judgement{nodes: len(topology.Members()), advice: o.Advice}
	o.tell(ctx, j, topology, problems)

	// Who would be asked: nobody, where a snapshot is refused anyway.
	if len(problems) == 0 && o.Sources != nil {
		if report.Sources, err = o.Sources(ctx, topology); err != nil {
			j.about("no-source", "cluster", "%v", err)
			j.advise("no-source", "%s", strings.Join(hint.Of(err), "; "))
		}
	}

	// Facts of every node, and what they mean.
	nodes, err := o.gather(ctx, topology, report.Sources)
	if err != nil {
		return nil, err
	}
	j.all(topology, nodes, o, len(problems) == 0)
	report.Findings = j.findings()
	if !o.Advice {
		report.Findings = slices.DeleteFunc(report.Findings, func(f Finding) bool { return !f.snapshot })
	}
	return report, nil
}

// all judges what the nodes said; the layout only of a sound topology.
func (j *judgement) all(topology *cluster.Topology, nodes []*node, o Options, sound bool) {
	j.rights(nodes, o)
	j.versions(nodes)
	for _, n := range nodes {
		j.saves(n)
		j.disk(n, o.machine)
	}
	j.memory(nodes, o.machine)
	if sound {
		j.lag(topology, o.MaxLag)
	}
	if o.Advice {
		j.settings(nodes, o)
		j.practice(topology, nodes, o, sound)
	}
}

// tell turns what internal/cluster found into findings. Where a node refuses a
// command that the topology takes, all rights that are missing there are named.
func (o Options) tell(ctx context.Context, j *judgement, topology *cluster.Topology, problems []cluster.Problem) {
	for _, p := range problems {
		if cluster.IsCode(p.Cause, "NOPERM") {
			n := o.probe(ctx, cluster.Member{Addr: p.Node}, o.Way)
			j.missing(n, true, o)
			continue
		}
		j.problem(p, Error)
	}
	for _, p := range topology.Warnings {
		j.problem(p, Warning)
	}
}

// unseeable is the report of a cluster whose seeds do not let us look.
func (o Options) unseeable(ctx context.Context, cause error) (*Report, error) {
	j := &judgement{}
	for _, seed := range o.Seeds {
		if n := o.probe(ctx, cluster.Member{Addr: seed}, o.Way); len(n.missing) > 0 {
			j.missing(n, true, o)
			return &Report{Findings: j.findings()}, nil
		}
	}
	return nil, errors.Join(cause, ctx.Err()) // the rights came meanwhile: say what it was
}
