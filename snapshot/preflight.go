package snapshot

import (
	"context"
	"slices"
	"sync"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/preflight"
)

// Examination is what a snapshot would meet.
type Examination struct {
	*preflight.Report
	Plan []Chosen // the node that would give each shard's dump, by first slot
}

// Examine looks at a cluster as the first step of [Take] does, and beyond that
// where it falls short of good practice. It changes nothing, in the cluster or
// in the stores.
func Examine(ctx context.Context, o Options) (*Examination, error) {
	o = o.withDefaults()
	ctx, cancel := o.limited(ctx)
	defer cancel()
	r := &run{Options: o}
	report, err := r.preflight(ctx, true)
	if err != nil {
		return nil, err
	}
	r.agents(ctx, report)
	e := &Examination{Report: report}
	e.Plan = r.plan(report.Sources)
	return e, nil
}

// agents has every agent look at its node, and tells of the nodes whose dumps are
// to come by agents that are not there. A snapshot finds out when it hands them
// their jobs.
func (r *run) agents(ctx context.Context, report *preflight.Report) {
	if report.Topology == nil {
		return
	}
	var wait sync.WaitGroup
	members := report.Topology.Members()
	found, seen := make([][]preflight.Finding, len(members)), make([]bool, len(members))
	for i, member := range members {
		needed := slices.ContainsFunc(report.Sources, func(s preflight.Source) bool { return s.Addr == member.Addr && s.Way == preflight.Agent })
		agent := r.Agents[member.Addr]
		switch {
		case agent == nil && needed:
			found[i] = []preflight.Finding{preflight.NoAgent(member.Addr, "no agent is named for it", true)}
		case agent != nil && member.Reachable:
			wait.Go(func() {
				findings, err := agent.Examine(ctx, r.Cluster, member.Addr, r.AOF)
				if found[i], seen[i] = findings, err == nil; err != nil {
					found[i] = []preflight.Finding{preflight.NoAgent(member.Addr, "its agent is not ready: "+err.Error(), needed)}
				}
			})
		}
	}
	wait.Wait()
	report.Add(slices.Concat(found...))
	var looked []string
	for i, member := range members {
		if seen[i] {
			looked = append(looked, member.Addr)
		}
	}
	report.Seen(looked)
}

// preflight looks at the cluster, and chooses one node for each shard where
// nothing is wrong with its topology.
func (r *run) preflight(ctx context.Context, advice bool) (*preflight.Report, error) {
	way := preflight.Stream
	switch r.Collect {
	case CollectBgsave:
		way = preflight.Folder
	case CollectAgent:
		way = preflight.Agent
	}
	report, err := preflight.Run(ctx, preflight.Options{
		Access: r.Access, Seeds: r.Seeds, Way: way, MaxLag: r.MaxLag, Advice: advice, AOF: r.AOF, Settings: r.Settings != SettingsNone,
		Sources: func(ctx context.Context, topology *cluster.Topology) (_ []preflight.Source, err error) {
			if r.choices, err = choose(topology, r.Options); err != nil {
				return nil, err
			}
			return r.sources(ctx), nil
		},
	})
	if err != nil {
		return nil, err
	}
	r.topology = report.Topology
	for _, f := range report.Of(preflight.Warning) {
		r.warnings = append(r.warnings, manifest.Finding{Code: f.Code, Severity: string(f.Severity), Subject: f.Subject, Detail: f.Detail})
	}
	return report, nil
}

// planned is what a dry run comes to.
func (r *run) planned(sources []preflight.Source) *Result {
	result := r.result(r.manifest(nil))
	result.Plan = r.plan(sources)
	return result
}

// plan is which node would give each shard's dump, and how.
func (r *run) plan(sources []preflight.Source) []Chosen {
	var plan []Chosen
	for i, c := range r.choices {
		chosen := c.chosen()
		if i < len(sources) {
			chosen.Way = wayOf(sources[i].Way)
		}
		plan = append(plan, chosen)
	}
	return plan
}

// sources are the chosen nodes, each with the way by which its dump comes out.
func (r *run) sources(ctx context.Context) []preflight.Source {
	var sources []preflight.Source
	for _, c := range r.choices {
		source := preflight.Source{Addr: c.source.Addr, Way: preflight.Stream, Folder: r.Folders[c.source.Addr]}
		agent := r.Agents[source.Addr]
		switch {
		case r.Collect == CollectAgent,
			r.Collect == CollectAuto && agent != nil && agent.Ready(ctx, r.Cluster, source.Addr) == nil:
			source.Way = preflight.Agent
		case byFolder(ctx, r.Access, r.Collect, source.Addr, source.Folder):
			source.Way = preflight.Folder
		}
		sources = append(sources, source)
	}
	return sources
}

// wayOf is a way of the preflight as manifests name it. How an agent collects is
// its own to say.
func wayOf(way preflight.Way) string {
	switch way {
	case preflight.Folder:
		return CollectBgsave
	case preflight.Agent:
		return CollectAgent
	default:
		return CollectStream
	}
}

// byFolder tells whether a node's dump is read from its data folder: where that
// is wanted, or may be and is on this machine.
func byFolder(ctx context.Context, access *cluster.Access, way, addr, folder string) bool {
	return way == CollectBgsave ||
		way == CollectAuto && (folder != "" || access.Local(addr)) && collect.Here(ctx, access, addr, folder)
}
