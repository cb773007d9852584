package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// watchedNode is a way to one node of a cluster on which a test looks at what
// snapshots ask of it.
type watchedNode struct {
	*clustertest.Cluster
	node *clustertest.Node
	pass func(server io.Writer, p []byte) error // set between two runs
	take []string
}

func watchNode(t *testing.T, c *clustertest.Cluster, node *clustertest.Node, repo string) *watchedNode {
	t.Helper()
	w := &watchedNode{Cluster: c, node: node, pass: handOn}
	way := newWay(t, node.Addr(), anybody, func(server io.Writer, p []byte) error { return w.pass(server, p) })
	w.take = []string{"snapshot", "--aof", "--node", c.Addrs()[0], "--repo", repo, "--nat", node.Addr() + "=" + way.addr}
	return w
}

// bareSave is BGSAVE with nothing behind it: a preflight asks with a word that no
// server knows.
var bareSave = []byte("*1\r\n$6\r\nBGSAVE\r\n")

// isChange tells whether a node is asked for what it does not do of itself: to
// switch automatic rewrites off, to save, to switch them on again.
func isChange(p []byte) bool {
	if bytes.Contains(p, []byte("slotark-asks")) { // a preflight, which only tries whether it may
		return false
	}
	asked := bytes.ToUpper(p)
	return bytes.Contains(asked, bareSave) || bytes.Contains(asked, []byte("\r\nCONFIG\r\n$3\r\nSET\r\n"))
}

// signalledAt runs a snapshot and signals it when it asks the node for its change
// of a number, before that is passed on or after. It tells whether it did.
func (w *watchedNode) signalledAt(t *testing.T, number int, after bool, signal os.Signal) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	var cmd *exec.Cmd
	asked := 0
	w.pass = func(server io.Writer, p []byte) error {
		if !isChange(p) {
			return handOn(server, p)
		}
		if asked++; asked != number {
			return handOn(server, p)
		}
		var err error
		if after {
			err = handOn(server, p)
		}
		return errors.Join(err, cmd.Process.Signal(signal), errSignalled)
	}
	defer func() { w.pass = handOn }()
	cmd = command(ctx, password, w.take...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if reached := asked >= number; reached != (err != nil) {
		t.Errorf("change %d, reached %t: %v\n%s", number, reached, err, stderr.String())
	}
	return asked >= number
}

var errSignalled = errors.New("the run was signalled")

// left are the private folders in the nodes' data folders.
func (w *watchedNode) left(t *testing.T) (all []string) {
	t.Helper()
	for _, node := range w.Nodes {
		more, err := filepath.Glob(filepath.Join(node.Proc.Dir(), ".slotark-aof-*"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, more...)
	}
	return all
}

// TestKilledAOFAtEachChange kills a snapshot at each change that it asks of a
// node, before the node hears of it and after: after the next run each node has
// its own settings, and nothing is left. Interrupted, a run puts everything back
// by itself.
func TestKilledAOFAtEachChange(t *testing.T) {
	t.Parallel()
	c := newAOFCluster(t)
	want := settingsOf(t, c)
	repo := filepath.Join(t.TempDir(), "repo")
	w := watchNode(t, c, c.Nodes[1], repo)
	changes := 0
	for reached := true; reached; changes++ {
		for _, after := range []bool{false, true} {
			if reached = w.signalledAt(t, changes+1, after, syscall.SIGKILL); !reached {
				break
			}
			slotark(t, password, w.take...).want(t, exitDone)
			wantSettings(t, c, want)
			if left := w.left(t); len(left) > 0 || t.Failed() {
				t.Fatalf("killed at change %d (passed on: %t), the next run left %v", changes+1, after, left)
			}
		}
	}
	if changes != 4 { // three, and the run that was not killed
		t.Errorf("a node is asked for %d changes, want 3: rewrites off, a save, rewrites on", changes-1)
	}
	for number := 1; number <= 2; number++ {
		if !w.signalledAt(t, number, true, syscall.SIGINT) {
			t.Errorf("change %d was not reached", number)
		}
		wantSettings(t, c, want)
		if left := w.left(t); len(left) > 0 {
			t.Errorf("interrupted at change %d, it left %v", number, left)
		}
	}

	// Without a next run, an agent that is started again does it.
	if !w.signalledAt(t, 1, true, syscall.SIGKILL) || len(w.left(t)) == 0 {
		t.Fatal("a killed run has left nothing: the test tests nothing")
	}
	tr := newTrust(t)
	for _, node := range c.Nodes {
		startAgent(t, tr, "", "--node", node.Addr(), "--data-dir", node.Addr()+"="+node.Proc.Dir(), "--repo", repo)
	}
	wantSettings(t, c, want)
	if left := w.left(t); len(left) > 0 {
		t.Errorf("the agents left %v", left)
	}

	t.Run("commands in between", func(t *testing.T) { notAligned(t, w, repo) })
}

// notAligned has commands come in between what a node is asked at its fork: the
// set is whole, is said not to end where the dump begins, and is restored without
// a comparison.
func notAligned(t *testing.T, w *watchedNode, repo string) {
	key := ""
	for i := 0; key == "" || !w.node.Slots.Contains(slot.Of([]byte(key))); i++ {
		key = fmt.Sprintf("between:%d", i)
	}
	// From now on the nodes count what they would send to replicas.
	slotark(t, password, "snapshot", "--collect", "stream", "--node", w.Addrs()[0], "--repo", filepath.Join(t.TempDir(), "repo")).want(t, exitDone)
	for i := range 16 { // to both
		if err := w.Client().Set(t.Context(), fmt.Sprintf("counted:%d", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// Half a command, as of a write that is under way, is in the file when it is
	// linked; the node does not know of it.
	const half = "*3\r\n$3\r\nSET\r\n$"
	increments, whole := appended(t, w.node), int64(0)
	file := increments[len(increments)-1]
	between := 0
	w.pass = func(server io.Writer, p []byte) error {
		at := bytes.Index(bytes.ToUpper(p), bareSave)
		if at < 0 {
			return handOn(server, p)
		}
		if between++; between > 1 {
			cutFile(t, file, whole)
		}
		if err := handOn(server, p[:at]); err != nil {
			return err
		}
		for i := range 2 { // when the second is carried out, what came before the first was, too
			ask(t, w.Cluster, w.node.Addr(), "SET", key, i)
		}
		persistence(t, w.Cluster, w.node.Addr(), "aof_buffer_length", "0") // an fsync can make them wait
		whole = appendTo(t, file, half)
		return handOn(server, p[at:])
	}
	slotark(t, password, w.take...).want(t, exitDone, "is whole", "where its dump stands in its append-only files could not be told")
	if between == 0 { // more than once while the save of the run before is still going on
		t.Fatal("nothing came in between")
	}
	cutFile(t, file, whole)
	wantSets(t, w, repo, int64(len(half)))
	o := slotark(t, password, "show", "latest", "--repo", repo, "--json").want(t, exitDone)
	if a, b := strings.Count(o.stdout, `"aligned":true`), strings.Count(o.stdout, `"aligned":false`); a != 1 || b != 1 {
		t.Errorf("%d sets end where their dump begins, %d do not:\n%s", a, b, o.stdout)
	}
	slotark(t, password, "verify", "latest", "--repo", repo).want(t, exitDone, "sound at level deep")
	targets := emptyNodes(t, 2)
	slotark(t, password, "restore", "latest", "--from-aof", "--repo", repo, "--to", strings.Join(targets, ",")).want(t, exitFindings, "cannot be compared with it")
	if got := fmt.Sprint(do(t, targets[1], "GET", key)); got != "1" {
		t.Errorf("what was written last before the set's end is %s", got)
	}
}

// appended are the files that a node appends to, the newest last.
func appended(t *testing.T, node *clustertest.Node) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(node.Proc.Dir(), "appendonlydir", "*.incr.aof"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("a node whose files were never rewritten appends to %v, %v", paths, err)
	}
	return paths
}

// appendTo appends to a file and returns its size before.
func appendTo(t *testing.T, path, text string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return 0
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Error(err)
	}
	return info.Size()
}

func cutFile(t *testing.T, path string, size int64) {
	if err := os.Truncate(path, size); err != nil {
		t.Error(err)
	}
}

// wantSets checks what the newest snapshot says of the sets of a cluster at rest
// against the nodes and their files. One set was cut.
func wantSets(t *testing.T, w *watchedNode, repo string, cut int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(repo, "default", "snapshots", "*", "manifest.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("manifests %v, %v", paths, err)
	}
	text, err := os.ReadFile(slices.Max(paths)) // ids are in the order of time
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range w.Nodes {
		set, want := m.Shards[i].AOF, int64(0)
		if node == w.node {
			want = cut
		}
		content, err := os.ReadFile(appended(t, node)[0])
		if err != nil {
			t.Fatal(err)
		}
		stamps := regexp.MustCompile(`(?m)^#TS:(\d+)\r$`).FindAllSubmatch(content, -1)
		first, last := fmt.Sprint(set.First.Unix()), fmt.Sprint(set.Last.Unix())
		if len(stamps) < 2 || first != string(stamps[0][1]) || last != string(stamps[len(stamps)-1][1]) {
			t.Errorf("shard %d is from %s to %s, its file has %q", i, first, last, stamps)
		}
		if set.Cut != want || set.Files[len(set.Files)-1].Content().Bytes != int64(len(content)) {
			t.Errorf("shard %d: %d bytes were cut off, want %d; %+v of a file of %d bytes", i, set.Cut, want, set.Files, len(content))
		}
		client := w.Access().Open(node.Addr())
		at, err := client.Info(t.Context(), "replication")
		if err = errors.Join(err, client.Close()); err != nil {
			t.Fatal(err)
		}
		if offset := at.Int("master_repl_offset"); offset == 0 || set.Offset.End != offset || set.Offset.Start != nil {
			t.Errorf("shard %d ends at %+v, the node is at %d", i, set.Offset, offset)
		}
	}
}
