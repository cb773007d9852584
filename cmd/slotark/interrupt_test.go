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
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/internal/slot"
)

// promptly is how long a run may take to clean up after Ctrl-C: far more than
// it takes, because the machine is shared by many tests.
const promptly = time.Minute

// signalled runs the program and sends it a signal after a while. The outcome
// is that of a run which ended before just as well.
func signalled(t *testing.T, after time.Duration, signal syscall.Signal, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := command(ctx, password, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case err = <-ended:
	case <-timer.C:
		if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		sent := time.Now()
		err = <-ended
		if took := time.Since(sent); took > promptly {
			t.Errorf("after %s it took %s to end", signal, took)
		}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	return outcome{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// wantInterrupted checks what an interrupted run says. A signal that comes
// before the program listens to it kills it, as it does any other.
func (o outcome) wantInterrupted(t *testing.T) {
	t.Helper()
	if o.code == -1 && o.stdout+o.stderr == "" {
		return
	}
	o.want(t, exitInterrupted, "slotark: interrupted").wantOneLine(t).wantNoSecret(t)
	if o.stdout != "" || strings.Contains(o.stderr, "could not") {
		t.Errorf("an interrupted run says:\n%s%s", o.stdout, o.stderr)
	}
}

// moments are n delays that cover a run of the given length, its end included.
func moments(length time.Duration, n int) []time.Duration {
	var all []time.Duration
	for i := range n {
		all = append(all, length*time.Duration(i)/time.Duration(n-1))
	}
	return all
}

// slowCluster saves slowly, and each of its dumps has a value of more than one
// part of a multipart upload.
func slowCluster(t *testing.T) *clustertest.Cluster {
	t.Helper()
	c := filled(t, clustertest.Options{ExtraArgs: []string{"--rdb-key-save-delay", "50"}}, dataset.Options{Keys: 6_000, Seed: 5})
	value := strings.Repeat("0123456789abcdef", 20<<20/16)
	for _, node := range c.Primaries() {
		key := ""
		for i := 0; key == "" || !node.Slots.Contains(slot.Of([]byte(key))); i++ {
			key = fmt.Sprintf("large:%d", i)
		}
		if err := c.Client().Set(t.Context(), key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// The value need not be incompressible if nobody compresses it.
	for _, addr := range c.Addrs() {
		do(t, addr, "CONFIG", "SET", "rdbcompression", "no")
	}
	return c
}

// repositories makes places for a primary and a mirror, a fresh pair each time.
type repositories struct {
	name string
	make func(t *testing.T) (args []string, left func(t *testing.T) []string)
}

func folders(t *testing.T) repositories {
	root, made := t.TempDir(), 0
	return repositories{"folders", func(t *testing.T) ([]string, func(*testing.T) []string) {
		made++
		repo, mirror := filepath.Join(root, fmt.Sprint(made), "repo"), filepath.Join(root, fmt.Sprint(made), "mirror")
		return []string{"--repo", repo, "--mirror", mirror}, func(t *testing.T) []string { return append(objects(t, repo), objects(t, mirror)...) }
	}}
}

func buckets(t *testing.T) repositories {
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	made := 0
	return repositories{"S3", func(t *testing.T) ([]string, func(*testing.T) []string) {
		made++
		bucket := fmt.Sprintf("moment-%d", made)
		args := []string{"--repo", east.URL(east.Bucket(t, bucket), "p"), "--mirror", west.URL(west.Bucket(t, bucket), "p")}
		return args, func(t *testing.T) []string {
			var left []string
			for _, server := range []*s3test.Server{east, west} {
				for _, key := range s3Objects(t, server, bucket) {
					left = append(left, strings.TrimPrefix(key, "p/"))
				}
				for _, key := range server.Uploads(t, bucket) {
					left = append(left, "incomplete upload of "+key)
				}
			}
			return left
		}
	}}
}

// TestInterruptedSnapshot presses Ctrl-C at moments from the start of a
// snapshot to its end.
func TestInterruptedSnapshot(t *testing.T) {
	t.Parallel()
	c := slowCluster(t)
	before := serverSettings(t, c.Addrs())
	for _, stores := range []repositories{folders(t), buckets(t)} {
		for _, way := range []string{"bgsave", "stream"} {
			t.Run(stores.name+" by "+way, func(t *testing.T) {
				snapshot := []string{"snapshot", "--collect", way, "--node", c.Addrs()[0]}
				args, _ := stores.make(t)
				began := time.Now()
				slotark(t, password, append(snapshot, args...)...).want(t, exitDone, "is whole")
				length := time.Since(began)
				interrupted := 0
				for i := range 12 {
					after := length * time.Duration(i) / 11
					args, left := stores.make(t)
					o := signalled(t, after, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2], append(snapshot, args...)...)
					if wantNoneOrWhole(t, o, args, left) {
						length = min(length, after) // the machine was busier before
						continue
					}
					interrupted++
				}
				wantSameSettings(t, before, c.Addrs())
				t.Logf("%d of 12 runs of %s were interrupted", interrupted, length.Round(time.Millisecond))
				if interrupted < 4 {
					t.Errorf("only %d runs were interrupted: the test tests little", interrupted)
				}
			})
		}
	}
}

// wantNoneOrWhole checks that a snapshot is there in both stores and the run
// said so, or that nothing is.
func wantNoneOrWhole(t *testing.T, o outcome, args []string, left func(*testing.T) []string) (whole bool) {
	t.Helper()
	if o.code == exitDone {
		slotark(t, "", append([]string{"verify", "latest"}, args...)...).want(t, exitDone, "sound at level deep")
		slotark(t, "", append([]string{"list"}, args...)...).want(t, exitDone, "2 of 2")
		return true
	}
	o.wantInterrupted(t)
	rest := slices.DeleteFunc(left(t), func(name string) bool { return name == "slotark.json" })
	if len(rest) > 0 {
		t.Errorf("an interrupted run leaves %v", rest)
	}
	if list := slotark(t, "", append([]string{"list"}, args...)...); list.code != exitNoRepository {
		list.want(t, exitDone, "no snapshots")
	}
	return false
}

// TestKilledSnapshot cannot clean up, but leaves nothing that counts, and
// nothing that is in the next one's way. The cluster is written to meanwhile.
func TestKilledSnapshot(t *testing.T) {
	t.Parallel()
	c := slowCluster(t)
	writingEvery(t, c, 5*time.Millisecond)
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo"), "--mirror", filepath.Join(t.TempDir(), "mirror")}
	snapshot := append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)
	before := serverSettings(t, c.Addrs())
	for _, after := range []time.Duration{50, 100, 250} {
		if o := signalled(t, after*time.Millisecond, syscall.SIGKILL, snapshot...); o.code == exitDone {
			if after == 50 {
				t.Fatal("it ended within 50 ms: the test tests nothing")
			}
			break // a fast machine; what was killed before is what counts
		}
		if o := slotark(t, "", append([]string{"list"}, repo...)...); o.code != exitNoRepository {
			o.want(t, exitDone, "no snapshots")
		}
	}
	slotark(t, password, snapshot...).want(t, exitDone, "is whole")
	slotark(t, "", append([]string{"verify", "latest"}, repo...)...).want(t, exitDone, "sound at level deep")
	wantSameSettings(t, before, c.Addrs())
	t.Run("time limit", func(t *testing.T) { testTimeLimit(t, c) })
}

// testTimeLimit takes snapshots of dumps that would take a minute: they end at
// their limit, which they name, and leave nothing.
func testTimeLimit(t *testing.T, c *clustertest.Cluster) {
	for _, addr := range c.Addrs() {
		do(t, addr, "CONFIG", "SET", "rdb-key-save-delay", 30_000)
	}
	before, stores := serverSettings(t, c.Addrs()), folders(t)
	for _, way := range []string{"bgsave", "stream"} {
		args, left := stores.make(t)
		began := time.Now()
		slotark(t, password, append([]string{"snapshot", "--time-limit", "2s", "--collect", way, "--node", c.Addrs()[0]}, args...)...).
			wantFailure(t, exitFailed, "the snapshot took over its limit of 2s").wantOneLine(t)
		if took := time.Since(began); took > promptly {
			t.Errorf("by %s it took %s to end", way, took)
		}
		if rest := slices.DeleteFunc(left(t), func(name string) bool { return name == "slotark.json" }); len(rest) > 0 {
			t.Errorf("by %s it left %v", way, rest)
		}
	}
	wantSameSettings(t, before, c.Addrs())
}

// TestInterruptedRestore interrupts both ways of restoring, and verify.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	c := slowCluster(t)
	repo := filepath.Join(t.TempDir(), "repo")
	slotark(t, password, "snapshot", "--repo", repo, "--node", c.Addrs()[0]).want(t, exitDone)
	stored := objects(t, repo)
	t.Run("replay", func(t *testing.T) { interruptReplay(t, repo) })
	t.Run("seed", func(t *testing.T) { interruptSeed(t, repo) })
	t.Run("verify", func(t *testing.T) {
		began := time.Now()
		slotark(t, "", "verify", "latest", "--repo", repo).want(t, exitDone)
		for _, after := range moments(time.Since(began), 6) {
			o := signalled(t, after, syscall.SIGINT, "verify", "latest", "--repo", repo)
			if o.code != exitDone {
				o.wantInterrupted(t)
			}
		}
		for _, name := range stored {
			if !slices.Contains(objects(t, repo), name) {
				t.Errorf("%s is gone", name)
			}
		}
		slotark(t, "", "list", "--repo", repo).want(t, exitDone, "deep, ")
	})
}

func interruptReplay(t *testing.T, repo string) {
	restore := func(targets []string) []string {
		return []string{"restore", "latest", "--repo", repo, "--to", strings.Join(targets, ",")}
	}
	began := time.Now()
	slotark(t, password, restore(emptyNodes(t, 4))...).want(t, exitDone, "equal: ")
	length := time.Since(began)
	targets := emptyNodes(t, 4)
	before := serverSettings(t, targets)
	interrupted := 0
	for i, after := range moments(length, 8) {
		o := signalled(t, after, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2], restore(targets)...)
		if o.code == exitDone {
			o.want(t, exitDone, "equal: ")
			targets = emptyNodes(t, 4)
			before = serverSettings(t, targets)
			continue
		}
		interrupted++
		o.wantInterrupted(t)
		wantSameSettings(t, before, targets)
		for _, addr := range targets {
			wantAlone(t, addr)
		}
	}
	t.Logf("%d of 8 runs of %s were interrupted", interrupted, length.Round(time.Millisecond))
	slotark(t, password, restore(targets)...).want(t, exitDone, "equal: ")
}

// wantAlone checks at once, without a second look, that a node is as empty as
// the run that was interrupted has found it.
func wantAlone(t *testing.T, addr string) {
	t.Helper()
	if state := nodeState(t, addr); state != aloneState {
		t.Errorf("%s has %s, want %s", addr, state, aloneState)
	}
	nodes, err := cluster.ParseNodes(fmt.Sprint(do(t, addr, "CLUSTER", "NODES")))
	if err != nil || len(nodes) != 1 || !nodes[0].Has("master") {
		t.Errorf("%s knows %v (%v)", addr, nodes, err)
	}
}

func interruptSeed(t *testing.T, repo string) {
	root := t.TempDir()
	restore := func(n int) (dir string, args []string) {
		dir = filepath.Join(root, fmt.Sprint(n))
		return dir, []string{"restore", "latest", "--repo", repo, "--to-dir", dir, "--at", "10.0.0.1:7001,10.0.0.2:7001,10.0.0.3:7001,10.0.0.4:7001"}
	}
	began := time.Now()
	whole, args := restore(1000)
	slotark(t, password, args...).want(t, exitDone)
	length := time.Since(began)
	for i, after := range moments(length, 10) {
		dir, args := restore(i)
		o := signalled(t, after, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2], args...)
		if o.code == exitDone {
			if got, want := objects(t, dir), objects(t, whole); !slices.Equal(got, want) {
				t.Errorf("a whole seed has %v, want %v", got, want)
			}
			continue
		}
		o.wantInterrupted(t)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("an interrupted seed leaves %v", objects(t, dir))
		}
	}
	// A folder that was there before stays, empty as it was.
	own := t.TempDir()
	_, args = restore(0)
	args[slices.Index(args, "--to-dir")+1] = own
	if o := signalled(t, length/2, syscall.SIGINT, args...); o.code != exitDone {
		o.wantInterrupted(t)
		if entries, err := os.ReadDir(own); err != nil || len(entries) > 0 {
			t.Errorf("the folder holds %v (%v)", entries, err)
		}
	}
}
