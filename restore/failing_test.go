package restore_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
)

// failure is what goes wrong on one node while it is loaded.
type failure struct {
	name  string
	early bool // before the node is sent anything
	cause func(t *testing.T, node *cluster.Node, p *redisproc.Process)
	says  []string // of the error and its hints
	mend  func(t *testing.T, node *cluster.Node, p *redisproc.Process)
}

func asked(t *testing.T, node *cluster.Node, args ...any) {
	t.Helper()
	if _, err := node.Do(t.Context(), args...); err != nil {
		t.Error(err)
	}
}

// A key of the dataset that the first of two primaries owns is found by its slot.
const lateKey = "late key"

func failures() []failure {
	return []failure{
		{"out of memory", true,
			func(t *testing.T, node *cluster.Node, _ *redisproc.Process) {
				asked(t, node, "CONFIG", "SET", "maxmemory", "3mb", "maxmemory-policy", "noeviction")
			},
			[]string{"refused key", "OOM", "Raise maxmemory"},
			func(t *testing.T, node *cluster.Node, _ *redisproc.Process) {
				asked(t, node, "CONFIG", "SET", "maxmemory", "0")
			}},
		{"a key that does not load", true,
			func(t *testing.T, node *cluster.Node, _ *redisproc.Process) { asked(t, node, "SET", lateKey, "mine") },
			[]string{"refused key \"" + lateKey + "\"", "BUSYKEY", "Somebody writes to the node"},
			func(*testing.T, *cluster.Node, *redisproc.Process) {}},
		{"a right that is missing", true,
			func(t *testing.T, node *cluster.Node, _ *redisproc.Process) {
				asked(t, node, "ACL", "SETUSER", "default", "-restore")
			},
			[]string{"refused key", "NOPERM", "Give the user the right +restore"},
			func(t *testing.T, node *cluster.Node, _ *redisproc.Process) {
				asked(t, node, "ACL", "SETUSER", "default", "+restore")
			}},
		{"a node that does not answer", false,
			func(t *testing.T, _ *cluster.Node, p *redisproc.Process) {
				if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
					t.Error(err)
				}
				time.AfterFunc(3*time.Second, func() { _ = syscall.Kill(p.PID(), syscall.SIGCONT) })
			},
			[]string{"did not answer for 1s"},
			func(*testing.T, *cluster.Node, *redisproc.Process) {}},
	}
}

// TestReplayFails has a node fail while it is loaded: it is said what, where and what to do;
// all nodes are empty again, or stay as they are for a restore that goes on when it is
// mended. The snapshot's own cluster is not touched.
func TestReplayFails(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 20_000, Seed: 15}, func(c *clustertest.Cluster) {
		if err := c.Client().Set(t.Context(), lateKey, "the snapshot's", 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
	before := digestsOf(t, s.Addrs())
	var group sync.WaitGroup
	for _, f := range failures() {
		group.Go(func() {
			t.Run(f.name, func(t *testing.T) { replayFails(t, s, f, false) })
			t.Run(f.name+", left as it is", func(t *testing.T) { replayFails(t, s, f, true) })
		})
	}
	group.Wait()
	if after := digestsOf(t, s.Addrs()); !slices.Equal(before, after) {
		t.Errorf("the source's nodes held %v, and hold %v", before, after)
	}
}

func digestsOf(t *testing.T, addrs []string) []string {
	t.Helper()
	var all []string
	for _, addr := range addrs {
		node := access().Open(addr)
		digest, err := node.Text(t.Context(), "DEBUG", "DIGEST")
		if err != nil {
			t.Error(err)
		}
		all = append(all, digest)
		node.Close()
	}
	return all
}

func replayFails(t *testing.T, s *source, f failure, keep bool) {
	var processes []*redisproc.Process
	var targets []string
	for range 3 {
		p := startNode(t, redisproc.Options{Dir: t.TempDir(), Password: password, Args: clusterArgs()})
		processes, targets = append(processes, p), append(targets, p.Addr())
	}
	victim := 1 // owns the upper half of the slots
	if slot.Of([]byte(lateKey)) < slot.Count/2 {
		victim = 0
	}
	node := access().Open(targets[victim])
	defer node.Close()
	var once sync.Once
	o := replayOptions(s.snapshot, targets, func(e progress.Event) {
		if e.Phase == "load" && (f.early || e.Detail == targets[victim] && e.Keys > 0 && !e.Ended) {
			once.Do(func() { f.cause(t, node, processes[victim]) })
		}
	})
	o.KeepPartial, o.Patience = keep, time.Second
	_, err := restore.Run(t.Context(), o)
	text := ""
	if err != nil {
		text = strings.Join(append(hint.Of(err), err.Error()), "\n")
	}
	for _, says := range append(f.says, targets[victim]) {
		if !strings.Contains(text, says) {
			t.Errorf("it does not say %q: %s", says, text)
		}
	}
	f.mend(t, node, processes[victim])
	if !keep {
		requireEmpty(t, targets)
		wantReplayed(t, s, targets, replayOptions(s.snapshot, targets, nil), "")
		return
	}
	if !strings.Contains(text, "is left as it is") || !strings.Contains(text, "--resume") {
		t.Errorf("it does not say how to go on: %s", text)
	}
	if _, err := restore.Run(t.Context(), replayOptions(s.snapshot, targets, nil)); !errors.Is(err, hint.ErrRefused) {
		t.Errorf("without --resume: %v", err)
	}
	wantResumed(t, s, targets, "went on with a killed restore")
}
