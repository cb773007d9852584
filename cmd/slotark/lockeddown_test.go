package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
)

// lockedDown is a cluster as networks that are locked down have it: TLS alone,
// a client certificate wanted of everyone, users with few rights, replicas that
// follow as one of them; and every node announces an address that leads to it
// for the other nodes alone.
type lockedDown struct {
	*clustertest.Cluster
	gates []*counted // where each node announces itself
	nat   string     // what leads to the nodes instead
	file  string     // with the backup user's password
	args  []string   // how slotark is told to connect
}

const (
	backupSecret = "backup-secret"
	linkSecret   = "replication-secret"
)

// lockedLines are the configuration of each node: users, and whom replicas
// follow as.
func lockedLines() []string {
	return []string{
		"user link on >" + linkSecret + " -@all +psync +replconf +ping",
		"user backup on >" + backupSecret + " resetchannels -@all " + streamRights + " +bgsave " + settingsRights + " +config|set " + strings.TrimPrefix(restoreRights, compareRights+" ") + " +cluster|countkeysinslot",
		"masteruser link",
	}
}

// lockedArgs win over the configuration that every test's server has. Nodes
// connect from an address of theirs alone, by which a gate knows them.
var lockedArgs = []string{"--tls-auth-clients", "yes", "--masterauth", linkSecret, "--bind-source-addr", nodesHost}

const nodesHost = "127.0.0.2"

// newGate is where a node announces itself: nodes come through to it, and
// everybody else is turned away, and counted.
func newGate(t *testing.T, port int) *counted {
	t.Helper()
	return newWay(t, fmt.Sprintf("127.0.0.1:%d", port), func(from string) bool { return from == nodesHost }, handOn)
}

// announcedAt is a gate as its node announces it.
func announcedAt(gate *counted, port int) redisproc.Announce {
	_, text, _ := net.SplitHostPort(gate.addr)
	number, _ := strconv.Atoi(text)
	return redisproc.Announce{Host: "127.0.0.1", Port: number, BusPort: port + redisproc.BusOffset}
}

func startLockedDown(t *testing.T) *lockedDown {
	t.Helper()
	l := &lockedDown{gates: make([]*counted, 6), file: filepath.Join(t.TempDir(), "password")}
	l.Cluster = clustertest.Start(t, clustertest.Options{
		Replicas: 3, TLS: true, Password: password, Config: lockedLines(), ExtraArgs: append([]string{"--appendonly", "yes"}, lockedArgs...),
		Announce: func(i, port int) redisproc.Announce {
			l.gates[i] = newGate(t, port)
			return announcedAt(l.gates[i], port)
		},
	})
	l.setPassword(t, backupSecret)
	var pairs []string
	for i, node := range l.Nodes {
		pairs = append(pairs, l.gates[i].addr+"="+node.Addr())
	}
	l.nat = strings.Join(pairs, ",")
	ca, cert, key := l.CertFiles()
	l.args = []string{"--user", "backup", "--password-file", l.file, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key}
	return l
}

// agents starts an agent beside each node, and returns how a coordinator is told
// of them.
func (l *lockedDown) agents(t *testing.T, repo string) []string {
	t.Helper()
	tr := newTrust(t)
	flags := slices.Clone(tr.coordinator)
	for i, node := range l.Nodes {
		known := l.gates[i].addr
		p := startAgent(t, tr, "", slices.Concat(l.args, []string{"--node", known, "--nat", l.nat, "--repo", repo, "--data-dir", known + "=" + node.Proc.Dir()})...)
		flags = append(flags, "--agent", known+"=https://"+p.addr)
	}
	return flags
}

func (l *lockedDown) setPassword(t *testing.T, secret string) {
	t.Helper()
	if err := os.WriteFile(l.file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// on are the arguments for this cluster.
func (l *lockedDown) on(args ...string) []string {
	return append(append(args, l.args...), "--node", l.Addrs()[0], "--nat", l.nat)
}

// fill writes keys, as the cluster's own user, through the same addresses.
func (l *lockedDown) fill(t *testing.T, keys dataset.Options) {
	t.Helper()
	access, err := l.Access(), error(nil)
	if access.NAT, err = cluster.ParseNAT(strings.Split(l.nat, ",")); err != nil {
		t.Fatal(err)
	}
	topology, err := cluster.Discover(t.Context(), access, l.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), access, topology, keys); err != nil {
		t.Fatal(err)
	}
}

// TestLockedDown takes snapshots of such a cluster in each way, verifies them and
// compares; what agents have taken, append-only files with it, is restored into
// other such nodes, by seed and by replay, and is equal. It says what is missing
// where one of the three is.
func TestLockedDown(t *testing.T) {
	t.Parallel()
	c := startLockedDown(t)
	c.fill(t, dataset.Options{Keys: 2_000, Seed: 41})
	// A repository each: of two that begin within a second, none is the latest.
	root, repo := t.TempDir(), ""
	prints := map[string]bool{}
	for _, way := range []string{"bgsave", "stream", "agent"} {
		repo = filepath.Join(root, way)
		take := []string{"snapshot", "--repo", repo, "--collect", way}
		if way == "agent" {
			take = slices.Concat(take, []string{"--aof"}, c.agents(t, repo))
		}
		slotark(t, "", c.on(take...)...).want(t, exitDone, "2,000 keys in 16384 slots", "by "+way)
		slotark(t, "", "verify", "latest", "--repo", repo).want(t, exitDone, "sound at level deep")
		slotark(t, "", c.on("verify", "latest", "--live", "--repo", repo)...).want(t, exitDone, "equal: 2,000 keys")
		prints[fingerprint(t, "latest", "--repo", repo)] = true
	}
	if len(prints) != 1 {
		t.Errorf("the snapshots differ: %v", prints)
	}
	for i, gate := range c.gates {
		if n := gate.refused.Load(); n > 0 {
			t.Errorf("%d connections came to the announced address of node %d", n, i)
		}
	}
	c.seed(t, repo)
	c.replay(t, repo)

	// Each of the three is needed.
	take := func(args ...string) outcome {
		t.Helper()
		return slotark(t, "", append([]string{"snapshot", "--repo", repo, "--node", c.Addrs()[0]}, args...)...)
	}
	ca, _, _ := c.CertFiles()
	take(c.args...).want(t, exitRefused, "the node closed the connection", "map them")
	take("--user", "backup", "--password-file", c.file, "--tls-ca", ca, "--nat", c.nat).want(t, exitFailed, "client certificate")
	take(append(c.args[4:len(c.args):len(c.args)], "--nat", c.nat)...).want(t, exitFailed, "wants a password")
}

// server starts an empty or a seeded node of the same kind.
func (l *lockedDown) server(t *testing.T, dir string, port int, announce redisproc.Announce, args ...string) {
	t.Helper()
	ca, cert, key := l.CertFiles()
	p, err := redisproc.Start(t.Context(), redisproc.Options{
		Dir: dir, Port: port, Announce: announce, Password: password, Config: lockedLines(), TLS: &redisproc.TLS{CA: ca, Cert: cert, Key: key, Client: l.Access().TLS},
		Args: slices.Concat([]string{"--cluster-enabled", "yes", "--save", "", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0"}, lockedArgs, args),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
}

// seed restores the newest snapshot from its append-only files into folders, and
// compares what servers make of them.
func (l *lockedDown) seed(t *testing.T, repo string) {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 3)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, port := range ports {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	dir := filepath.Join(t.TempDir(), "seeded")
	slotark(t, "", "restore", "latest", "--from-aof", "--repo", repo, "--to-dir", dir, "--at", strings.Join(addrs, ",")).
		want(t, exitDone, "--appendonly yes --aof-load-truncated no")
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(folders) != len(ports) {
		t.Fatalf("folders %v, %v", folders, err)
	}
	for i, folder := range folders {
		l.server(t, folder, ports[i], redisproc.Announce{Host: "127.0.0.1"}, "--appendonly", "yes", "--aof-load-truncated", "no")
	}
	awaitWhole(t, l.Access(), addrs)
	slotark(t, "", append([]string{"verify", "latest", "--live", "--repo", repo, "--node", addrs[0]}, l.args...)...).want(t, exitDone, "equal: 2,000 keys")
}

// replay restores the newest snapshot from its append-only files into six empty
// nodes of the same kind, at the addresses that they announce. Their user may run
// every command, for such files may hold any.
func (l *lockedDown) replay(t *testing.T, repo string) {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 6)
	if err != nil {
		t.Fatal(err)
	}
	var to, nat []string
	for _, port := range ports {
		gate := newGate(t, port)
		l.server(t, t.TempDir(), port, announcedAt(gate, port), "--appendonly", "no")
		node := l.Access().Open(fmt.Sprintf("127.0.0.1:%d", port))
		_, err := node.Do(t.Context(), "ACL", "SETUSER", "backup", "+@all")
		if err := errors.Join(err, node.Close()); err != nil {
			t.Fatal(err)
		}
		to, nat = append(to, gate.addr), append(nat, gate.addr+"="+node.Addr())
	}
	args := append([]string{"restore", "latest", "--from-aof", "--repo", repo, "--to", strings.Join(to, ","), "--nat", strings.Join(nat, ",")}, l.args...)
	slotark(t, "", args...).want(t, exitDone, "equal: 2,000 keys")
}

// TestPasswordRotates changes the backup user's password while serve runs: its
// next run has the new one, without a restart.
func TestPasswordRotates(t *testing.T) {
	t.Parallel()
	c := startLockedDown(t)
	c.fill(t, dataset.Options{Keys: 100, Seed: 42})
	repo := filepath.Join(t.TempDir(), "repo")
	cmd := command(t.Context(), "", c.on("serve", "--repo", repo, "--snapshot-schedule", "@every 1s")...)
	var said log
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	whole := func(more int) {
		t.Helper()
		clustertest.Eventually(t, runLimit, func(context.Context) error {
			if n := strings.Count(said.String(), "snapshot is whole"); n < more {
				return fmt.Errorf("%d snapshots are whole, want %d:\n%s", n, more, &said)
			}
			return nil
		})
	}
	whole(1)
	// The nodes first: runs in between are refused, which shows that the password
	// is no longer the old one.
	const rotated = "rotated-secret"
	for _, addr := range c.Addrs() {
		node := c.Access().Open(addr)
		_, err := node.Do(t.Context(), "ACL", "SETUSER", "backup", "resetpass", ">"+rotated)
		if err := errors.Join(err, node.Close()); err != nil {
			t.Fatal(err)
		}
	}
	clustertest.Eventually(t, runLimit, func(context.Context) error {
		if !strings.Contains(said.String(), "the server refused the password") {
			return errors.New("the old password is still good:\n" + said.String())
		}
		return nil
	})
	c.setPassword(t, rotated)
	whole(strings.Count(said.String(), "snapshot is whole") + 1)
	stop(t, cmd, &said)
	if text := said.String(); strings.Contains(text, rotated) || strings.Contains(text, backupSecret) {
		t.Errorf("a password is in the log:\n%s", text)
	}
}
