package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
)

// TestKilledPrune kills a prune at moments from its start to its end. What is
// listed is whole at each, the newest stay, and the next prune ends where one
// that was not killed does. Two snapshots at once come first: both are whole.
func TestKilledPrune(t *testing.T) {
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 31})
	root := t.TempDir()
	repo := func(name string) []string {
		return []string{"--repo", filepath.Join(root, name, "repo"), "--mirror", filepath.Join(root, name, "mirror")}
	}
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for range 3 {
				o := slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo("base")...)...)
				if o.code != exitDone {
					t.Errorf("one of two snapshots at once: exit code %d\n%s", o.code, o.stderr)
				}
			}
		})
	}
	wait.Wait()
	all := idsOf(t, repo("base")...)
	if len(slices.Compact(slices.Clone(all))) != 6 {
		t.Fatalf("6 snapshots, two at a time, have the ids %v", all)
	}
	for _, id := range all {
		slotark(t, "", append([]string{"verify", id}, repo("base")...)...).want(t, exitDone, "sound at level deep in repo and mirror")
	}
	copied := func(name string) []string {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(root, "base"))); err != nil {
			t.Fatal(err)
		}
		// The evidence of the verifications keeps a snapshot, which is not what is tried here.
		for _, store := range []string{"repo", "mirror"} {
			if err := os.RemoveAll(filepath.Join(root, name, store, "default", "verifications")); err != nil {
				t.Fatal(err)
			}
		}
		return repo(name)
	}
	rules := []string{"prune", "--keep-last", "2", "--keep-minimum", "1"}
	whole := copied("whole")
	began := time.Now()
	slotark(t, "", append(rules, whole...)...).want(t, exitDone, "4 dropped")
	length, want := time.Since(began), idsOf(t, whole...)
	killed := 0
	for i, after := range moments(length, 10) {
		args := copied("killed-" + string(rune('a'+i)))
		if o := signalled(t, after, syscall.SIGKILL, append(rules, args...)...); o.code == -1 {
			killed++
		}
		left := idsOf(t, args...)
		if len(left) < 2 || !slices.Equal(left[:2], want) {
			t.Fatalf("killed after %s it left %v, want at least %v", after, left, want)
		}
		for _, id := range left {
			slotark(t, "", "verify", id, "--level", "checksum", "--repo", args[1]).want(t, exitDone)
		}
		slotark(t, "", append(rules, args...)...).want(t, exitDone)
		if left := idsOf(t, args...); !slices.Equal(left, want) {
			t.Errorf("killed after %s, the next prune left %v, want %v", after, left, want)
		}
	}
	t.Logf("%d of 10 prunes of %s were killed", killed, length.Round(time.Millisecond))
}

// TestKilledSeed kills a restore to a folder at moments from its start to its
// end. The same command again begins anew and comes to the same end, or finds
// that the one before had come to it.
func TestKilledSeed(t *testing.T) {
	c := slowCluster(t)
	repo := filepath.Join(t.TempDir(), "repo")
	slotark(t, password, "snapshot", "--repo", repo, "--node", c.Addrs()[0]).want(t, exitDone)
	root := t.TempDir()
	restore := func(name string) (string, []string) {
		dir := filepath.Join(root, name)
		return dir, []string{"restore", "latest", "--repo", repo, "--to-dir", dir, "--at", "10.0.0.1:7001,10.0.0.2:7001,10.0.0.3:7001"}
	}
	whole, args := restore("whole")
	began := time.Now()
	slotark(t, "", args...).want(t, exitDone)
	length, want := time.Since(began), objects(t, whole)
	for i, after := range moments(length, 8) {
		dir, args := restore("killed-" + string(rune('a'+i)))
		if signalled(t, after, syscall.SIGKILL, args...).code == exitDone {
			continue
		}
		if o := slotark(t, "", args...); o.code != exitDone {
			o.want(t, exitRefused, "is not empty: it holds 01-shard-0-primary")
		}
		if got := objects(t, dir); !slices.Equal(got, want) {
			t.Errorf("killed after %s, the next restore made %v, want %v", after, got, want)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledReplay kills a restore into running nodes at moments from its start to
// its end. Without --resume the next one is refused, where anything was changed;
// with it the end is that of one that was not killed.
func TestKilledReplay(t *testing.T) {
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 20_000, Seed: 33})
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
	restore := func(targets []string, more ...string) []string {
		return append(append([]string{"restore", "latest", "--to", strings.Join(targets, ",")}, repo...), more...)
	}
	targets := emptyNodes(t, 3)
	began := time.Now()
	slotark(t, password, restore(targets)...).want(t, exitDone)
	length, refused := time.Since(began), 0
	// Nobody's leavings: a restore that ended is not taken over.
	slotark(t, password, restore(targets, "--resume")...).want(t, exitRefused, "belongs to a cluster already").wantOneLine(t)
	for _, after := range moments(length, 6) {
		targets := emptyNodes(t, 3)
		if signalled(t, after, syscall.SIGKILL, restore(targets)...).code == exitDone {
			continue
		}
		o := slotark(t, password, restore(targets)...)
		if o.code == exitDone { // it was killed before it changed anything
			continue
		}
		refused++
		o.want(t, exitRefused, "the same command with --resume").wantOneLine(t)
		slotark(t, password, restore(targets, "--resume")...).want(t, exitDone, "began anew over what was left of a killed restore", "equal: 20,000 keys in 16384 slots")
	}
	if refused == 0 {
		t.Error("no restore was killed in its middle")
	}
	slotark(t, password, restore(targets, "--resume", "--plan")...).want(t, exitUsage, "--plan changes nothing").wantOneLine(t)
}

// TestKilledAtEachStep kills a snapshot at each request to its stores in turn,
// from the first to the last. Whatever it was about, no store lists half of a
// snapshot, no node has another setting, and the next one is whole.
func TestKilledAtEachStep(t *testing.T) {
	c := small(t)
	before := serverSettings(t, c.Addrs())
	server := s3test.Start(t)
	for at, reached := 1, true; reached; at++ {
		bucket := server.Bucket(t, fmt.Sprintf("step-%d", at))
		reached = killedAt(t, c, server, bucket, at)
		repo := []string{"--repo", server.URL(bucket, "")}
		if o := slotark(t, "", append([]string{"list", "--json"}, repo...)...); o.code != exitNoRepository {
			// The last request may have done its work before its answer was lost.
			o.want(t, exitDone)
			if strings.Contains(o.stdout, `"snapshot_entry"`) {
				slotark(t, "", append([]string{"verify", "latest"}, repo...)...).want(t, exitDone, "sound at level deep")
			}
		}
		slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone, "is whole", "600 keys")
		if t.Failed() {
			t.Fatalf("after a kill at request %d", at)
		}
		if !reached && at < 8 {
			t.Errorf("a snapshot takes only %d requests: the test tests little", at-1)
		}
	}
	wantSameSettings(t, before, c.Addrs())
}

// killedAt runs a snapshot and kills it when a request comes to its store, before
// that is passed on at every second one and after at the others. It tells
// whether there was such a request.
func killedAt(t *testing.T, c *clustertest.Cluster, server *s3test.Server, bucket string, at int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	var cmd *exec.Cmd
	var count atomic.Int64
	forward := server.Forward(t)
	through := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if count.Add(1) != int64(at) {
			return false
		}
		if at%2 == 0 {
			forward.ServeHTTP(w, r)
		}
		_ = cmd.Process.Kill()
		return true
	})
	cmd = command(ctx, password, "snapshot", "--node", c.Addrs()[0], "--repo", through.URL(bucket, ""))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	reached := count.Load() >= int64(at)
	if !reached && err != nil {
		t.Errorf("a run that nothing kills: %v\n%s", err, stderr.String())
	}
	return reached
}
