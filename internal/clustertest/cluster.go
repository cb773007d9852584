package clustertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
)

const (
	// readyLimit is how long a cluster may take to become whole: seconds on an
	// idle machine, more where many tests share few cores.
	readyLimit = 60 * time.Second
	// startTries is how often the picked ports may turn out to be taken.
	startTries = 5
	host       = "127.0.0.1"
)

// Options describe a cluster.
type Options struct {
	Primaries int    // 0 is 3
	Replicas  int    // in total; they are spread over the primaries in turn
	Password  string // of the default user, and of Username
	Username  string // a further user with all rights, whom Access then uses
	TLS       bool   // nodes speak TLS only, with certificates made for this test
	Binary    string // "" is what redisproc.Find finds

	// Slots are the primaries' slots; nil shares all 16384 out evenly. Slots
	// nobody owns make a cluster with a hole: set AllowUnhealthy too.
	Slots []slot.Set
	// AllowUnhealthy starts the nodes and does not wait for cluster_state:ok.
	AllowUnhealthy bool

	// ExtraArgs are server arguments for every node, after the defaults:
	// "--appendonly", "yes".
	ExtraArgs []string
	// Config are lines of every node's configuration file, such as ACL users.
	Config []string
	// Announce, if set, gives what node i announces, when it listens on port.
	Announce func(i, port int) redisproc.Announce
}

// defaults keep tests quick and quiet: no dump unless a test asks for one,
// full syncs without the usual delay, failures noticed in two seconds.
var defaults = []string{
	"--cluster-enabled", "yes",
	"--cluster-config-file", "nodes.conf",
	"--cluster-node-timeout", "2000",
	"--repl-diskless-sync", "yes",
	"--repl-diskless-sync-delay", "0",
	"--appendonly", "no",
	"--save", "",
}

// Cluster is a running cluster. Its nodes' roles are those it was started with.
type Cluster struct {
	Nodes []*Node // the primaries by first slot, then the replicas

	options Options
	certs   *certificates
	mu      sync.Mutex
	clients []*redis.ClusterClient
}

// Node is one server of the cluster.
type Node struct {
	ID      string
	Proc    *redisproc.Process
	Primary *Node    // a replica's; nil for a primary
	Slots   slot.Set // a primary's

	options redisproc.Options
}

// Addr is where the node listens.
func (n *Node) Addr() string { return n.Proc.Addr() }

// IsReplica tells a replica from a primary, as they were started.
func (n *Node) IsReplica() bool { return n.Primary != nil }

// Start starts a cluster, waits until it is whole, and removes it when the test
// ends.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Primaries == 0 {
		o.Primaries = 3
	}
	if o.Binary == "" {
		binary, err := redisproc.Find()
		if err != nil {
			t.Fatalf("%v: run `make deps` to install what the tests need", err)
		}
		o.Binary = binary
	}
	if o.Slots == nil {
		o.Slots = share(o.Primaries)
	}
	c := &Cluster{options: o}
	if o.TLS {
		c.certs = makeCertificates(t)
	}
	t.Cleanup(c.close)
	for try := 1; ; try++ {
		err := c.launch(t.Context(), t.TempDir())
		if err == nil {
			break
		}
		c.Kill()
		// The error's chain does not tell a taken port from the outside: with
		// fixed ports that is the caller's business, and here it is bad luck.
		if try == startTries || t.Context().Err() != nil || !redisproc.IsPortTaken(err) {
			t.Fatalf("start cluster: %v", err)
		}
	}
	if !o.AllowUnhealthy {
		c.WaitHealthy(t)
	}
	return c
}

// share gives each of n primaries its part of the slots.
func share(n int) []slot.Set {
	parts := make([]slot.Set, n)
	for i := range parts {
		parts[i] = slot.SetOf(slot.Range{First: i * slot.Count / n, Last: (i+1)*slot.Count/n - 1})
	}
	return parts
}

// launch starts all nodes, in parallel, with a nodes.conf that already names
// them all.
func (c *Cluster) launch(ctx context.Context, dir string) error {
	o := c.options
	ports, err := redisproc.FreePorts(host, o.Primaries+o.Replicas)
	if err != nil {
		return err
	}
	c.Nodes = nil
	for i, port := range ports {
		node := &Node{ID: newID()}
		if i < o.Primaries {
			node.Slots = o.Slots[i]
		} else {
			node.Primary = c.Nodes[(i-o.Primaries)%o.Primaries]
		}
		node.options = redisproc.Options{
			Binary: o.Binary, Dir: filepath.Join(dir, strconv.Itoa(port)), Host: host, Port: port,
			Args: append(append([]string{}, defaults...), o.ExtraArgs...),
			// Config lines come before the arguments and give way to them.
			Config: append(c.userLines(), o.Config...), Password: o.Password,
		}
		if o.TLS {
			node.options.TLS = c.certs.files()
		}
		if o.Announce != nil {
			node.options.Announce = o.Announce(i, port)
		}
		c.Nodes = append(c.Nodes, node)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, node := range c.Nodes {
		group.Go(func() error {
			if err := c.writeNodesConf(node); err != nil {
				return err
			}
			var err error
			node.Proc, err = redisproc.Start(ctx, node.options)
			return err
		})
	}
	return group.Wait()
}

// userLines define the further user, on every node.
func (c *Cluster) userLines() []string {
	if c.options.Username == "" {
		return nil
	}
	return []string{fmt.Sprintf("user %s on >%s ~* &* +@all", c.options.Username, c.options.Password)}
}

// writeNodesConf writes what a node of this cluster would have written itself.
func (c *Cluster) writeNodesConf(self *Node) error {
	if err := os.MkdirAll(self.options.Dir, 0o700); err != nil {
		return err
	}
	var text string
	for i, node := range c.Nodes {
		announced, port, bus := host, node.options.Port, node.options.Port+redisproc.BusOffset
		if a := node.options.Announce; a != (redisproc.Announce{}) {
			announced, port, bus = or(a.Host, announced), or(a.Port, port), or(a.BusPort, bus)
		}
		flags, primary, epoch, slots := "master", "-", i+1, ""
		if node.IsReplica() {
			flags, primary, epoch = "slave", node.Primary.ID, 0
		}
		if node == self {
			flags = "myself," + flags
		}
		for _, r := range node.Slots.Ranges() {
			slots += " " + r.String()
		}
		text += fmt.Sprintf("%s %s:%d@%d %s %s 0 0 %d connected%s\n", node.ID, announced, port, bus, flags, primary, epoch, slots)
	}
	text += fmt.Sprintf("vars currentEpoch %d lastVoteEpoch 0\n", c.options.Primaries)
	return os.WriteFile(filepath.Join(self.options.Dir, "nodes.conf"), []byte(text), 0o600)
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Restart starts a node again that was stopped or killed, on its port and in
// its folder.
func (c *Cluster) Restart(t testing.TB, node *Node) {
	t.Helper()
	proc, err := redisproc.Start(t.Context(), node.options)
	if err != nil {
		t.Fatalf("restart node: %v", err)
	}
	node.Proc = proc
}

// Kill kills every node, as a power cut would.
func (c *Cluster) Kill() {
	for _, node := range c.Nodes {
		if node.Proc != nil {
			_ = node.Proc.Kill()
		}
	}
}

func (c *Cluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		_ = client.Close()
	}
	c.Kill()
}

// Addrs are the addresses the nodes listen on, the primaries' first.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// Primaries are the nodes that were started as primaries, by first slot.
func (c *Cluster) Primaries() []*Node { return c.Nodes[:c.options.Primaries] }

// Replicas are the nodes that were started as replicas.
func (c *Cluster) Replicas() []*Node { return c.Nodes[c.options.Primaries:] }

// Access is how to reach the nodes. Each call gives a value of its own, for
// the test to change.
func (c *Cluster) Access() *cluster.Access {
	return &cluster.Access{
		Username: c.options.Username, Password: cluster.Secret(c.options.Password),
		TLS: c.clientTLS(), Timeout: 10 * time.Second,
	}
}

func (c *Cluster) clientTLS() *tls.Config {
	if c.certs == nil {
		return nil
	}
	return c.certs.client.Clone()
}

// CertFiles are the PEM files of a TLS cluster: CA, certificate and key, good
// for nodes and clients.
func (c *Cluster) CertFiles() (ca, cert, key string) { return c.certs.ca, c.certs.cert, c.certs.key }

// Client is a cluster client, closed when the test ends.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs(), Username: c.options.Username, Password: c.options.Password,
		TLSConfig: c.clientTLS(), DisableIdentity: true, Protocol: 2,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients = append(c.clients, client)
	return client
}

// WaitHealthy waits until every living node finds the cluster whole and every
// living replica is linked to its primary.
func (c *Cluster) WaitHealthy(t testing.TB) {
	t.Helper()
	Eventually(t, readyLimit, func(ctx context.Context) error {
		for _, node := range c.Nodes {
			select {
			case <-node.Proc.Done():
				continue
			default:
			}
			if err := c.checkNode(ctx, node); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkNode looks at one node: the links between the nodes too, for a
// topology is asked for as soon as the cluster is up.
func (c *Cluster) checkNode(ctx context.Context, node *Node) error {
	client := c.Access().Open(node.Addr())
	defer func() { _ = client.Close() }()
	state, err := client.Text(ctx, "CLUSTER", "INFO")
	if err != nil {
		return err
	}
	info := cluster.ParseInfo(state)
	if info.Text("cluster_state") != "ok" || info.Int("cluster_slots_ok") != slot.Count ||
		int(info.Int("cluster_known_nodes")) != len(c.Nodes) {
		return fmt.Errorf("node %s: cluster_state %s", node.Addr(), info.Text("cluster_state"))
	}
	replication, err := client.Info(ctx, "replication")
	if err != nil {
		return err
	}
	if replication.Text("role") == "slave" && replication.Text("master_link_status") != "up" {
		return errors.New("replica " + node.Addr() + " is not linked yet")
	}
	return nil
}

// Eventually calls check every 20 ms until it returns nil. After limit it fails
// the test with check's last error.
func Eventually(t testing.TB, limit time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not so within %s: %v", limit, err)
		case <-ticker.C:
		}
	}
}
