package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
)

// settled is how long a test waits for a cluster to notice a failure: several
// times the node timeout of two seconds.
const settled = 60 * time.Second

func discover(t *testing.T, c *clustertest.Cluster) *cluster.Topology {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

// do runs a command on one node of a test cluster.
func do(t *testing.T, c *clustertest.Cluster, n *clustertest.Node, args ...any) {
	t.Helper()
	node := c.Access().Open(n.Addr())
	defer func() { _ = node.Close() }()
	if _, err := node.Do(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// checkUnhealthy checks that a cluster was refused, and for what.
func checkUnhealthy(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	var unhealthy *cluster.UnhealthyError
	if !errors.As(err, &unhealthy) {
		t.Fatalf("got %v, want an UnhealthyError", err)
	}
	t.Log(err)
	if unhealthy.Problems[0].Code != code {
		t.Errorf("the first problem is %q, want %q: %v", unhealthy.Problems[0].Code, code, unhealthy.Problems)
	}
	checkError(t, err, hint.ErrRefused, words...)
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Replicas: 3, Password: password})
	topology := discover(t, c)
	if topology.Slots() != slot.Full() || len(topology.Shards) != 3 || topology.CurrentEpoch != 3 || len(topology.Warnings) != 0 {
		t.Fatalf("%+v", topology)
	}
	for i, shard := range topology.Shards {
		want, replica := c.Primaries()[i], c.Replicas()[i]
		p := shard.Primary
		if shard.Slots != want.Slots || p.ID != want.ID || p.Addr != want.Addr() || p.Role != cluster.RolePrimary ||
			p.BusPort != want.Proc.Port()+redisproc.BusOffset || p.ConfigEpoch != uint64(i+1) || p.PrimaryID != "" ||
			!p.Reachable || p.Loading || p.Engine != "redis" || p.Version == "" || len(p.RunID) != 40 || len(p.ReplID) != 40 {
			t.Errorf("primary %d: %+v", i, p)
		}
		if len(shard.Replicas) != 1 {
			t.Fatalf("shard %d has %d replicas", i, len(shard.Replicas))
		}
		r := shard.Replicas[0]
		if r.ID != replica.ID || r.Addr != replica.Addr() || r.Role != cluster.RoleReplica || r.PrimaryID != p.ID ||
			!r.Reachable || !r.LinkUp || r.SyncInProgress || r.LastIO < 0 || r.ReplID != p.ReplID {
			t.Errorf("replica %d: %+v", i, r)
		}
	}
	// Whatever node is asked, and with dead seeds before it: the same topology.
	for _, addr := range c.Addrs() {
		again, err := cluster.Discover(t.Context(), c.Access(), []string{closedPort(t), addr})
		if err != nil || again.Fingerprint() != topology.Fingerprint() {
			t.Errorf("asked at %s: %+v, %v", addr, again, err)
		}
	}
}

func TestDiscoverSeeds(t *testing.T) {
	t.Parallel()
	alone := standalone(t, redisproc.Options{Password: password})
	access := &cluster.Access{Password: password}
	_, err := cluster.Discover(t.Context(), access, nil)
	if err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("no seeds: %v", err)
	}
	_, err = cluster.Discover(t.Context(), access, []string{alone.Addr()})
	checkError(t, err, cluster.ErrNotCluster, alone.Addr())
	closed := closedPort(t)
	_, err = cluster.Discover(t.Context(), access, []string{closed, alone.Addr()})
	checkError(t, err, cluster.ErrUnreachable, "none of 2 nodes", closed+": connection refused", alone.Addr()+": the server does not run in cluster mode")
	_, err = cluster.Discover(t.Context(), &cluster.Access{Password: "wrong one"}, []string{alone.Addr()})
	checkError(t, err, cluster.ErrAuth, "refused the password")
}

// The documented rights are enough, and each of them is needed.
func TestDiscoverLeastRights(t *testing.T) {
	t.Parallel()
	rules := []string{"+info", "+cluster|nodes", "+cluster|info", "+cluster|shards"}
	c := clustertest.Start(t, clustertest.Options{Replicas: 1, Password: password})
	access := c.Access()
	access.Username, access.Password = "slotark", "least-rights-password"
	allow := func(rules []string) {
		for _, n := range c.Nodes {
			args := []any{"ACL", "SETUSER", "slotark", "reset", "on", ">least-rights-password", "resetkeys", "resetchannels", "-@all"}
			for _, rule := range rules {
				args = append(args, rule)
			}
			do(t, c, n, args...)
		}
	}
	allow(rules)
	if _, err := cluster.Discover(t.Context(), access, c.Addrs()[:1]); err != nil {
		t.Fatal(err)
	}
	for i, rule := range rules {
		allow(slices.Delete(slices.Clone(rules), i, i+1))
		_, err := cluster.Discover(t.Context(), access, c.Addrs()[:1])
		command := strings.ToUpper(strings.ReplaceAll(rule[1:], "|", " "))
		checkError(t, err, cluster.ErrAuth, "run "+command+" on", "as slotark")
	}
}

// The nodes announce ports at which no client reaches them.
func TestDiscoverNAT(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Announce: func(i, port int) redisproc.Announce {
		return redisproc.Announce{Host: "127.0.0.1", Port: 901 + i, BusPort: port + redisproc.BusOffset}
	}})
	access := c.Access()
	_, err := cluster.Discover(t.Context(), access, c.Addrs()[:1])
	checkUnhealthy(t, err, cluster.CodeUnreachable, "127.0.0.1:902", "connection refused")

	access.NAT = cluster.NAT{}
	for i, addr := range c.Addrs() {
		access.NAT[fmt.Sprintf("127.0.0.1:%d", 901+i)] = addr
	}
	// The seed may be given as either: as it is announced, or as it is reached.
	for _, seed := range []string{"127.0.0.1:901", c.Addrs()[0]} {
		topology, err := cluster.Discover(t.Context(), access, []string{seed})
		if err != nil || topology.Shards[2].Primary.Addr != "127.0.0.1:903" || !topology.Shards[2].Primary.Reachable {
			t.Errorf("%+v, %v", topology, err)
		}
	}
	// A mapping that leads to the wrong node is found out.
	access.NAT["127.0.0.1:902"], access.NAT["127.0.0.1:903"] = access.NAT["127.0.0.1:903"], access.NAT["127.0.0.1:902"]
	_, err = cluster.Discover(t.Context(), access, []string{"127.0.0.1:901"})
	checkUnhealthy(t, err, cluster.CodeWrongNode, "another node answers")
}

func TestDiscoverUncoveredSlots(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{
		Slots:          []slot.Set{slots(t, "0-5460"), slots(t, "5500-10922"), slots(t, "10923-16382")},
		ExtraArgs:      []string{"--cluster-require-full-coverage", "no"},
		AllowUnhealthy: true,
	})
	clustertest.Eventually(t, settled, func(ctx context.Context) error {
		_, err := cluster.Discover(ctx, c.Access(), c.Addrs())
		var unhealthy *cluster.UnhealthyError
		if errors.As(err, &unhealthy) && len(unhealthy.Problems) == 1 {
			checkUnhealthy(t, err, cluster.CodeUncovered, "slots 5461-5499,16383: no node owns them")
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
}

func TestDiscoverOpenSlot(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	from, to := c.Primaries()[0], c.Primaries()[1]
	before := discover(t, c).Fingerprint()
	do(t, c, to, "CLUSTER", "SETSLOT", 42, "IMPORTING", from.ID)
	_, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	checkUnhealthy(t, err, cluster.CodeOpenSlot, "slots 42", "importing from node "+from.Addr())
	do(t, c, from, "CLUSTER", "SETSLOT", 42, "MIGRATING", to.ID)
	_, err = cluster.Discover(t.Context(), c.Access(), c.Addrs())
	checkUnhealthy(t, err, cluster.CodeOpenSlot, "slots 42", "(and 1 more)")
	// Once the slot has moved for good, the fingerprint tells.
	for _, n := range []*clustertest.Node{to, from, c.Primaries()[2]} {
		do(t, c, n, "CLUSTER", "SETSLOT", 42, "NODE", to.ID)
	}
	after := discover(t, c)
	if after.Fingerprint() == before || !after.Shards[1].Slots.Contains(42) {
		t.Errorf("%+v", after)
	}
}

// A node that is being met, and one that for a moment believes to own another's
// slot: gossip ends both, and Discover waits for it.
func TestDiscoverWaitsForGossip(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	low, high := c.Primaries()[0], c.Primaries()[2]
	for range 2 {
		do(t, c, low, "CLUSTER", "SETSLOT", 16383, "NODE", low.ID)
		if topology := discover(t, c); topology.Shards[2].Primary.ID != high.ID || topology.Shards[2].Slots != high.Slots {
			t.Errorf("%+v", topology)
		}
	}
	do(t, c, low, "CLUSTER", "MEET", "127.0.0.1", 902)
	discover(t, c)
}

// A replica that one node was told to forget stays forgotten for a minute.
func TestDiscoverDisagreement(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Replicas: 1})
	do(t, c, c.Primaries()[1], "CLUSTER", "FORGET", c.Replicas()[0].ID)
	started := clock.Now()
	_, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	checkUnhealthy(t, err, cluster.CodeDisagree, c.Addrs()[1], "it does not know node "+c.Replicas()[0].Addr())
	if elapsed := clock.Since(started); elapsed > 10*time.Second {
		t.Errorf("it took %s to give up", elapsed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := cluster.Discover(ctx, c.Access(), c.Addrs()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the wait does not end with ctx: %v", err)
	}
}

func TestDiscoverDeadReplica(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Replicas: 3})
	before := discover(t, c).Fingerprint()
	dead := c.Replicas()[1]
	if err := dead.Proc.Kill(); err != nil {
		t.Fatal(err)
	}
	// Until all nodes have flagged it, it is a node that does not answer.
	if _, err := cluster.Discover(t.Context(), c.Access(), c.Addrs()[:1]); err != nil {
		checkUnhealthy(t, err, cluster.CodeUnreachable, dead.Addr(), "connection refused")
	}
	var topology *cluster.Topology
	clustertest.Eventually(t, settled, func(ctx context.Context) (err error) {
		topology, err = cluster.Discover(ctx, c.Access(), []string{dead.Addr(), c.Addrs()[0]})
		return err
	})
	member := topology.Shards[1].Replicas[0]
	if member.ID != dead.ID || member.Reachable || member.Addr != dead.Addr() {
		t.Errorf("%+v", member)
	}
	if len(topology.Warnings) != 1 || !strings.Contains(topology.Warnings[0].String(), "replica "+dead.Addr()+": it is down") {
		t.Errorf("warnings: %v", topology.Warnings)
	}
	if topology.Fingerprint() != before {
		t.Error("a dead replica moved nothing, but the fingerprint differs")
	}
	// A restarted one is a replica as before, once it is linked again.
	c.Restart(t, dead)
	clustertest.Eventually(t, settled, func(ctx context.Context) error {
		topology, err := cluster.Discover(ctx, c.Access(), c.Addrs()[:1])
		if err == nil && len(topology.Warnings) > 0 {
			err = errors.New(topology.Warnings[0].String())
		}
		return err
	})
}

func TestDiscoverDeadPrimary(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	dead := c.Primaries()[2]
	if err := dead.Proc.Kill(); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, settled, func(ctx context.Context) error {
		_, err := cluster.Discover(ctx, c.Access(), c.Addrs()[:1])
		var unhealthy *cluster.UnhealthyError
		if !errors.As(err, &unhealthy) {
			t.Fatalf("a cluster without a primary passed: %v", err)
		}
		states := 0
		for _, p := range unhealthy.Problems {
			if p.Code == cluster.CodeState {
				states++
			}
		}
		// Both others flag it, and both have closed the cluster.
		if unhealthy.Problems[0].Code == cluster.CodeFailed && states == 2 {
			checkUnhealthy(t, err, cluster.CodeFailed, dead.Addr(), "owns slots 10922-16383", "(and 2 more)")
			return nil
		}
		return err
	})
}

// After a failover the former primary is dead weight: it owns nothing.
func TestDiscoverAfterFailover(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Replicas: 3})
	before := discover(t, c).Fingerprint()
	dead, heir := c.Primaries()[0], c.Replicas()[0]
	if err := dead.Proc.Kill(); err != nil {
		t.Fatal(err)
	}
	var topology *cluster.Topology
	clustertest.Eventually(t, settled, func(ctx context.Context) (err error) {
		topology, err = cluster.Discover(ctx, c.Access(), []string{c.Addrs()[1]})
		return err
	})
	if p := topology.Shards[0].Primary; p.ID != heir.ID || topology.Shards[0].Slots != dead.Slots || len(topology.Shards) != 3 {
		t.Errorf("%+v", topology)
	}
	if len(topology.Warnings) != 1 || !strings.Contains(topology.Warnings[0].String(), dead.Addr()) {
		t.Errorf("warnings: %v", topology.Warnings)
	}
	if topology.Fingerprint() == before {
		t.Error("a failover left the fingerprint as it was")
	}
	// It comes back as a replica of its heir.
	c.Restart(t, dead)
	clustertest.Eventually(t, settled, func(ctx context.Context) error {
		topology, err := cluster.Discover(ctx, c.Access(), c.Addrs()[1:2])
		if err == nil && (len(topology.Shards[0].Replicas) != 1 || !topology.Shards[0].Replicas[0].LinkUp) {
			err = fmt.Errorf("not back yet: %+v", topology.Shards[0])
		}
		return err
	})
}

// A manual failover and back leaves every role as it was, but not the epochs.
func TestFingerprintSeesFailoverAndBack(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Replicas: 1})
	before := discover(t, c).Fingerprint()
	for _, heir := range []*clustertest.Node{c.Replicas()[0], c.Primaries()[0]} {
		do(t, c, heir, "CLUSTER", "FAILOVER")
		clustertest.Eventually(t, settled, func(ctx context.Context) error {
			topology, err := cluster.Discover(ctx, c.Access(), c.Addrs()[1:2])
			if err == nil && (topology.Shards[0].Primary.ID != heir.ID || !topology.Shards[0].Replicas[0].LinkUp) {
				err = errors.New("not failed over yet")
			}
			return err
		})
	}
	if after := discover(t, c); after.Fingerprint() == before || after.Shards[0].Primary.ID != c.Primaries()[0].ID {
		t.Errorf("%+v", after)
	}
}
