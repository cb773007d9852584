package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
)

// Each test here causes one thing that can be wrong, and looks at what a person
// gets: the exit code, one line and a hint, no secret, and nothing in the stores
// that could later be taken for a snapshot.

// wantFailure checks all that every failure has in common.
func (o outcome) wantFailure(t *testing.T, code int, parts ...string) outcome {
	t.Helper()
	o.want(t, code, append(parts, "slotark: hint: ")...).wantOneLine(t).wantNoSecret(t)
	if o.stdout != "" {
		t.Errorf("a failure prints on stdout: %q", o.stdout)
	}
	return o
}

// wrongPassword is as secret as the right one: it may be that of another place.
const wrongPassword = "tr0ub4dor&3"

func (o outcome) wantNoSecret(t *testing.T) outcome {
	t.Helper()
	for _, secret := range []string{password, wrongPassword, wrongSecretKey} {
		if strings.Contains(o.stdout+o.stderr, secret) {
			t.Errorf("the output holds a secret (%s):\n%s%s", secret, o.stdout, o.stderr)
		}
	}
	return o
}

// wantNothingStored checks that a folder holds no object but the repository's
// own mark, no temporary file among them, and that the catalog is empty.
func wantNothingStored(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
		left := slices.DeleteFunc(objects(t, folder), func(name string) bool { return name == "slotark.json" })
		if len(left) > 0 {
			t.Errorf("%s holds %v", folder, left)
		}
		if _, err := os.Stat(filepath.Join(folder, "slotark.json")); err == nil {
			slotark(t, "", "list", "--repo", folder).want(t, exitDone, "no snapshots")
		} else {
			slotark(t, "", "list", "--repo", folder).wantFailure(t, exitNoRepository)
		}
	}
}

// small is a cluster of three with few keys, for tests that fail early.
func small(t *testing.T) *clustertest.Cluster {
	t.Helper()
	return filled(t, clustertest.Options{ExtraArgs: []string{"--cluster-node-timeout", "1000"}}, dataset.Options{Keys: 600, Seed: 4})
}

// silentAddr is an address that nobody listens on.
func silentAddr(t *testing.T) string {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]))
}

func standalone(t *testing.T) string {
	t.Helper()
	p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir(), Password: password, Args: []string{"--save", ""}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	return p.Addr()
}

// do runs a command on one node.
func do(t *testing.T, addr string, args ...any) any {
	t.Helper()
	node := (&cluster.Access{Password: password, Timeout: 10 * time.Second}).Open(addr)
	defer node.Close()
	reply, err := node.Do(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// serverSettings are all settings of all nodes.
func serverSettings(t *testing.T, addrs []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, addr := range addrs {
		reply, ok := do(t, addr, "CONFIG", "GET", "*").([]any)
		if !ok || len(reply) < 100 {
			t.Fatalf("CONFIG GET * of %s gives %v", addr, reply)
		}
		for i := 0; i+1 < len(reply); i += 2 {
			all[addr+" "+fmt.Sprint(reply[i])] = fmt.Sprint(reply[i+1])
		}
	}
	return all
}

func wantSameSettings(t *testing.T, before map[string]string, addrs []string) {
	t.Helper()
	after := serverSettings(t, addrs)
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%s was %q and is %q", name, value, after[name])
		}
	}
}

func TestRefusesAccess(t *testing.T) {
	t.Parallel()
	c := small(t)
	seed, lone, nobody := c.Addrs()[0], standalone(t), silentAddr(t)
	for _, test := range []struct {
		name, password string
		args           []string
		says           []string
	}{
		{"wrong password", wrongPassword, []string{"--node", seed}, []string{"authenticate on " + seed, "refused the password", "check the user name"}},
		{"wrong user", password, []string{"--node", seed, "--user", "nobody"}, []string{seed + " as nobody", "refused the password"}},
		{"no password", "", []string{"--node", seed}, []string{"authenticate on " + seed, "wants a password", "environment or a file"}},
		{"unreachable seed", password, []string{"--node", nobody}, []string{"connect to " + nobody, "connection refused", "check that the node runs"}},
		{"two unreachable seeds", password, []string{"--node", nobody + "," + "127.0.0.1:1"}, []string{nobody, "127.0.0.1:1", "none of 2 nodes"}},
		{"no such host", password, []string{"--node", "no-such-host.invalid:7001"}, []string{"no-such-host.invalid", "cannot be resolved"}},
		{"standalone server", password, []string{"--node", lone}, []string{lone, "does not run in cluster mode", "cluster-enabled yes"}},
		{"TLS where there is none", password, []string{"--node", seed, "--tls", "--timeout", "1s"}, []string{seed, "TLS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			repo := filepath.Join(t.TempDir(), "repo")
			slotark(t, test.password, append([]string{"snapshot", "--repo", repo}, test.args...)...).
				wantFailure(t, exitFailed, test.says...)
			if left := objects(t, repo); len(left) > 0 {
				t.Errorf("the repository holds %v", left)
			}
		})
	}
	t.Run("one dead seed of two does no harm", func(t *testing.T) {
		repo := filepath.Join(t.TempDir(), "repo")
		slotark(t, password, "snapshot", "--repo", repo, "--node", nobody, "--node", seed).want(t, exitDone, "is whole")
	})
}

// TestRefusesUnhealthyCluster goes from one defect to the next on one cluster,
// the mending in between included.
func TestRefusesUnhealthyCluster(t *testing.T) {
	t.Parallel()
	c := small(t)
	a, b := c.Primaries()[0], c.Primaries()[1]
	repo := filepath.Join(t.TempDir(), "repo")
	refused := func(code int, parts ...string) {
		t.Helper()
		for _, verb := range [][]string{{"snapshot"}, {"snapshot", "--dry-run"}} {
			args := append(verb, "--repo", repo, "--node", b.Addr(), "--timeout", "1s")
			slotark(t, password, args...).wantFailure(t, code, parts...)
		}
		if left := objects(t, repo); len(left) > 0 {
			t.Errorf("the repository holds %v", left)
		}
	}

	// A slot on the move.
	do(t, a.Addr(), "CLUSTER", "SETSLOT", 7, "MIGRATING", b.ID)
	refused(exitRefused, "slots 7", "open on node "+a.Addr(), "migrating to node "+b.Addr(), "SETSLOT")
	do(t, b.Addr(), "CLUSTER", "SETSLOT", 7, "IMPORTING", a.ID)
	do(t, a.Addr(), "CLUSTER", "SETSLOT", 7, "STABLE")
	refused(exitRefused, "slots 7", "open on node "+b.Addr(), "importing from node "+a.Addr())
	do(t, b.Addr(), "CLUSTER", "SETSLOT", 7, "STABLE")

	// A slot that nobody owns.
	for _, node := range c.Nodes {
		do(t, node.Addr(), "CLUSTER", "DELSLOTS", 9)
	}
	refused(exitRefused, "slots 9: no node owns them", "redis-cli --cluster fix")
	do(t, a.Addr(), "CLUSTER", "ADDSLOTS", 9)
	c.WaitHealthy(t)

	// A primary that hangs, first unnoticed by the others, then known to be down.
	pause := func(node *clustertest.Node, s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(node.Proc.PID(), s); err != nil {
			t.Fatal(err)
		}
	}
	pause(a, syscall.SIGSTOP)
	refused(exitRefused, a.Addr())
	args := []string{"snapshot", "--repo", repo, "--node", a.Addr(), "--timeout", "1s"}
	slotark(t, password, args...).wantFailure(t, exitFailed, a.Addr(), "no answer within 1s")
	pause(a, syscall.SIGCONT)
	c.WaitHealthy(t)

	// A primary that is dead.
	if err := a.Proc.Kill(); err != nil {
		t.Fatal(err)
	}
	refused(exitRefused, "node "+a.Addr())
	wantNothingStored(t, repo)

	// What was mended can be saved.
	c.Restart(t, a)
	c.WaitHealthy(t)
	slotark(t, password, "snapshot", "--repo", repo, "--node", b.Addr()).want(t, exitDone, "is whole")
}

// TestRefusesHole is a cluster that never was whole.
func TestRefusesHole(t *testing.T) {
	t.Parallel()
	half := slot.SetOf(slot.Range{First: 0, Last: 8000})
	rest := slot.SetOf(slot.Range{First: 8002, Last: slot.Count - 1})
	c := clustertest.Start(t, clustertest.Options{Primaries: 2, Slots: []slot.Set{half, rest}, AllowUnhealthy: true, Password: password})
	repo := filepath.Join(t.TempDir(), "repo")
	clustertest.Eventually(t, runLimit, func(context.Context) error { // until the nodes have met
		if text := fmt.Sprint(do(t, c.Addrs()[0], "CLUSTER", "NODES")); strings.Count(text, " connected") < 2 {
			return fmt.Errorf("not met: %s", text)
		}
		return nil
	})
	slotark(t, password, "snapshot", "--repo", repo, "--node", c.Addrs()[0]).
		wantFailure(t, exitRefused, "slots 8001: no node owns them")
	wantNothingStored(t, repo)
}

// TestNodeThatCannotSave: BGSAVE fails on every node, as on a full disk, because
// a folder is where the dump has to go.
func TestNodeThatCannotSave(t *testing.T) {
	t.Parallel()
	c := small(t)
	for _, node := range c.Nodes {
		if err := os.Mkdir(filepath.Join(node.Proc.Dir(), "dump.rdb"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	before := serverSettings(t, c.Addrs())
	repo := filepath.Join(t.TempDir(), "repo")
	for _, way := range []string{"bgsave", "auto"} {
		slotark(t, password, "snapshot", "--collect", way, "--repo", repo, "--node", c.Addrs()[0]).
			wantFailure(t, exitFailed, "shard ", "bgsave on 127.0.0.1:", "could not save", "log")
	}
	wantNothingStored(t, repo)
	wantSameSettings(t, before, c.Addrs())
	// The replication stream needs no disk of the node.
	slotark(t, password, "snapshot", "--collect", "stream", "--repo", repo, "--node", c.Addrs()[0]).want(t, exitDone, "is whole")
}

// onFullDisk runs the program with a disk of 64 KiB mounted at a folder, and
// returns the files that are left on it.
func onFullDisk(t *testing.T, full string, args ...string) (o outcome, left []string) {
	t.Helper()
	list := filepath.Join(t.TempDir(), "left")
	script := `full=$1 list=$2; shift 2
mount -t tmpfs -o size=64k,mode=0700 tmpfs "$full" || exit 99
"$@"; code=$?
find "$full" -type f | sed "s|^$full/||" >"$list"
exit $code`
	unshare := []string{"unshare", "-m"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "-r")
	}
	cmd := command(t.Context(), password, args...)
	cmd.Args = append(append(unshare, "sh", "-c", script, "sh", full, list, program), args...)
	path, err := exec.LookPath("unshare")
	if err != nil {
		t.Fatalf("%v: it is part of util-linux", err)
	}
	cmd.Path = path
	o = finish(t, cmd)
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatalf("no full disk could be made: %v\n%s", err, o.stderr)
	}
	return o, strings.Fields(string(text))
}

// TestFullDisk gives a store a disk of 64 KiB: a tmpfs in a mount namespace of
// its own, which a shell makes before it runs slotark.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	c := small(t)
	for _, way := range []string{"bgsave", "stream"} {
		t.Run("primary store, "+way, func(t *testing.T) {
			full, mirror := t.TempDir(), filepath.Join(t.TempDir(), "mirror")
			o, left := onFullDisk(t, full, "snapshot", "--collect", way, "--repo", full, "--mirror", mirror, "--node", c.Addrs()[0])
			o.wantFailure(t, exitFailed, "no space left", full, "free some space")
			if !slices.Equal(left, []string{"slotark.json"}) {
				t.Errorf("the full disk keeps %v", left)
			}
			wantNothingStored(t, mirror)
		})
		t.Run("mirror, "+way, func(t *testing.T) {
			repo, full := filepath.Join(t.TempDir(), "repo"), t.TempDir()
			o, left := onFullDisk(t, full, "snapshot", "--collect", way, "--repo", repo, "--mirror", full, "--node", c.Addrs()[0])
			o.want(t, exitFindings, "is whole", "repo stored", "BEHIND", "no space left").wantNoSecret(t)
			if strings.Contains(strings.Join(left, " "), "manifest.json") || strings.Contains(strings.Join(left, " "), "tmp") {
				t.Errorf("the full disk keeps %v", left)
			}
			slotark(t, "", "list", "--repo", repo, "--mirror", full).want(t, exitDone, "1 of 2 !", "does not have it", "600")
			slotark(t, "", "verify", "latest", "--repo", repo).want(t, exitDone, "sound")
		})
	}
	t.Run("seed", func(t *testing.T) {
		repo, full := filepath.Join(t.TempDir(), "repo"), t.TempDir()
		slotark(t, password, "snapshot", "--repo", repo, "--node", c.Addrs()[0]).want(t, exitDone)
		o, left := onFullDisk(t, full, "restore", "latest", "--repo", repo, "--to-dir", full, "--at", "10.0.0.1:7001,10.0.0.2:7001,10.0.0.3:7001")
		o.wantFailure(t, exitFailed, "no space left", full, "What was written is removed")
		if len(left) > 0 {
			t.Errorf("the full disk keeps %v", left)
		}
	})
}

func TestNoRepository(t *testing.T) {
	t.Parallel()
	missing, empty := filepath.Join(t.TempDir(), "missing"), t.TempDir()
	targets := silentAddr(t)
	for _, verb := range [][]string{
		{"list"}, {"show", "latest"}, {"verify", "latest"}, {"drill"},
		{"restore", "latest", "--to", targets}, {"restore", "latest", "--to-dir", filepath.Join(empty, "x")},
	} {
		for _, folder := range []string{missing, empty} {
			slotark(t, password, append(verb, "--repo", folder)...).
				wantFailure(t, exitNoRepository, "no slotark repository", folder)
			if left := objects(t, folder); len(left) > 0 {
				t.Errorf("%s made %v", verb[0], left)
			}
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a verb that only reads made the folder")
	}
}

func TestUnknownSnapshot(t *testing.T) {
	t.Parallel()
	c := small(t)
	repo := filepath.Join(t.TempDir(), "repo")
	for range 2 {
		slotark(t, password, "snapshot", "--repo", repo, "--node", c.Addrs()[0]).want(t, exitDone)
	}
	for _, verb := range [][]string{
		{"show"}, {"verify"}, {"drill"}, {"restore", "--to", silentAddr(t)}, {"restore", "--to-dir", filepath.Join(t.TempDir(), "x")},
	} {
		for _, id := range []string{"19990101T000000Z-aaaaaa", "1999", "nonsense"} {
			slotark(t, password, append(verb, id, "--repo", repo)...).
				wantFailure(t, exitFailed, "no such snapshot", id, repo, "slotark list")
		}
		slotark(t, password, append(verb, "20", "--repo", repo)...).
			wantFailure(t, exitFailed, `"20" is the beginning of 2 snapshot ids`, "give more of it")
		slotark(t, password, append(verb, "latest", "--cluster", "other", "--repo", repo)...).
			wantFailure(t, exitFailed, "no such snapshot", "slotark snapshot")
	}
}
