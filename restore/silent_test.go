package restore_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
)

const (
	// answerWithin is the timeout of each question, and silentFor how long a node
	// is stopped: one question at least, asked meanwhile, gets no answer.
	answerWithin = 2 * time.Second
	silentFor    = 3 * time.Second
)

// silence is when a node stops to answer: in a phase, as soon as its answer to a
// command holds a text.
type silence struct {
	phase   string
	victim  int // 0 is the primary, 1 its replica
	command []any
	until   string
}

// TestSilentNodes has a node say nothing for longer than a question may take, as one
// does that forks or whose machine is overloaded, while the restore waits for it: it
// is asked again. A single unanswered INFO used to leave a replica unattached.
func TestSilentNodes(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1, Replicas: 1}, dataset.Options{Keys: 300, Seed: 16}, nil)
	for name, when := range map[string]silence{
		"a primary that joins":               {"join", 0, []any{"CLUSTER", "INFO"}, "cluster_known_nodes:2"},
		"a replica before it is told":        {"replicas", 1, []any{"PING"}, "PONG"},
		"a replica that was told":            {"replicas", 1, []any{"INFO", "replication"}, "role:slave"},
		"a primary while its replica copies": {"replicas", 0, []any{"INFO", "replication"}, "role:master"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restoreInSilence(t, s, when)
		})
	}
}

func restoreInSilence(t *testing.T, s *source, when silence) {
	var targets []string
	var pids []int
	for range 2 {
		p := startNode(t, redisproc.Options{Dir: t.TempDir(), Password: password, Args: clusterArgs()})
		targets, pids = append(targets, p.Addr()), append(pids, p.PID())
	}
	node := access().Open(targets[when.victim])
	defer node.Close()
	reached := func() bool {
		answer, err := node.Text(t.Context(), when.command...)
		if err != nil {
			t.Error(err)
		}
		return err != nil || strings.Contains(answer, when.until)
	}
	stop := func() {
		if err := syscall.Kill(pids[when.victim], syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		time.AfterFunc(silentFor, func() { _ = syscall.Kill(pids[when.victim], syscall.SIGCONT) })
	}
	var watching sync.WaitGroup
	o := restore.Options{Snapshot: s.snapshot, To: targets, Access: access(), Replicas: restore.AllReplicas}
	o.Access.Timeout = answerWithin
	o.Progress = func(e progress.Event) {
		switch {
		case e.Task != "restore" || e.Phase != when.phase:
		case reached(): // before the phase's first question
			stop()
		default:
			watching.Go(func() {
				for !reached() {
				}
				stop()
			})
		}
	}
	result, err := restore.Run(t.Context(), o)
	watching.Wait()
	if err != nil || !result.Complete() {
		t.Errorf("%v %+v", err, result)
	}
}
