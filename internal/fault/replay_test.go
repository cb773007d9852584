package fault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/fault"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
)

// replayLimit bounds one replay; none needs a tenth of it.
const replayLimit = 3 * time.Minute

// TestReplay has each fault at each call of a replay into running nodes, from
// its check on, what comes before being that of TestRestore: the nodes hold what
// was saved, or are as empty as they were, and the next replay is whole. A store
// that hangs is given up by the person.
func TestReplay(t *testing.T) {
	c := newSource(t)
	source := taken(t, c, sealings(t)["plain"])
	// At once, and more of them than t.Parallel lets: what takes long is waiting
	// for nodes that join.
	var group sync.WaitGroup
	for _, many := range []int{1, 2} {
		for _, kind := range fault.Kinds() {
			if kind == fault.Bent { // what a replay puts are its marks, as a restore to a folder does
				continue
			}
			group.Go(func() {
				t.Run([]string{"", "one store", "two stores"}[many], func(t *testing.T) {
					r := &replaying{stores: memories(many), access: c.Access()}
					repositoryOf(t, r.stores)
					source.put(t, "20260201T020000Z-aaaaaa", r.stores...)
					r.start(t)
					each(t, []fault.Kind{kind}, r.try)
				})
			})
		}
	}
	group.Wait()
}

// replaying is two stores, and the nodes to replay into.
type replaying struct {
	stores  []storage.Named
	access  *cluster.Access
	targets []string
}

func (r *replaying) start(t *testing.T) {
	t.Helper()
	for range 2 {
		p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir(),
			Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no", "--save", ""}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		r.targets = append(r.targets, p.Addr())
	}
}

// replay restores the newest snapshot. The plan begins when it was found.
func (r *replaying) replay(ctx context.Context, plan *fault.Plan) (*restore.Result, error) {
	repository, err := catalog.Open(ctx, plan.Stores(r.stores))
	if err != nil {
		return nil, err
	}
	s, err := repository.Find(ctx, "prod", catalog.Latest)
	if err != nil {
		return nil, err
	}
	plan.Arm()
	return restore.Run(ctx, restore.Options{Snapshot: s, To: r.targets, Access: r.access})
}

func (r *replaying) try(t *testing.T, plan *fault.Plan) {
	defer tell(t, plan)
	plan.Later = true
	ctx, cancel := context.WithTimeout(t.Context(), replayLimit)
	defer cancel()
	plan.Hung = cancel
	result, err := r.replay(ctx, plan)
	if err == nil {
		if !result.Complete() && plan.Hit() == "" {
			t.Errorf("a run without a fault: %v, %v", result.Findings, result.Comparison)
		}
		if result.Comparison == nil && len(result.Findings) == 0 {
			t.Error("nothing was compared, and nobody says so")
		}
		r.wantSaved(t)
		r.empty(t)
		return
	}
	r.wantAlone(t) // at once: who is told that it failed can try again
	if len(r.stores) > 1 && !slices.Contains([]fault.Kind{fault.Hang, fault.Stale}, plan.Kind) {
		t.Errorf("one store of two is broken: %v", err)
	}
	if plan.At > 2 { // the first are as good as any, and joining takes its time
		return
	}
	if result, err := r.replay(t.Context(), &fault.Plan{}); err != nil || !result.Complete() {
		t.Errorf("the next replay: %v", err)
	}
	r.wantSaved(t)
	r.empty(t)
}

// wantSaved looks at each key by itself.
func (r *replaying) wantSaved(t *testing.T) {
	t.Helper()
	found := 0
	for _, addr := range r.targets {
		node := r.access.Open(addr)
		for i := range 40 {
			value, err := node.Text(t.Context(), "GET", fmt.Sprint("key:", i))
			switch {
			case cluster.IsCode(err, "MOVED"):
			case err != nil || value != strings.Repeat("value", i):
				t.Errorf("key:%d on %s is %q, %v", i, addr, value, err)
			default:
				found++
			}
		}
		node.Close()
	}
	if found != 40 {
		t.Errorf("%d keys are there, want 40", found)
	}
}

// wantAlone looks that the nodes are what they were at first.
func (r *replaying) wantAlone(t *testing.T) {
	t.Helper()
	if err := r.alone(t.Context()); err != nil {
		t.Errorf("a replay that failed left %v", err)
	}
}

func (r *replaying) alone(ctx context.Context) error {
	for _, addr := range r.targets {
		node := r.access.Open(addr)
		defer node.Close()
		keys, err := node.Int(ctx, "DBSIZE")
		if err != nil {
			return err
		}
		text, err := node.Text(ctx, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		state := cluster.ParseInfo(text)
		if known, slots := state.Int("cluster_known_nodes"), state.Int("cluster_slots_assigned"); keys != 0 || known != 1 || slots != 0 {
			return fmt.Errorf("%s with %d keys, %d nodes and %d slots", addr, keys, known, slots)
		}
	}
	return nil
}

// empty makes the nodes what they were at first.
func (r *replaying) empty(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, replayLimit, func(ctx context.Context) error {
		var failures []error
		for _, addr := range r.targets {
			node := r.access.Open(addr)
			_, flushErr := node.Do(ctx, "FLUSHALL")
			_, resetErr := node.Do(ctx, "CLUSTER", "RESET", "HARD")
			node.Close()
			failures = append(failures, flushErr, resetErr)
		}
		return errors.Join(append(failures, r.alone(ctx))...)
	})
}
