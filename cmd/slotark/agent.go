package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/slotark/slotark/internal/agent"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/preflight"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// agentFlags are those of who speaks to agents, and of agents themselves.
type agentFlags struct {
	urls   []string
	files  agent.Files
	listen string
}

// addAgentFlags are those of who speaks to agents.
func (a *app) addAgentFlags(set *pflag.FlagSet) {
	set.StringArrayVar(&a.flags.agents.urls, "agent", nil, "the agent beside a node, by the node's announced address: `HOST:PORT=https://HOST:PORT`; may be repeated")
	a.addAgentFiles(set)
}

func (a *app) addAgentFiles(set *pflag.FlagSet) {
	f := &a.flags.agents.files
	set.StringVar(&f.CA, "agent-ca", "", "who signs the certificates of agents and coordinators: PEM `FILE` of the authority")
	set.StringVar(&f.Cert, "agent-cert", "", "this machine's certificate among agents and coordinators, PEM `FILE`")
	set.StringVar(&f.Key, "agent-key", "", "the key of --agent-cert, PEM `FILE`")
}

func newAgentCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Capture beside a node, for coordinators elsewhere, until stopped",
		Long: `Wait beside a node for coordinators (slotark snapshot, slotark serve) that have it
captured: dumps are inspected, sealed and put straight into the stores from here,
and never cross the coordinator's machine.

An agent does only what its own settings allow: it captures the nodes of --node
(cluster.nodes), reads the folders of --data-dir and no other (of a node without
one it takes the dump over the wire), puts into its own stores, for its own
cluster and recipients, and removes nothing but what a failed job of its own has
put. Passwords and credentials are its own: none are sent to it, or by it. It restores
(slotark restore --through-agents) only nodes that agents.nodes gives it commands for.

Both sides prove themselves by certificates of one private authority (--agent-ca).
docs/agent.md tells how to make them, and shows a unit for systemd. SIGINT or
SIGTERM lets what is under way come to its end for 30 s, then removes it.
` + exitStatus,
		Example: `  slotark agent --config /etc/slotark/agent.yaml
  slotark agent --listen 10.0.1.10:7600 --agent-ca ca.pem --agent-cert node.pem --agent-key node.key \
    --node 10.0.1.10:6379 --data-dir 10.0.1.10:6379=/var/lib/redis --repo 's3://acme-eu/redis?region=eu-west-1'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd.Context(), a, cmd) },
	}
	cmd.Flags().StringVar(&a.flags.agents.listen, "listen", "", "where coordinators connect: `HOST:PORT`")
	a.addAgentFiles(cmd.Flags())
	a.addDataDirFlag(cmd.Flags())
	a.addSealFlags(cmd.Flags())
	return cmd
}

func runAgent(ctx context.Context, a *app, cmd *cobra.Command) error {
	s, err := a.settings(ctx, cmd, needCluster|needStores|needWrites|needLocks)
	if err != nil {
		return err
	}
	if s.Agents.Listen == "" {
		return hint.Add(usageError{errors.New("no address to listen on was named")}, "name one: --listen HOST:PORT, or agents.listen in --config FILE")
	}
	sealer, err := s.Repository.Seal.Sealer()
	if err != nil {
		return usageError{err}
	}
	files := s.Agents.Files()
	if err := files.Check(); err != nil {
		return usageError{err}
	}
	allow := agent.Allow{Cluster: s.Cluster.Name, Nodes: s.Cluster.Nodes, Seal: manifest.SealOf(sealer.Lock())}
	for _, store := range s.stores {
		allow.Stores = append(allow.Stores, store.Name)
	}
	hosts, err := s.hosts(a)
	if err != nil {
		return usageError{err}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Agents.Listen)
	if err != nil {
		return fmt.Errorf("listen for coordinators: %w", err)
	}
	log := a.logger()
	server := agent.NewServer(agent.Options{
		Files: files, Version: "slotark " + version, Allow: allow, Grace: s.Agents.Grace, Logger: log, Hosts: hosts,
		Look: func(ctx context.Context, node string, aof bool) ([]preflight.Finding, error) {
			return lookBeside(ctx, a, s, node, aof)
		},
		Open: func(ctx context.Context, o snapshot.Order) (*agent.Workshop, error) {
			access, err := a.access(s.Config) // anew for each job: passwords rotate
			if err != nil {
				return nil, err
			}
			repository, err := catalog.Join(ctx, s.stores)
			if err != nil {
				return nil, err
			}
			writer, err := repository.Begin(o.Mirroring)
			if err != nil {
				return nil, err
			}
			shop := &agent.Workshop{Writer: writer, Stores: s.stores, Collect: snapshot.CollectStream, Report: new(progress.Func)}
			if s.Snapshot.DataDirs[o.Source.Addr] != "" {
				shop.Collect = snapshot.CollectAuto
			}
			shop.Capturer = &snapshot.Pipeline{Access: access, Writer: writer, Sealer: sealer, Folders: s.Snapshot.DataDirs, Machine: agent.Machine(),
				Progress: func(e progress.Event) { shop.Report.Emit(e) }}
			return shop, nil
		},
	})
	repairAtStart(ctx, a, s, log)
	log.Info("agent ready", "version", version, "listen", listener.Addr().String(), "cluster", allow.Cluster, "nodes", allow.Nodes,
		"stores", allow.Stores, "protocol", agent.Protocol)
	err = server.Serve(ctx, listener)
	log.Info("stopped")
	return err
}

// repairAtStart puts in order what jobs have left whose agent was killed: a node
// must not go without rewrites until somebody asks for its append-only files
// again.
func repairAtStart(ctx context.Context, a *app, s *settings, log *slog.Logger) {
	for _, node := range s.Cluster.Nodes {
		folder := s.Snapshot.DataDirs[node]
		if folder == "" {
			continue
		}
		access, err := a.access(s.Config)
		found := false
		if err == nil {
			found, err = collect.Repair(ctx, access, node, folder)
		}
		switch {
		case err != nil:
			log.Warn("could not look for what a killed job has left", "node", node, "folder", folder, "error", err)
		case found:
			log.Info("put in order what a killed job has left", "node", node, "folder", folder)
		}
	}
}

// lookBeside looks at a node as a job would find it.
func lookBeside(ctx context.Context, a *app, s *settings, node string, aof bool) ([]preflight.Finding, error) {
	access, err := a.access(s.Config) // anew each time: passwords rotate
	if err != nil {
		return nil, err
	}
	source := preflight.Source{Addr: node, Way: preflight.Stream, Folder: s.Snapshot.DataDirs[node]}
	if source.Folder != "" {
		source.Way = preflight.Folder
	} else if aof {
		return nil, hint.Add(errors.New("it has no data folder of the node, and so no append-only files"), "name it where the agent runs: --data-dir ADDR=FOLDER")
	}
	return preflight.Beside(ctx, access, source, aof)
}

// agents are those that the settings name, by the nodes they are beside.
func (s *settings) agents() (map[string]*agent.Client, error) {
	if len(s.Agents.URLs) == 0 {
		return nil, nil
	}
	files := s.Agents.Files()
	if err := files.Check(); err != nil {
		return nil, usageError{err}
	}
	agents, clients := map[string]*agent.Client{}, map[string]*agent.Client{}
	for node, url := range s.Agents.URLs {
		if clients[url] == nil {
			client, err := agent.NewClient(url, files)
			if err != nil {
				return nil, usageError{err}
			}
			clients[url] = client
		}
		agents[node] = clients[url]
	}
	return agents, nil
}

// overrideAgents lays the flags about agents over the configuration.
func (f *agentFlags) override(c *config.Agents, given func(string) bool) error {
	for name, pair := range map[string]struct{ value, into *string }{
		"agent-ca": {&f.files.CA, &c.CA}, "agent-cert": {&f.files.Cert, &c.Cert}, "agent-key": {&f.files.Key, &c.Key}, "listen": {&f.listen, &c.Listen},
	} {
		if given(name) {
			*pair.into = *pair.value
		}
	}
	if !given("agent") {
		return nil
	}
	pairs, err := addressPairs("agent", "https://HOST:PORT", f.urls)
	c.URLs = pairs
	return err
}
