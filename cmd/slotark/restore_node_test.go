package main

import (
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
	"golang.org/x/sync/errgroup"
)

// TestRestoreNode seeds each node of a new cluster by a run of its own, as init
// containers do, and starts servers on what they made: one cluster, with all keys.
func TestRestoreNode(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2, ExtraArgs: []string{"--appendonly", "yes"}}, dataset.Options{Keys: 2_000, Seed: 12})
	repo := filepath.Join(t.TempDir(), "repo")
	dirs := []string{"--data-dir", c.Nodes[0].Addr() + "=" + c.Nodes[0].Proc.Dir(), "--data-dir", c.Nodes[1].Addr() + "=" + c.Nodes[1].Proc.Dir()}
	slotark(t, password, append([]string{"snapshot", "--aof", "--repo", repo, "--node", c.Addrs()[0]}, dirs...)...).want(t, exitDone)
	id := idsOf(t, "--repo", repo)[0]
	for name, w := range map[string]struct {
		nodes  int
		args   []string
		server string // appendonly
	}{
		"with replicas":            {4, nil, "no"},
		"more shards, as bases":    {3, []string{"--shards", "3", "--append-only"}, "yes"},
		"one shard":                {1, []string{"--shard-slots", "0-16383"}, "no"},
		"append-only files":        {2, []string{"--from-aof"}, "yes"},
		"append-only, divided":     {3, []string{"--from-aof", "--shards", "3"}, "yes"},
		"bases, read by a replica": {3, []string{"--append-only"}, "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newPods(t, repo, id, w.nodes, w.args...)
			s.seedAll(t)
			s.start(t, w.server)
			slotark(t, password, "verify", id, "--live", "--any-layout", "--repo", repo, "--node", s.addrs[0]).want(t, exitDone, "every one as in the snapshot")
			for n := range s.addrs { // with what the servers have written since
				s.run(t, n, s.dirs[n]).want(t, exitDone, "nothing to do: ")
			}
		})
	}
	t.Run("refused", func(t *testing.T) { restoreNodeRefused(t, newPods(t, repo, id, 4)) })
}

// pods are the nodes of a cluster whose folders are seeded one by one.
type pods struct {
	repo, id    string
	args        []string
	ports       []int
	addrs, dirs []string
}

func newPods(t *testing.T, repo, id string, nodes int, args ...string) *pods {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", nodes)
	if err != nil {
		t.Fatal(err)
	}
	s := &pods{repo: repo, id: id, args: args, ports: ports}
	for _, port := range ports {
		s.addrs = append(s.addrs, "localhost:"+strconv.Itoa(port)) // a name, as pods have
		s.dirs = append(s.dirs, t.TempDir())
	}
	return s
}

func (s *pods) run(t *testing.T, n int, dir string, more ...string) outcome {
	t.Helper()
	// A place or an address: both are the same node.
	node := strconv.Itoa(n + 1)
	if n%2 == 1 {
		node = s.addrs[n]
	}
	args := append([]string{"restore", s.id, "--repo", s.repo, "--to-dir", dir, "--at", strings.Join(s.addrs, ","), "--node", node, "--restore-name", "d3adbeef"}, s.args...)
	return slotark(t, "", append(args, more...)...)
}

// seedAll seeds all at once, each in a folder that a file system has put its own into.
func (s *pods) seedAll(t *testing.T) {
	t.Helper()
	var all errgroup.Group
	for n, dir := range s.dirs {
		if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		all.Go(func() error {
			if o := s.run(t, n, dir); o.code != exitDone || !strings.Contains(o.stdout, dir) {
				return fmt.Errorf("node %d: exit code %d\n%s%s", n+1, o.code, o.stdout, o.stderr)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (s *pods) start(t *testing.T, appendOnly string) {
	t.Helper()
	var all errgroup.Group
	for n, dir := range s.dirs {
		all.Go(func() error {
			p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: dir, Port: s.ports[n], Password: password, Args: []string{"--cluster-enabled", "yes",
				"--cluster-node-timeout", "2000", "--appendonly", appendOnly, "--aof-load-truncated", "no", "--save", "", "--repl-diskless-sync-delay", "0"}})
			if err == nil {
				t.Cleanup(func() { _ = p.Kill() })
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	awaitWhole(t, &cluster.Access{Password: password}, s.addrs)
}

// restoreNodeRefused tries what must not be done to a folder, and what an init
// container that runs again must not do.
func restoreNodeRefused(t *testing.T, s *pods) {
	dir := t.TempDir()
	s.run(t, 0, dir, "--plan").want(t, exitDone, "in "+dir, "the data of slots 0-8191, and a nodes.conf", "replica "+s.addrs[2])
	s.run(t, 2, dir, "--plan").want(t, exitDone, "a replica copies its data from its primary", "0 B to fetch")
	s.run(t, 2, dir).want(t, exitDone)
	if got := objects(t, dir); len(got) != 1 || got[0] != "nodes.conf" {
		t.Errorf("a replica's folder holds %v", got)
	}
	conf, err := os.ReadFile(filepath.Join(dir, "nodes.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, 2, dir, "--restore-name", "another").want(t, exitRefused, "is the folder of another node").wantOneLine(t)
	s.run(t, 1, dir).want(t, exitRefused, "is the folder of another node")
	s.run(t, 2, dir, "--json").want(t, exitDone, `"message_type":"seeded"`)
	if again, err := os.ReadFile(filepath.Join(dir, "nodes.conf")); err != nil || string(again) != string(conf) {
		t.Errorf("the folder was written to: %v", err)
	}
	s.run(t, 2, dir, "--repo", filepath.Join(dir, "gone")).want(t, exitDone, "nothing to do") // the stores are not asked
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "dump.rdb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, 0, full).want(t, exitRefused, "is not empty: it holds dump.rdb").wantOneLine(t)
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "nodes.conf"), []byte("vars currentEpoch 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, 0, broken).want(t, exitRefused, "says of no node that it is this one")
	empty := t.TempDir()
	s.run(t, 2, empty, "--replicas", "0").want(t, exitRefused, "the cluster has 2 nodes, and node 3 is none of them")
	slotark(t, "", "restore", s.id, "--repo", s.repo, "--to-dir", empty, "--at", "localhost:7001,nowhere.invalid:7001", "--node", "1", "--restore-name", "x", "--names-limit", "1500ms").
		want(t, exitRefused, "after 1.5s: resolve nowhere.invalid").wantOneLine(t)
	for text, args := range map[string][]string{
		"takes the whole id of a snapshot": {"latest", "--to-dir", empty, "--at", "a:1,b:1", "--node", "1", "--restore-name", "x"},
		"give --at ADDR":                   {s.id, "--to-dir", empty, "--node", "1", "--restore-name", "x"},
		"want 1 to 2, a place":             {s.id, "--to-dir", empty, "--at", "a:1,b:1", "--node", "3", "--restore-name", "x"},
		"none of the addresses":            {s.id, "--to-dir", empty, "--at", "a:1,b:1", "--node", "c:1", "--restore-name", "x"},
		"--node needs --restore-name":      {s.id, "--to-dir", empty, "--at", "a:1,b:1", "--node", "1"},
		"--restore-name goes with":         {s.id, "--to-dir", empty, "--restore-name", "x"},
		"--node goes with --to-dir":        {s.id, "--to", "a:1", "--node", "1"},
		"--names-limit 0s":                 {s.id, "--to-dir", empty, "--at", "a:1,b:1", "--node", "1", "--restore-name", "x", "--names-limit", "0s"},
		"without --from-aof":               {s.id, "--to-dir", empty, "--from-aof", "--append-only"},
	} {
		slotark(t, "", append([]string{"restore", "--repo", s.repo}, args...)...).want(t, exitUsage, text).wantOneLine(t)
	}
	if left := objects(t, empty); len(left) > 0 {
		t.Errorf("what was refused left %v", left)
	}
}
