package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

const (
	nodePort     = 6379
	nodeFolder   = "/slotark" // in the container: the node's folder here
	nodeSocket   = "socket"
	nodeConfig   = "node.conf"
	processLimit = 128 // threads and children of one node: some 10 are usual

	// startLimit bounds one call to the engine, and readyLimit a node's first
	// PONG. Both take well under a second on an idle machine.
	startLimit = 2 * time.Minute
	readyLimit = time.Minute
	readyRetry = 20 * time.Millisecond

	// parallelStarts keeps a large drill from drowning the engine.
	parallelStarts = 8
)

// containers is a sandbox of one container a node, in one network namespace
// without any network.
type containers struct {
	order  order
	engine *engine
	image  image
	folder folder
	nodes  []*containerNode
}

type containerNode struct {
	name   string // the container's
	addr   string // announced: "127.77.0.1:6379"
	dir    string // the node's folder, here
	tunnel *tunnel
	ctr    testcontainers.Container // nil until created
}

// provisionContainers starts the nodes of an order. Where that fails or ctx
// ends, nothing is left.
func provisionContainers(ctx context.Context, e *engine, img image, o order) (_ Sandbox, err error) {
	s := &containers{order: o, engine: e, image: img}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeSandbox(ctx, s))
		}
	}()
	if s.folder, err = makeFolder(o.root, o.id, o.owner); err != nil {
		return nil, err
	}
	for i := range o.nodes {
		node, err := s.prepare(ctx, i)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, node)
	}
	// The first container brings the network namespace: the kernel makes one
	// with a process, and the engine gives it no network. The others join it.
	// It is waited for alone, because what is wrong with it is wrong with all,
	// and its own words say it best.
	anchor := s.nodes[0]
	if err := s.start(ctx, anchor, "none"); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelStarts)
	for _, node := range s.nodes[1:] {
		group.Go(func() error {
			return s.start(groupCtx, node, container.NetworkMode("container:"+anchor.ctr.GetContainerID()))
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare makes a node's folder, its configuration and the way into it.
func (s *containers) prepare(ctx context.Context, i int) (*containerNode, error) {
	number := strconv.Itoa(i + 1)
	// Each node has a loopback address of its own, as if it were a host, and a
	// place in 127/8 that no production cluster announces.
	ip := fmt.Sprintf("127.77.%d.%d", (i+1)/250, (i+1)%250+1)
	node := &containerNode{
		name: fmt.Sprintf("slotark-drill-%s-%s", s.order.id, number),
		addr: net.JoinHostPort(ip, strconv.Itoa(nodePort)),
		dir:  filepath.Join(s.folder.path, number),
	}
	if err := os.Mkdir(node.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make node folder: %w", err)
	}
	config := filepath.Join(node.dir, nodeConfig)
	// private: the folder above is 0700 and gone with the drill, so no crash
	// leaves half a file that anybody reads.
	if err := os.WriteFile(config, []byte(s.order.containerConfig(ip)), 0o600); err != nil {
		return nil, fmt.Errorf("write node configuration: %w", err)
	}
	// The server runs as another user, whose number here depends on the
	// engine. It is let in by mode; strangers are kept out by the folder above.
	for path, mode := range map[string]os.FileMode{node.dir: 0o777, config: 0o444} {
		if err := os.Chmod(path, mode); err != nil {
			return nil, fmt.Errorf("open node folder to its server: %w", err)
		}
	}
	var err error
	node.tunnel, err = openTunnel(ctx, node.dir, nodeSocket)
	return node, err
}

// containerConfig is a node's configuration file. The password is in a file
// because a command line can be read by everybody.
func (o order) containerConfig(ip string) string {
	lines := append([]string{
		"port " + strconv.Itoa(nodePort),
		"bind " + ip,
		"cluster-announce-ip " + ip,
		"unixsocket " + nodeFolder + "/" + nodeSocket,
		"unixsocketperm 777",
		"dir " + nodeFolder,
		"requirepass " + o.secret.Reveal(),
		"masterauth " + o.secret.Reveal(),
	}, o.settings()...)
	return strings.Join(lines, "\n") + "\n"
}

// start creates and starts one node's container and waits until it answers.
func (s *containers) start(ctx context.Context, node *containerNode, mode container.NetworkMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// A cancelled request does not stop the engine, which may make the container
	// after the tear-down looked for it. So these two calls are waited for.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
	defer cancel()
	created, err := s.engine.provider.CreateContainer(limited, s.request(node, mode))
	if err != nil {
		return fmt.Errorf("create container %s: %w", node.name, err)
	}
	node.ctr = created
	if err := created.Start(limited); err != nil {
		return fmt.Errorf("start container %s: %w", node.name, err)
	}
	return s.ready(ctx, node)
}

// request is the container of one node: no network but the namespace's, no
// capability, no root, no way to write but its own folder.
func (s *containers) request(node *containerNode, mode container.NetworkMode) testcontainers.ContainerRequest {
	processes := int64(processLimit)
	return testcontainers.ContainerRequest{
		Image:      s.image.name,
		Name:       node.name,
		Labels:     s.order.labels(),
		Entrypoint: []string{s.image.server},
		Cmd:        []string{nodeFolder + "/" + nodeConfig},
		ConfigModifier: func(c *container.Config) {
			c.User = fmt.Sprintf("%d:%d", nodeUser, nodeUser)
			c.WorkingDir = nodeFolder
			c.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		},
		HostConfigModifier: func(h *container.HostConfig) {
			h.NetworkMode = mode
			// Z: where SELinux is on, the folder is relabelled for this container.
			h.Binds = []string{node.dir + ":" + nodeFolder + ":Z"}
			h.ReadonlyRootfs = true
			h.CapDrop = []string{"ALL"}
			h.SecurityOpt = []string{"no-new-privileges"}
			h.Resources = container.Resources{Memory: s.order.memory, PidsLimit: &processes}
			h.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m"}}
		},
		// Whatever network testcontainers takes for the engine's default.
		EndpointSettingsModifier: func(settings map[string]*network.EndpointSettings) { clear(settings) },
	}
}

// ready waits for a node's first PONG.
func (s *containers) ready(ctx context.Context, node *containerNode) error {
	limited, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	again := time.NewTicker(readyRetry)
	defer again.Stop()
	// First that anybody listens, without a word: a client refused a few times
	// would rest for a second.
	for node.tunnel.probe(limited) != nil {
		select {
		case <-again.C:
		case <-limited.Done():
			return s.explain(ctx, node, limited.Err())
		}
		if state, err := node.ctr.State(limited); err == nil && !state.Running {
			return s.explain(ctx, node, errors.New("it ended at once"))
		}
	}
	client := s.Access().Open(node.addr)
	err := client.Ping(limited)
	if err = errors.Join(err, client.Close()); err != nil {
		return s.explain(ctx, node, err)
	}
	return nil
}

// explain says why a node is not ready, with the end of its log.
func (s *containers) explain(ctx context.Context, node *containerNode, reason error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := fmt.Errorf("wait for container %s: %w%s", node.name, reason, s.logTail(ctx, node))
	return hint.Add(err, "see that the image runs "+s.image.server+", and that the engine can bind folders of "+s.order.root)
}

// logTailBytes is enough for the lines in which a server says why it ends.
const logTailBytes = 600

func (s *containers) logTail(ctx context.Context, node *containerNode) string {
	limited, cancel := context.WithTimeout(ctx, detectLimit)
	defer cancel()
	logs, err := node.ctr.Logs(limited)
	if err != nil {
		return ""
	}
	defer logs.Close()
	text, err := io.ReadAll(io.LimitReader(logs, 1<<20))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return ""
	}
	return "; its log ends: " + string(bytes.TrimSpace(text[max(0, len(text)-logTailBytes):]))
}

func (s *containers) Nodes() []string {
	addrs := make([]string, len(s.nodes))
	for i, node := range s.nodes {
		addrs[i] = node.addr
	}
	return addrs
}

func (s *containers) Access() *cluster.Access {
	nat, tunnels := cluster.NAT{}, map[string]*tunnel{}
	for _, node := range s.nodes {
		nat[node.addr], tunnels[node.addr] = node.tunnel.addr(), node.tunnel
	}
	return &cluster.Access{Password: s.order.secret, NAT: nat, Timeout: answerLimit,
		Connect: func(ctx context.Context, addr string) (net.Conn, error) {
			to, known := tunnels[addr]
			if !known {
				return nil, fmt.Errorf("the drill has no node %s", addr)
			}
			return to.dial(ctx)
		}}
}

func (s *containers) Check(ctx context.Context) error {
	var stopped []error
	for _, node := range s.nodes {
		state, err := node.ctr.State(ctx)
		switch {
		case err != nil:
			stopped = append(stopped, fmt.Errorf("inspect container %s: %w", node.name, err))
		case state.OOMKilled:
			stopped = append(stopped, fmt.Errorf("container %s was killed: it needed more than its %d MiB of memory", node.name, s.order.memory>>20))
		case !state.Running:
			stopped = append(stopped, fmt.Errorf("container %s ended with code %d%s", node.name, state.ExitCode, s.logTail(ctx, node)))
		}
	}
	return errors.Join(stopped...)
}

func (s *containers) Describe() string { return s.order.describe("containers of " + s.image.name) }

// Close asks the engine what carries the drill's label, rather than trusting
// what is known here, and removes the folder last: the sweep finds the rest by
// either.
func (s *containers) Close(ctx context.Context) error {
	var failures []error
	for _, node := range s.nodes {
		if node.tunnel != nil {
			failures = append(failures, node.tunnel.close())
			node.tunnel = nil
		}
	}
	if err := s.engine.removeDrill(ctx, s.order.id); err != nil {
		return errors.Join(append(failures, err)...)
	}
	if s.folder.path != "" {
		failures = append(failures, s.folder.remove())
	}
	return errors.Join(failures...)
}
