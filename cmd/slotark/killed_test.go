package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	t.Parallel()
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
// end. The same command again goes on and comes to the same end, or finds
// that the one before had come to it.
func TestKilledSeed(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 20_000, Seed: 33})
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
	restore := func(targets []string, more ...string) []string {
		return append(append([]string{"restore", "latest", "--to", strings.Join(targets, ",")}, repo...), more...)
	}
	wantWhole := func(targets []string) {
		t.Helper()
		slotark(t, password, append([]string{"verify", "latest", "--live", "--node", targets[0]}, repo...)...).want(t, exitDone, "equal: 20,000 keys")
	}
	targets := emptyNodes(t, 3)
	began := time.Now()
	slotark(t, password, restore(targets)...).want(t, exitDone)
	length, refused := time.Since(began), 0
	wantWhole(targets)
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
		if !strings.Contains(o.stderr, "--resume") { // it was killed when it had come to its end
			wantWhole(targets)
			continue
		}
		refused++
		o.want(t, exitRefused, "the same command with --resume").wantOneLine(t)
		slotark(t, password, restore(targets, "--resume")...).want(t, exitDone, "went on with a killed restore", "equal: 20,000 keys in 16384 slots")
	}
	if refused == 0 {
		t.Error("no restore was killed in its middle")
	}
	slotark(t, password, restore(targets, "--resume", "--plan")...).want(t, exitUsage, "--plan changes nothing").wantOneLine(t)
}

// killStep is a moment of a snapshot: a request to one of its stores, before it is
// passed on or, of one that writes, after it was done and before that is answered.
type killStep struct {
	store   int // 0 is the primary
	request int // of those that are no HEAD, which changes nothing and comes beside one that does
	after   bool
	require string
	what    string // the request, for a person
}

// TestKilledAtEachStep kills a snapshot to a primary and a mirror, two regions, at
// each request to either of them in turn. Whatever it was about, no store lists half
// of a snapshot, no node has another setting, and the next one is whole; what one
// store alone lists then, a sync brings to the other, and both hold the same.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 600, Seed: 4})
	before := serverSettings(t, c.Addrs())
	k := &killing{cluster: c, regions: []*s3test.Server{s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")}}
	steps := k.steps(t)
	for _, step := range steps {
		k.try(t, step)
		if t.Failed() {
			t.Fatalf("killed at %+v", step)
		}
	}
	t.Logf("%d steps, after %d of which one store alone had the snapshot", len(steps), k.alone)
	if len(steps) < 40 || k.alone < 4 {
		t.Error("the test tests little")
	}
	wantSameSettings(t, before, c.Addrs())
}

// killing is what all steps share.
type killing struct {
	cluster *clustertest.Cluster
	regions []*s3test.Server
	made    int
	alone   int // steps after which one of the stores had the snapshot
}

// run takes a snapshot into buckets that are named alike in both regions, and shows
// each request that is no HEAD before it is passed on. Where see answers it,
// that is all that comes of it.
func (k *killing) run(t *testing.T, bucket, require string, see func(cmd *exec.Cmd, store int, forward http.Handler, r *http.Request) bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	var cmd *exec.Cmd
	gone := make(chan struct{})
	urls := make([]string, len(k.regions))
	for store, server := range k.regions {
		forward := server.Forward(t)
		urls[store] = server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead || !see(cmd, store, forward, r) {
				return false
			}
			<-gone // nobody is told what came of it
			return true
		}).URL(bucket, "")
	}
	cmd = command(ctx, password, "snapshot", "--node", k.cluster.Addrs()[0], "--repo", urls[0]+"&name=east", "--mirror", urls[1]+"&name=west", "--require", require)
	err := cmd.Run()
	close(gone)
	return err
}

// buckets makes one bucket of a name in each region, and returns the name and the
// flags.
func (k *killing) buckets(t *testing.T) (bucket string, repo []string) {
	t.Helper()
	k.made++
	bucket = fmt.Sprintf("step-%d", k.made)
	return bucket, []string{"--repo", k.regions[0].URL(k.regions[0].Bucket(t, bucket), "") + "&name=east", "--mirror", k.regions[1].URL(k.regions[1].Bucket(t, bucket), "") + "&name=west"}
}

// steps are those of a snapshot that nobody kills. Its end is tried in both orders
// of the stores: where the mirror must have it, that one is told first.
func (k *killing) steps(t *testing.T) []killStep {
	t.Helper()
	bucket, _ := k.buckets(t)
	var mu sync.Mutex
	var steps []killStep
	counts := make([]int, len(k.regions))
	err := k.run(t, bucket, "primary", func(_ *exec.Cmd, store int, _ http.Handler, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		counts[store]++
		at := killStep{store: store, request: counts[store], require: "primary", what: r.Method + " " + r.URL.RequestURI()}
		done := at
		done.after = true
		steps = append(steps, at)
		if r.Method == http.MethodPut {
			steps = append(steps, done)
		}
		if strings.HasSuffix(r.URL.Path, "/manifest.json") {
			at.require, done.require = "all", "all"
			steps = append(steps, at, done)
		}
		return false
	})
	if err != nil {
		t.Fatalf("a run that nothing kills: %v", err)
	}
	return steps
}

// try kills a snapshot at a step and looks at what is left, and at what comes of it.
func (k *killing) try(t *testing.T, step killStep) {
	t.Helper()
	bucket, repo := k.buckets(t)
	counts := make([]atomic.Int64, len(k.regions))
	err := k.run(t, bucket, step.require, func(cmd *exec.Cmd, store int, forward http.Handler, r *http.Request) bool {
		if counts[store].Add(1) != int64(step.request) || store != step.store {
			return false
		}
		if step.after {
			forward.ServeHTTP(httptest.NewRecorder(), r)
		}
		_ = cmd.Process.Kill()
		return true
	})
	if err == nil {
		t.Error("it came to its end: there was no such request")
	}
	// Each store by itself: what it lists is sound there.
	var listed []int
	for store, server := range k.regions {
		one := []string{"--repo", server.URL(bucket, "")}
		if len(manifestsOf(t, server, bucket)) == 0 {
			continue
		}
		listed = append(listed, store)
		slotark(t, "", append([]string{"verify", "latest"}, one...)...).want(t, exitDone, "sound at level deep")
	}
	if o := slotark(t, "", append([]string{"list", "--json"}, repo...)...); o.code != exitNoRepository || len(listed) > 0 {
		if got := strings.Count(o.stdout, `"snapshot_entry"`); got != min(1, len(listed)) {
			t.Errorf("the stores %v have a manifest, and %d snapshots are listed", listed, got)
		}
	}
	// Over the wire, because forks one after the other take half of the test's time.
	slotark(t, password, append([]string{"snapshot", "--collect", "stream", "--node", k.cluster.Addrs()[0]}, repo...)...).want(t, exitDone, "is whole", "600 keys", "west stored")
	if len(listed) == 1 {
		k.alone++
		slotark(t, "", append([]string{"mirror", "sync", "--to", []string{"west", "east"}[listed[0]]}, repo...)...).want(t, exitDone, "1 snapshot copied, 0 still behind")
	}
	if east, west := manifestsOf(t, k.regions[0], bucket), manifestsOf(t, k.regions[1], bucket); !slices.Equal(east, west) || len(east) != 1+min(1, len(listed)) {
		t.Errorf("in the end east has %v and west %v", east, west)
	}
}

// manifestsOf are the names of the manifests in a bucket.
func manifestsOf(t *testing.T, server *s3test.Server, bucket string) []string {
	t.Helper()
	return slices.DeleteFunc(s3Objects(t, server, bucket), func(name string) bool { return !strings.HasSuffix(name, "/manifest.json") })
}
