package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/host"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// hosts are the nodes that this agent may restore.
func (s *settings) hosts(a *app) (map[string]restore.Host, error) {
	hosts := map[string]restore.Host{}
	for addr, node := range s.Agents.Nodes {
		folder := s.Snapshot.DataDirs[addr]
		switch {
		case !slices.Contains(s.Cluster.Nodes, addr):
			return nil, hint.Add(fmt.Errorf("agents.nodes[%s] is none of the nodes that this agent is beside", addr), "name it in cluster.nodes, or remove it")
		case folder == "":
			return nil, hint.Add(fmt.Errorf("agents.nodes[%s]: the node's data folder is not known", addr), "name it in snapshot.data_dirs")
		}
		hosts[addr] = &host.Node{
			Addr: addr, Folder: folder, Names: namesOf(node), Stop: node.Stop, Start: node.Start,
			Access: func() (*cluster.Access, error) { return a.access(s.Config) }, // anew each time: passwords rotate
			Find: func(ctx context.Context, id manifest.ID) (*catalog.Snapshot, error) {
				repository, err := catalog.Open(ctx, s.stores)
				if err != nil {
					return nil, err
				}
				snapshot, err := repository.Find(ctx, s.Cluster.Name, string(id))
				if err != nil {
					return nil, err
				}
				return snapshot, s.unlock(a, snapshot)
			},
		}
	}
	return hosts, nil
}

// namesOf are what a node's configuration calls its files.
func namesOf(n config.AgentNode) host.Names {
	of := host.DefaultNames
	return host.Names{
		Dump: cmp.Or(n.DBFilename, of.Dump), Nodes: cmp.Or(n.ClusterConfigFile, of.Nodes),
		AppendFolder: cmp.Or(n.AppendDirname, of.AppendFolder), AppendFile: cmp.Or(n.AppendFilename, of.AppendFile), AppendOnly: n.AppendOnly,
	}
}

// restorers are the agents of the nodes that are restored onto.
func (s *settings) restorers() (map[string]restore.Host, error) {
	agents, err := s.agents()
	if err != nil {
		return nil, err
	}
	if len(agents) == 0 {
		return nil, hint.Add(usageError{fmt.Errorf("--through-agents: no agents are named")}, "name them: --agent ADDR=https://HOST:PORT for each node, or agents.urls in --config FILE")
	}
	hosts := map[string]restore.Host{}
	for node, client := range agents {
		hosts[node] = client
	}
	return hosts, nil
}
