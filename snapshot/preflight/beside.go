package preflight

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/human"
)

// Beside looks at one node from beside it, for a [Run] elsewhere: what the user
// may do that collects there, and what is seen of the machine. An error is that
// the node does not answer.
func Beside(ctx context.Context, access *cluster.Access, source Source, aof bool) ([]Finding, error) {
	o := Options{Access: access, Way: source.Way, AOF: aof, machine: &machine{root: "/", free: FreeBytes}}
	return o.beside(ctx, source)
}

func (o Options) beside(ctx context.Context, source Source) ([]Finding, error) {
	client := o.Access.Open(source.Addr)
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "server")
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", source.Addr, err)
	}
	n := &node{Member: cluster.Member{Addr: source.Addr, Version: info.Text("redis_version")}, source: &source, way: source.Way, info: cluster.Info{}}
	var names []string
	if n.way == Folder {
		names = []string{"dir", "dbfilename"}
	}
	o.try(ctx, n, o.takes(n.way), names, nil)
	n.here = o.machine.runs(o.Access, n)
	j := &judgement{nodes: 1}
	j.rights([]*node{n}, o)
	if n.way == Folder {
		if _, err := os.ReadDir(source.Folder); err != nil {
			j.of("no-folder", n.Addr, "its agent cannot read its data folder: %v", err)
		}
	}
	j.disk(n, o.machine)
	j.memory([]*node{n}, o.machine)
	return j.findings(), nil
}

// Seen says of which nodes the machines were looked at from beside them.
func (r *Report) Seen(nodes []string) {
	for i, f := range r.Findings {
		if f.Code != "elsewhere" {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(f.Nodes), func(node string) bool { return slices.Contains(nodes, node) })
		if len(left) == 0 {
			r.Findings = slices.Delete(r.Findings, i, i+1)
			return
		}
		r.Findings[i].Nodes, r.Findings[i].Subject = left, human.Plural(len(left), "node")
		return
	}
}
