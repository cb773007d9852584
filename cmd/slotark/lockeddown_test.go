package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
// follow as one of them, and that announce an address at which nobody answers.
type lockedDown struct {
	*clustertest.Cluster
	nat  string   // what leads to the replicas
	file string   // with the backup user's password
	args []string // how slotark is told to connect
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
		"user backup on >" + backupSecret + " resetchannels -@all " + streamRights + " +bgsave " + settingsRights + " " + strings.TrimPrefix(restoreRights, compareRights+" ") + " +cluster|countkeysinslot",
		"masteruser link",
	}
}

// lockedArgs win over the configuration that every test's server has.
var lockedArgs = []string{"--tls-auth-clients", "yes", "--masterauth", linkSecret}

// closedPorts are ports at which nobody listens.
func closedPorts(t *testing.T, n int) []int {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func startLockedDown(t *testing.T) *lockedDown {
	t.Helper()
	closed := closedPorts(t, 3)
	c := clustertest.Start(t, clustertest.Options{
		Replicas: 3, TLS: true, Password: password, Config: lockedLines(), ExtraArgs: lockedArgs,
		Announce: func(i, port int) redisproc.Announce {
			if i < 3 {
				return redisproc.Announce{} // replicas have to find them
			}
			return redisproc.Announce{Host: "127.0.0.1", Port: closed[i-3], BusPort: port + redisproc.BusOffset}
		},
	})
	l := &lockedDown{Cluster: c, file: filepath.Join(t.TempDir(), "password")}
	l.setPassword(t, backupSecret)
	var pairs []string
	for i, replica := range c.Replicas() {
		pairs = append(pairs, "127.0.0.1:"+strconv.Itoa(closed[i])+"="+replica.Addr())
	}
	l.nat = strings.Join(pairs, ",")
	ca, cert, key := c.CertFiles()
	l.args = []string{"--user", "backup", "--password-file", l.file, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key}
	return l
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

// TestLockedDown takes snapshots of such a cluster in both ways, verifies and
// restores them into another one, compares, and says what is missing where one
// of the three is.
func TestLockedDown(t *testing.T) {
	c := startLockedDown(t)
	c.fill(t, dataset.Options{Keys: 2_000, Seed: 41})
	repo := filepath.Join(t.TempDir(), "repo")
	for _, way := range []string{"bgsave", "stream"} {
		o := slotark(t, "", c.on("snapshot", "--collect", way, "--repo", repo)...).want(t, exitDone, "2,000 keys in 16384 slots", "by "+way)
		if strings.Count(o.stdout, "(replica") != 3 {
			t.Errorf("want every dump of a replica, through its mapped address:\n%s", o.stdout)
		}
		slotark(t, "", "verify", "latest", "--repo", repo).want(t, exitDone, "sound at level deep")
		slotark(t, "", c.on("verify", "latest", "--live", "--repo", repo)...).want(t, exitDone, "equal: 2,000 keys")
	}
	targets := lockedTargets(t, c)
	to := append([]string{"restore", "latest", "--repo", repo, "--to", strings.Join(targets, ",")}, c.args...)
	slotark(t, "", to...).want(t, exitDone, "equal: 2,000 keys")

	// Each of the three is needed.
	take := func(args ...string) outcome {
		t.Helper()
		return slotark(t, "", append([]string{"snapshot", "--repo", repo, "--node", c.Addrs()[0]}, args...)...)
	}
	ca, _, _ := c.CertFiles()
	take(c.args...).want(t, exitRefused, "connection refused")
	take("--user", "backup", "--password-file", c.file, "--tls-ca", ca, "--nat", c.nat).want(t, exitFailed, "client certificate")
	take(append(c.args[4:len(c.args):len(c.args)], "--nat", c.nat)...).want(t, exitFailed, "wants a password")
}

// lockedTargets are six empty nodes of the same kind.
func lockedTargets(t *testing.T, c *lockedDown) []string {
	t.Helper()
	ca, cert, key := c.CertFiles()
	var targets []string
	for range 6 {
		p, err := redisproc.Start(t.Context(), redisproc.Options{
			Dir: t.TempDir(), Password: password, Config: lockedLines(), TLS: &redisproc.TLS{CA: ca, Cert: cert, Key: key, Client: c.Access().TLS},
			Args: append([]string{"--cluster-enabled", "yes", "--save", "", "--appendonly", "no", "--cluster-node-timeout", "2000"}, lockedArgs...),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		targets = append(targets, p.Addr())
	}
	return targets
}

// TestPasswordRotates changes the backup user's password while serve runs: its
// next run has the new one, without a restart.
func TestPasswordRotates(t *testing.T) {
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
