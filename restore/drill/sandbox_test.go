package drill

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/manifest"
)

func TestSandboxGivesEmptyNodesAndRemovesThem(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, root string) {
		o := newTestOrder(t, root)
		began := time.Now()
		s := provision(t, p, o)
		t.Logf("%s in %s", s.Describe(), time.Since(began).Round(time.Millisecond))
		if len(s.Nodes()) != 6 {
			t.Fatalf("%d nodes, want 3 primaries and 3 replicas", len(s.Nodes()))
		}
		stranger := &cluster.Access{NAT: s.Access().NAT}
		for _, addr := range s.Nodes() {
			node := s.Access().Open(addr)
			defer node.Close()
			if err := node.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if keys, err := node.Int(t.Context(), "DBSIZE"); err != nil || keys != 0 {
				t.Errorf("DBSIZE of %s: %d, %v; want an empty node", addr, keys, err)
			}
			if got := known(t, s, addr); got != 1 {
				t.Errorf("%s knows %d nodes, want itself only", addr, got)
			}
			without := stranger.Open(addr)
			defer without.Close()
			if err := without.Ping(t.Context()); !errors.Is(err, cluster.ErrAuth) {
				t.Errorf("ping %s without the password: %v; want a refusal", addr, err)
			}
		}
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("check of a whole sandbox: %v", err)
		}
		began = time.Now()
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("removed in %s", time.Since(began).Round(time.Millisecond))
		if rest := left(t, p, o); len(rest) > 0 {
			t.Errorf("left behind: %v", rest)
		}
	})
}

// known is the number of nodes that a node knows.
func known(t *testing.T, s Sandbox, addr string) int64 {
	t.Helper()
	node := s.Access().Open(addr)
	defer node.Close()
	text, err := node.Text(t.Context(), "CLUSTER", "INFO")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "cluster_known_nodes:"); found {
			number, _ := strconv.ParseInt(value, 10, 64)
			return number
		}
	}
	t.Fatalf("CLUSTER INFO of %s: %q", addr, text)
	return 0
}

func TestNoSecretOnCommandLineOrInEngine(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, root string) {
		o := newTestOrder(t, root)
		s := provision(t, p, o)
		commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range commands {
			if text, err := os.ReadFile(command); err == nil && strings.Contains(string(text), o.secret.Reveal()) {
				t.Errorf("the password stands in %s: %q", command, text)
			}
		}
		c, ok := s.(*containers)
		if !ok {
			return
		}
		for _, node := range c.nodes {
			got, err := node.ctr.Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(strings.Join(append(got.Config.Env, got.Config.Cmd...), " "), o.secret.Reveal()) {
				t.Errorf("the password stands in what the engine shows of %s", node.name)
			}
		}
		info, err := os.Stat(c.folder.path)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("drill folder: %v, %v; want 0700", info.Mode(), err)
		}
	})
}

// A Docker network that is "internal" let a container reach every address of
// its host; so there is none.
func TestContainersCannotReachAnything(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	// A stand-in for production that listens on every address of this host.
	production, err := redisproc.Start(t.Context(), redisproc.Options{
		Dir: t.TempDir(), Host: "0.0.0.0", Args: []string{"--protected-mode", "no"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = production.Kill() })
	s := provision(t, p, newTestOrder(t, t.TempDir())).(*containers)

	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(production.Port())
	tried := 0
	for _, node := range s.nodes {
		// Control: the client works, and does reach what it may reach.
		if code, out := runIn(t, node, "redis-cli", "-h", strings.Split(s.nodes[0].addr, ":")[0], "ping"); code != 0 && !strings.Contains(out, "NOAUTH") {
			t.Fatalf("ping another node from %s: %d %s", node.name, code, out)
		}
		for _, addr := range append(addrs, &net.IPNet{IP: net.IPv4(192, 0, 2, 77)}) {
			ip, ok := addr.(*net.IPNet)
			if !ok || ip.IP.To4() == nil {
				continue
			}
			tried++
			if code, out := runIn(t, node, "redis-cli", "-h", ip.IP.String(), "-p", port, "ping"); strings.Contains(out, "PONG") || code == 0 {
				t.Errorf("%s reached %s:%s: %s", node.name, ip.IP, port, out)
			}
		}
		got, err := node.ctr.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name := range got.NetworkSettings.Networks {
			if name != "none" {
				t.Errorf("%s is on network %s", node.name, name)
			}
		}
		if ports := got.NetworkSettings.Ports; len(ports) > 0 {
			t.Errorf("%s publishes %v", node.name, ports)
		}
		if h := got.HostConfig; !h.ReadonlyRootfs || h.Memory != s.order.memory || len(h.CapDrop) != 1 || h.Privileged || got.Config.User != "999:999" {
			t.Errorf("%s runs as %q with %+v", node.name, got.Config.User, h)
		}
	}
	if tried < 12 {
		t.Fatalf("only %d addresses were tried", tried)
	}
	// Nor does its access lead to anything else: an address out of a node's map, say.
	outside := s.Access().Open(net.JoinHostPort("127.0.0.1", port))
	defer outside.Close()
	if err := outside.Ping(t.Context()); !errors.Is(err, cluster.ErrUnreachable) || !strings.Contains(err.Error(), "the drill has no node") {
		t.Errorf("the access of a drill led out of it: %v", err)
	}
}

func runIn(t *testing.T, node *containerNode, command ...string) (int, string) {
	t.Helper()
	code, out, err := node.ctr.Exec(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text)
}

// await looks until it sees what is awaited.
func await(t *testing.T, what string, seen func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for !seen() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func TestTwoSandboxesDoNotMeet(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, root string) {
		a, b := newTestOrder(t, root), newTestOrder(t, root)
		first, second := provision(t, p, a), provision(t, p, b)
		for _, s := range []Sandbox{first, second} {
			host, port, _ := net.SplitHostPort(s.Nodes()[1])
			node := s.Access().Open(s.Nodes()[0])
			defer node.Close()
			if _, err := node.Do(t.Context(), "CLUSTER", "MEET", host, port); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []Sandbox{first, second} {
			await(t, "the nodes to meet", func() bool { return known(t, s, s.Nodes()[1]) == 2 })
			for _, addr := range s.Nodes() {
				if got := known(t, s, addr); got > 2 {
					t.Errorf("%s knows %d nodes, want the two that met at most", addr, got)
				}
			}
		}
		crossed := &cluster.Access{Password: a.secret, NAT: second.Access().NAT}
		node := crossed.Open(second.Nodes()[0])
		defer node.Close()
		if err := node.Ping(t.Context()); !errors.Is(err, cluster.ErrAuth) {
			t.Errorf("one sandbox's password on the other: %v; want a refusal", err)
		}
		// What is in use stays, whoever sweeps; what is removed is only one's own.
		if err := sweep(t.Context(), p.engine, root, a.owner, discard); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := second.Check(t.Context()); err != nil {
			t.Errorf("after the other was removed: %v", err)
		}
	})
}

func TestCancelledProvisioningLeavesNothing(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, root string) {
		for _, delay := range []time.Duration{0, 20, 100, 250, 400, 600} {
			o := newTestOrder(t, root)
			ctx, cancel := context.WithTimeout(t.Context(), delay*time.Millisecond)
			s, err := p.provision(ctx, o)
			cancel()
			if err == nil {
				if err := closeSandbox(ctx, s); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("cancelled after %d ms: %v; want the context's error", delay, err)
			}
			if rest := left(t, p, o); len(rest) > 0 {
				t.Errorf("cancelled after %d ms, left behind: %v", delay, rest)
			}
		}
	})
}

// A drill that is killed can clean up nothing itself. The next one does.
func TestSweepRemovesWhatAKilledDrillLeft(t *testing.T) {
	for _, moment := range []string{"while provisioning", "when ready"} {
		t.Run(moment, func(t *testing.T) {
			eachRuntime(t, func(t *testing.T, p *place, root string) {
				o := newTestOrder(t, root)
				child := exec.Command(os.Args[0])
				child.Env = append(os.Environ(), childVariable+"="+string(p.runtime), childRoot+"="+root, childID+"="+string(o.id))
				child.Stderr = os.Stderr
				out, err := child.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := child.Start(); err != nil {
					t.Fatal(err)
				}
				if moment == "when ready" {
					if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
						t.Fatal("the child did not provision: ", err)
					}
				} else {
					await(t, "the child to begin", func() bool { return len(left(t, p, o)) >= 3 })
				}
				// While it lives, nobody touches what is its.
				before := left(t, p, o)
				if err := sweep(t.Context(), p.engine, root, o.owner, discard); err != nil {
					t.Fatal(err)
				}
				if after := left(t, p, o); len(after) < len(before) {
					t.Errorf("the sweep took from a live drill: %d things, then %d", len(before), len(after))
				}
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = child.Wait()
				if len(left(t, p, o)) == 0 {
					t.Fatal("a killed drill left nothing: the test tests nothing")
				}
				// A server process may take a moment to be gone from /proc, and the
				// engine may be making containers still: a drill sweeps twice.
				for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && len(left(t, p, o)) > 0; {
					if err := sweep(t.Context(), p.engine, root, o.owner, discard); err != nil {
						t.Fatal(err)
					}
					<-time.After(20 * time.Millisecond)
				}
				if rest := left(t, p, o); len(rest) > 0 {
					t.Errorf("left behind: %v", rest)
				}
			})
		})
	}
}

func TestCheckNamesADeadNode(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, root string) {
		s := provision(t, p, newTestOrder(t, root))
		switch s := s.(type) {
		case *containers:
			if err := s.nodes[2].ctr.Stop(t.Context(), new(time.Duration)); err != nil {
				t.Fatal(err)
			}
		case *processes:
			if err := s.nodes[2].Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Check(t.Context()); err == nil {
			t.Error("a dead node was not noticed")
		} else if strings.Count(err.Error(), "\n") > 12 {
			t.Errorf("more than the one node: %v", err)
		}
	})
}

func TestProvisioningFailureIsExplained(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	broken := *p
	broken.image.server = "redis-cli" // ends at once: it cannot connect
	o := newTestOrder(t, t.TempDir())
	_, err := broken.provision(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "slotark-drill-"+string(o.id)+"-1") {
		t.Fatalf("got %v; want an error that names the container", err)
	}
	t.Log(err)
	if rest := left(t, p, o); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
}

func TestNewOrder(t *testing.T) {
	m := &manifest.Manifest{Server: testServer, Shards: []manifest.Shard{
		{Replicas: 3, Dump: manifest.Dump{UsedMemory: 100 << 20}},
		{Replicas: 0, Dump: manifest.Dump{UsedMemory: 1, File: manifest.File{Bytes: 50 << 20}}},
	}}
	o := newOrder("20260131T020000Z-x7k2p9", owner{}, m, 0, AsTaken)
	if o.shards != 2 || o.nodes != 3 {
		t.Errorf("%d shards, %d nodes; want 2 and 3", o.shards, o.nodes)
	}
	if want := int64(memoryBase + 3*200<<20); o.memory != want {
		t.Errorf("memory %d, want %d", o.memory, want)
	}
	if got := o.describe("processes"); got != "2 + 1 processes" {
		t.Errorf("described as %q", got)
	}
	for _, c := range []struct{ shards, replicas, nodes int }{{1, AsTaken, 2}, {5, AsTaken, 6}, {5, 0, 5}, {0, 4, 6}, {3, 3, 6}} {
		if o := newOrder("", owner{}, m, c.shards, c.replicas); o.nodes != c.nodes || c.shards == 1 && o.memory != memoryBase+2*3*200<<20 {
			t.Errorf("%+v: %d nodes of %d shards, %d bytes each", c, o.nodes, o.shards, o.memory)
		}
	}
	m.Shards[0].Dump.UsedMemory = 1 << 62
	if o := newOrder("", owner{}, m, 0, AsTaken); o.memory <= 0 {
		t.Errorf("memory %d of a manifest that lies", o.memory)
	}
}
