package restore_test

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/agent"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/host"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// oddNames are files of other names than a server gives them by itself.
var oddNames = []string{"dbfilename data.rdb", "cluster-config-file my-nodes.conf", "appendfilename my.aof", "appenddirname aof"}

// throughAgents restores by agents, onto nodes of which some run and some do not, some
// load a dump and some append-only files, and some have other names for them.
func throughAgents(t *testing.T, d *divided, o restore.Options) (*restore.Result, []string) {
	t.Helper()
	var services []*clustertest.Service
	for i := range d.shardsOf(o) + spares {
		config := []string{`save ""`, "enable-debug-command yes"}
		if o.AOF || i%2 == 0 {
			config = append(config, "appendonly yes", "aof-load-truncated no")
		}
		if i%3 == 0 {
			config = append(config, oddNames...)
		}
		services = append(services, clustertest.NewService(t, clustertest.ServiceOptions{Binary: d.binary, Password: password, Config: config}))
		if i%3 == 0 || i%2 == 0 || o.AOF { // else it is as its agent expects it of a node that does not run
			services[i].Run(t)
		}
	}
	o.Hosts = agentsBeside(t, d.snapshot, services, nil)
	for _, s := range services {
		o.To = append(o.To, s.Addr)
	}
	result, err := restore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if result.Comparison == nil || !result.Comparison.Equal() {
		t.Errorf("comparison %+v", result.Comparison)
	}
	return result, o.To
}

// agentsBeside are the agents of services, each by its own connection: by the nodes'
// addresses.
func agentsBeside(t *testing.T, s *catalog.Snapshot, services []*clustertest.Service, change func(*host.Node)) map[string]restore.Host {
	t.Helper()
	trust := clustertest.NewAuthority(t)
	files := func(name string, usage x509.ExtKeyUsage) agent.Files {
		cert, key := trust.Issue(t, clustertest.Certificate{Name: name, Usages: []x509.ExtKeyUsage{usage}})
		return agent.Files{CA: trust.File, Cert: cert, Key: key}
	}
	allow := agent.Allow{Cluster: "prod"}
	nodes, hosts := map[string]restore.Host{}, map[string]restore.Host{}
	for _, service := range services {
		allow.Nodes = append(allow.Nodes, service.Addr)
		node := &host.Node{Addr: service.Addr, Folder: service.Dir, Names: host.DefaultNames, Stop: service.Stop, Start: service.Start,
			Access: func() (*cluster.Access, error) { return access(), nil },
			Find:   func(context.Context, manifest.ID) (*catalog.Snapshot, error) { return s, nil },
		}
		if change != nil {
			change(node)
		}
		nodes[service.Addr] = node
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := agent.NewServer(agent.Options{Files: files("agent", x509.ExtKeyUsageServerAuth), Version: "slotark test", Allow: allow, Hosts: nodes, Grace: 2 * time.Second,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	client, err := agent.NewClient("https://"+listener.Addr().String(), files("coordinator", x509.ExtKeyUsageClientAuth))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		cancel()
		<-ended
	})
	for _, service := range services {
		hosts[service.Addr] = client
	}
	return hosts
}
