package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
)

// ask asks one node.
func ask(t *testing.T, c *clustertest.Cluster, addr string, args ...any) any {
	t.Helper()
	node := c.Access().Open(addr)
	defer node.Close()
	reply, err := node.Do(context.WithoutCancel(t.Context()), args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// settingsOf are all settings of all nodes, by node and name.
func settingsOf(t *testing.T, c *clustertest.Cluster) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, addr := range c.Addrs() {
		pairs := ask(t, c, addr, "CONFIG", "GET", "*").([]any)
		for i := 0; i < len(pairs); i += 2 {
			all[fmt.Sprint(addr, " ", pairs[i])] = fmt.Sprint(pairs[i+1])
		}
	}
	return all
}

func wantSettings(t *testing.T, c *clustertest.Cluster, want map[string]string) {
	t.Helper()
	now := settingsOf(t, c)
	for name, value := range want {
		if now[name] != value {
			t.Errorf("%s became %q and was %q", name, now[name], value)
		}
	}
	if len(now) != len(want) || len(want) == 0 {
		t.Errorf("there are %d settings and were %d", len(now), len(want))
	}
}

// persistence waits until a field of INFO persistence has a value on a node.
func persistence(t *testing.T, c *clustertest.Cluster, addr, field, want string) {
	t.Helper()
	node := c.Access().Open(addr)
	defer node.Close()
	clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
		info, err := node.Info(ctx, "persistence")
		if err == nil && info[field] != want {
			err = fmt.Errorf("%s is %s", field, info[field])
		}
		return err
	})
}

// writing writes to a cluster until it is told to stop, which the test's end
// does, too: counters, lists, hashes, transactions, keys that expire and go.
func writing(t *testing.T, c *clustertest.Cluster) (stop func()) {
	t.Helper()
	return writingEvery(t, c, 0)
}

// writingEvery is writing with a pause between two rounds of each of four
// writers, for what is not about how much is written.
func writingEvery(t *testing.T, c *clustertest.Cluster, pause time.Duration) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	client := c.Client()
	var wait sync.WaitGroup
	for w := range 4 {
		wait.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				<-time.After(pause)
				tag := fmt.Sprintf("{w%d:%d}", w, i%97)
				_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Incr(ctx, tag+"count")
					p.PExpire(ctx, tag+"count", time.Hour)
					p.RPush(ctx, tag+"list", i, strings.Repeat("x", i%300))
					return nil
				})
				if err == nil {
					_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
						p.HSet(ctx, tag+"hash", fmt.Sprint(i%7), i)
						p.Set(ctx, tag+"text", i, 24*time.Hour)
						p.ZAdd(ctx, tag+"zset", redis.Z{Score: float64(i), Member: i % 13})
						p.Set(ctx, tag+"short", i, 20*time.Millisecond)
						p.Del(ctx, fmt.Sprintf("{w%d:%d}text", w, (i+50)%97))
						return nil
					})
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	t.Cleanup(stop)
	return stop
}

// newAOFCluster is one that appends, and saves slowly enough to come in between.
func newAOFCluster(t *testing.T) *clustertest.Cluster {
	t.Helper()
	return filled(t, clustertest.Options{Primaries: 2, ExtraArgs: []string{"--appendonly", "yes", "--aof-timestamp-enabled", "yes"}}, dataset.Options{Keys: 3_000, Seed: 51})
}

// TestAOF takes snapshots with append-only files of a cluster that is written
// to, with a rewrite before, during and after; what is restored from them is,
// key for key, what the dumps hold, and the nodes' settings are what they were.
func TestAOF(t *testing.T) {
	t.Parallel()
	c := newAOFCluster(t)
	ask(t, c, c.Addrs()[0], "CONFIG", "SET", "auto-aof-rewrite-percentage", 73)
	repo, mirror := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "mirror")
	args := []string{"snapshot", "--aof", "--node", c.Addrs()[0], "--repo", repo, "--mirror", mirror}
	each := func(args ...any) {
		for _, addr := range c.Addrs() {
			ask(t, c, addr, args...)
		}
	}
	for _, step := range []struct {
		name string
		act  func(run func())
	}{
		{"rewritten before", func(run func()) {
			each("BGREWRITEAOF")
			for _, addr := range c.Addrs() {
				persistence(t, c, addr, "aof_rewrite_in_progress", "0")
			}
			run()
		}},
		{"a rewrite is running", func(run func()) {
			each("CONFIG", "SET", "rdb-key-save-delay", 200)
			each("BGREWRITEAOF")
			run()
		}},
		{"a rewrite is asked for meanwhile", func(run func()) {
			var wait sync.WaitGroup
			wait.Go(run)
			persistence(t, c, c.Addrs()[0], "rdb_bgsave_in_progress", "1")
			each("BGREWRITEAOF") // it is put off until the save has ended
			wait.Wait()
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			var want map[string]string
			stop := writing(t, c)
			step.act(func() {
				want = settingsOf(t, c)
				slotark(t, password, args...).want(t, exitDone, "append-only files", "is whole")
			})
			stop()
			wantSettings(t, c, want)
			for _, node := range c.Nodes {
				if left, err := filepath.Glob(filepath.Join(node.Proc.Dir(), ".slotark-aof-*")); len(left) > 0 || err != nil {
					t.Errorf("left is %v, %v", left, err)
				}
			}
			o := slotark(t, password, "show", "latest", "--repo", repo, "--json").want(t, exitDone)
			if n := strings.Count(o.stdout, `"aligned":true`); n != 2 {
				t.Errorf("%d of 2 sets end where their dump begins:\n%s", n, o.stdout)
			}
			seedAndCompare(t, repo)
			replayAndCompare(t, repo)
		})
	}
	slotark(t, password, "verify", "latest", "--level", "deep", "--repo", repo, "--mirror", mirror).want(t, exitDone, "sound at level deep")
	slotark(t, password, "list", "--repo", repo).want(t, exitDone, "with append-only files")
	onto := func(nodes []string, more ...string) []string {
		return append([]string{"restore", "latest", "--from-aof", "--shards", fmt.Sprint(len(nodes)), "--repo", repo, "--to", strings.Join(nodes, ",")}, more...)
	}
	three := emptyNodes(t, 3)
	slotark(t, password, onto(three, "--plan")...).want(t, exitDone, "the commands of the append-only files, from 2 shards onto 3")
	slotark(t, password, onto(three)...).want(t, exitDone, "every one as in the snapshot")
	slotark(t, password, onto(emptyNodes(t, 1))...).want(t, exitDone, "every one as in the snapshot")
	damageSets(t, repo, mirror)
}

// damageSets flips a bit in each object of a shard's append-only files in turn:
// it is found at every level but the first, and a restore takes the other store's.
func damageSets(t *testing.T, repo, mirror string) {
	t.Helper()
	id := idsOf(t, "--repo", repo)[0]
	paths, err := filepath.Glob(filepath.Join(repo, "default", "snapshots", id, "shard-0", "aof", "*"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("objects %v, %v", paths, err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := slices.Clone(body)
		damaged[len(body)/2] ^= 1
		for _, content := range [][]byte{damaged, body} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(content, body) {
				continue
			}
			for _, level := range []string{"checksum", "parse"} {
				slotark(t, password, "verify", id, "--level", level, "--repo", repo).want(t, exitFindings, "shard-0/aof/"+filepath.Base(path), "checksum")
			}
			slotark(t, password, "restore", id, "--from-aof", "--repo", repo, "--mirror", mirror, "--to-dir", filepath.Join(t.TempDir(), "x"), "--at", "10.0.0.1:1,10.0.0.2:1").
				want(t, exitFindings, "from mirror", "store repo: ")
		}
	}
	slotark(t, password, "verify", id, "--level", "parse", "--repo", repo).want(t, exitDone, "sound at level parse")
}

// seedAndCompare restores the newest snapshot from its append-only files into
// folders, starts servers there as it is said, and compares.
func seedAndCompare(t *testing.T, repo string) {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 2)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, port := range ports {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	dir := filepath.Join(t.TempDir(), "seeded")
	o := slotark(t, password, "restore", "latest", "--from-aof", "--repo", repo, "--to-dir", dir, "--at", strings.Join(addrs, ",")).want(t, exitDone, "--appendonly yes --aof-load-truncated no")
	if _, err := filepath.Glob(filepath.Join(dir, "*", "dump.rdb")); err != nil || strings.Contains(o.stdout, "--appendonly no") {
		t.Errorf("a dump beside append-only files would not be read:\n%s", o.stdout)
	}
	startAOF(t, dir, ports)
	slotark(t, password, "verify", "latest", "--live", "--repo", repo, "--node", addrs[0]).want(t, exitDone, "every one as in the snapshot")
}

// replayAndCompare restores it by sending commands to running nodes.
func replayAndCompare(t *testing.T, repo string) {
	t.Helper()
	slotark(t, password, "restore", "latest", "--from-aof", "--repo", repo, "--to", strings.Join(emptyNodes(t, 2), ",")).
		want(t, exitDone, "every one as in the snapshot")
}

// startAOF starts a server in each folder of a seed, and waits for the
// cluster.
func startAOF(t *testing.T, dir string, ports []int) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(folders) != len(ports) {
		t.Fatalf("folders %v, %v", folders, err)
	}
	access := &cluster.Access{Password: password, Timeout: 10 * time.Second}
	var addrs []string
	for i, folder := range folders {
		p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: folder, Port: ports[i], Password: password,
			Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "yes", "--aof-load-truncated", "no", "--save", "", "--repl-diskless-sync-delay", "0"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		addrs = append(addrs, p.Addr())
	}
	awaitWhole(t, access, addrs)
}

// awaitWhole waits until each of some nodes finds its cluster whole.
func awaitWhole(t *testing.T, access *cluster.Access, addrs []string) {
	t.Helper()
	clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
		for _, addr := range addrs {
			node := access.Open(addr)
			text, err := node.Text(ctx, "CLUSTER", "INFO")
			node.Close()
			if err == nil && cluster.ParseInfo(text).Text("cluster_state") != "ok" {
				err = fmt.Errorf("cluster_state is %s", cluster.ParseInfo(text).Text("cluster_state"))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// TestAOFRefusals has each thing that stands against taking or restoring
// append-only files said before anything is done.
func TestAOFRefusals(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2, ExtraArgs: []string{"--appendonly", "yes"}}, dataset.Options{Keys: 50, Seed: 52})
	repo := filepath.Join(t.TempDir(), "repo")
	take := func(more ...string) outcome {
		return slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0], "--repo", repo}, more...)...)
	}
	take("--aof", "--collect", "stream").wantFailure(t, exitRefused, "do not come over the replication stream")
	take("--aof", "--data-dir", c.Addrs()[1]+"=/nowhere").wantFailure(t, exitRefused, "the append-only files of "+c.Addrs()[1]+" cannot be read from here")
	ask(t, c, c.Addrs()[1], "CONFIG", "SET", "appendonly", "no")
	take("--aof").wantFailure(t, exitRefused, c.Addrs()[1]+": it runs with appendonly no")
	if left, err := filepath.Glob(filepath.Join(repo, "*")); len(left) > 0 || err != nil {
		t.Errorf("a refused snapshot has stored %v, %v", left, err)
	}
	take().want(t, exitDone)
	slotark(t, password, "restore", "latest", "--from-aof", "--repo", repo, "--to-dir", filepath.Join(t.TempDir(), "x"), "--at", "10.0.0.1:1,10.0.0.2:1").
		wantFailure(t, exitRefused, "holds no append-only files")
}

// rewriteAt is a node's value of the setting that is 0 while files are linked.
func rewriteAt(t *testing.T, c *clustertest.Cluster, addr string) string {
	t.Helper()
	return fmt.Sprint(ask(t, c, addr, "CONFIG", "GET", "auto-aof-rewrite-percentage").([]any)[1])
}

// holdRewrite has a node rewrite its files, for longer than a test takes.
func holdRewrite(t *testing.T, c *clustertest.Cluster, addr string) {
	t.Helper()
	ask(t, c, addr, "CONFIG", "SET", "rdb-key-save-delay", 50_000)
	ask(t, c, addr, "BGREWRITEAOF")
	persistence(t, c, addr, "aof_rewrite_in_progress", "1")
}

// endRewrite ends it: the child keeps the delay that it began with.
func endRewrite(t *testing.T, c *clustertest.Cluster, addr string) {
	t.Helper()
	ask(t, c, addr, "CONFIG", "SET", "rdb-key-save-delay", 0)
	ask(t, c, addr, "CONFIG", "SET", "appendonly", "no")
	ask(t, c, addr, "CONFIG", "SET", "appendonly", "yes")
	persistence(t, c, addr, "aof_rewrite_in_progress", "0")
}

// TestTwoRunsWithAOF has a second run come and go while a first one has automatic
// rewrites off on one node, and kills the first when it is at the next: its record
// is still there, and the next run puts that node back. Two that are not killed
// are both whole.
func TestTwoRunsWithAOF(t *testing.T) {
	t.Parallel()
	c := newAOFCluster(t)
	want := settingsOf(t, c)
	own := rewriteAt(t, c, c.Addrs()[0])
	repo := filepath.Join(t.TempDir(), "repo")
	take := []string{"snapshot", "--node", c.Addrs()[0], "--repo", repo, "--aof"}
	become := func(what string, is func() bool) {
		t.Helper()
		clustertest.Eventually(t, time.Minute, func(context.Context) error {
			if !is() {
				return errors.New("not yet: " + what)
			}
			return nil
		})
	}
	off := func(i int) bool { return rewriteAt(t, c, c.Addrs()[i]) == "0" }
	records := func(name string) int {
		paths, err := filepath.Glob(filepath.Join(repo, "default", "intents", "*", name))
		if err != nil {
			t.Fatal(err)
		}
		return len(paths)
	}
	for _, addr := range c.Addrs() {
		holdRewrite(t, c, addr)
	}
	var runs [2]*exec.Cmd
	begin := func(i int) {
		t.Helper()
		runs[i] = command(t.Context(), password, take...)
		if err := runs[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	begin(0)
	become("the first is at a node", func() bool { return off(0) || off(1) })
	at := 0
	if off(1) {
		at = 1
	}
	begin(1)
	become("the second has recorded what it changes", func() bool { return records("begun.json") == 2 })
	if err := runs[1].Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = runs[1].Wait() // it was interrupted
	if records("ended.json") != 1 {
		t.Errorf("%d records are closed, and one run has ended", records("ended.json"))
	}
	endRewrite(t, c, c.Addrs()[at])
	become("the first is at the other node", func() bool { return off(1 - at) })
	if err := runs[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = runs[0].Wait() // it was killed
	endRewrite(t, c, c.Addrs()[1-at])
	if !off(1 - at) {
		t.Fatalf("it is %s before the next run", rewriteAt(t, c, c.Addrs()[1-at]))
	}
	slotark(t, password, append(take[:5:5], "--collect", "stream")...).want(t, exitDone, "auto-aof-rewrite-percentage is "+own+" again")
	wantSettings(t, c, want)

	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if o := slotark(t, password, take...); o.code != exitDone {
				t.Errorf("one of two at once: exit code %d\n%s", o.code, o.stderr)
			}
		})
	}
	both.Wait()
	wantSettings(t, c, want)
	for _, id := range idsOf(t, "--repo", repo)[:2] {
		slotark(t, "", "verify", id, "--repo", repo).want(t, exitDone, "sound at level deep")
	}
}

// TestKilledAOF kills a snapshot while automatic rewrites are off. The next run,
// though it can only use the wire, gives each node its own value back; what
// somebody has set meanwhile stays; and where the repository is gone, the folder
// beside the data still tells.
func TestKilledAOF(t *testing.T) {
	t.Parallel()
	c := newAOFCluster(t)
	addr, folder := c.Addrs()[1], c.Nodes[1].Proc.Dir()
	ask(t, c, addr, "CONFIG", "SET", "auto-aof-rewrite-percentage", 73)
	want := settingsOf(t, c)
	repo := filepath.Join(t.TempDir(), "repo")
	take := []string{"snapshot", "--node", c.Addrs()[0], "--repo", repo}
	value := func() string { return rewriteAt(t, c, addr) }
	// kill kills a run between switching off and back: it waits for a rewrite.
	kill := func() {
		t.Helper()
		holdRewrite(t, c, addr)
		cmd := command(t.Context(), password, append(take, "--aof")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		clustertest.Eventually(t, time.Minute, func(context.Context) error {
			if now := value(); now != "0" {
				return fmt.Errorf("it is %s", now)
			}
			return nil
		})
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it says that it was killed
		endRewrite(t, c, addr)
		if now := value(); now != "0" {
			t.Fatalf("it is %s before the next run", now)
		}
	}
	leftFolders := func() []string {
		left, err := filepath.Glob(filepath.Join(folder, ".slotark-aof-*"))
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	kill()
	o := slotark(t, password, append(take, "--collect", "stream")...).want(t, exitDone, "had left automatic rewrites off: auto-aof-rewrite-percentage is 73 again")
	if strings.Count(o.stderr, "killed or still under way") == 0 || value() != "73" {
		t.Errorf("the value is %s after\n%s", value(), o.stderr)
	}
	wantSettings(t, c, want)
	if o := slotark(t, password, append(take, "--collect", "stream")...).want(t, exitDone); strings.Contains(o.stderr, "killed") {
		t.Errorf("it is told twice: %s", o.stderr)
	}
	if len(leftFolders()) != 1 {
		t.Errorf("left are %v", leftFolders())
	}

	kill()
	ask(t, c, addr, "CONFIG", "SET", "auto-aof-rewrite-percentage", 50)
	slotark(t, password, append(take, "--collect", "stream")...).want(t, exitDone)
	if value() != "50" {
		t.Errorf("somebody's 50 became %s", value())
	}
	ask(t, c, addr, "CONFIG", "SET", "auto-aof-rewrite-percentage", 73)

	kill()
	if err := os.RemoveAll(repo); err != nil {
		t.Fatal(err)
	}
	slotark(t, password, append(take, "--aof")...).want(t, exitDone)
	wantSettings(t, c, want)
	if len(leftFolders()) != 0 {
		t.Errorf("left are %v", leftFolders())
	}
}
