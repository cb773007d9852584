package agent

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
)

// during calls a function once, when the dump is on its way.
func during(do func()) progress.Func {
	var once sync.Once
	return func(e progress.Event) {
		if e.Phase == "collect" && e.Done > 0 {
			once.Do(do)
		}
	}
}

// TestJobs runs jobs of all fates on one node, whose dump takes a second to come.
func TestJobs(t *testing.T) {
	c := slowNode(t)
	for name, test := range map[string]func(*testing.T, *clustertest.Cluster){
		"kept and dropped": testJob,
		"cut and taken up": testCutAndTakenUp,
		"asked twice":      testAskedTwice,
		"coordinator gone": testCoordinatorGone,
		"given up":         testGivenUp,
		"restarted":        testRestarted,
		"interrupted":      testInterrupted,
		"two coordinators": testTwoCoordinators,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// testJob is a job from its order to its end, kept and dropped.
func testJob(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, nil)
	client := p.client(t, p.addr)
	if err := client.Ready(t.Context(), "prod", p.cluster.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{true, false} {
		asked, ended := 0, make(chan bool, 1)
		turn := func(context.Context, string) (func(), error) { asked++; return func() { ended <- true }, nil }
		order := p.order()
		var collected atomic.Bool
		d, err := client.Capture(t.Context(), order, turn, func(e progress.Event) { // until the job is settled
			if e.Phase == "collect" {
				collected.Store(true)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		<-ended
		shard := d.Shard()
		if asked != 1 || !collected.Load() || shard.Dump.Keys != 2000 || shard.Source.Collect != snapshot.CollectStream || shard.Taken.After(time.Now()) {
			t.Errorf("%d turns, collected %t, shard %+v", asked, collected.Load(), shard)
		}
		for i, o := range d.Outcomes() {
			if o.Name != order.Stores[i] || o.Err != nil {
				t.Errorf("outcome %+v", o)
			}
		}
		p.wantObjects(t, 2)
		if err := d.Hold(t.Context()); err != nil {
			t.Error(err)
		}
		if err := d.Settle(t.Context(), keep); err != nil {
			t.Error(err)
		}
		if keep {
			p.wantObjects(t, 2)
			for _, store := range p.stores {
				for _, name := range objects(t.Context(), t, store) {
					if err := store.Delete(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	p.wantObjects(t, 0)
}

// testCutAndTakenUp cuts the connection in the middle of a dump, and again: the job
// goes on, and the node forks once.
func testCutAndTakenUp(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, func(o *Options) { o.Grace = waitLimit })
	line := newLine(t, p.addr)
	before := p.forks(t)
	var cuts atomic.Int32
	d, err := p.client(t, line.addr).Capture(t.Context(), p.order(), atOnce, func(e progress.Event) {
		if e.Phase == "collect" && e.Done > 0 && cuts.Load() < 3 {
			cuts.Add(1)
			line.cut(false)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if forks := p.forks(t) - before; cuts.Load() < 2 || forks != 1 {
		t.Errorf("%d cuts, %d forks", cuts.Load(), forks)
	}
	line.cut(false) // between the result and the end, too
	if err := errors.Join(d.Hold(t.Context()), d.Settle(t.Context(), true)); err != nil {
		t.Error(err)
	}
	p.wantObjects(t, 2)
}

// testAskedTwice gives the same job to an agent twice at once, as who is not sure
// that it was heard would: the node forks once, and both get the result.
func testAskedTwice(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, func(o *Options) { o.Grace = waitLimit })
	before, order := p.forks(t), p.order()
	client := p.client(t, p.addr)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			s := newSession(client, strings.Repeat("ab", 16), order)
			s.begin(t.Context(), atOnce)
			defer s.close()
			if err := s.await(t.Context(), s.arrived); err != nil || s.failed() != nil {
				t.Errorf("got %v, %v", err, s.failed())
			}
		})
	}
	both.Wait()
	if forks := p.forks(t) - before; forks != 1 {
		t.Errorf("%d forks", forks)
	}
}

// testCoordinatorGone loses the coordinator for good, in the middle and after the
// result: after the grace nothing is left, unless the manifest is there.
func testCoordinatorGone(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, nil)
	t.Run("in the middle", func(t *testing.T) {
		line := newLine(t, p.addr)
		client := p.client(t, line.addr)
		client.patience = time.Second
		_, err := client.Capture(t.Context(), p.order(), atOnce, during(func() { line.cut(true) }))
		if !errors.Is(err, snapshot.ErrAgentLost) {
			t.Errorf("got %v, want ErrAgentLost", err)
		}
		p.wantObjects(t, 0)
		p.idle(t)
	})
	for _, committed := range []bool{false, true} {
		t.Run(map[bool]string{false: "before the manifest", true: "after the manifest"}[committed], func(t *testing.T) {
			line := newLine(t, p.addr)
			client := p.client(t, line.addr)
			client.patience = time.Second
			order := p.order()
			d, err := client.Capture(t.Context(), order, atOnce, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if committed {
				want = 3
				for _, store := range p.stores {
					if _, err := store.Put(t.Context(), catalog.ManifestName(order.Cluster, order.Snapshot), bytes.NewReader([]byte("{}"))); err != nil {
						t.Fatal(err)
					}
				}
			}
			line.cut(true)
			if err := d.Settle(t.Context(), true); err == nil {
				t.Error("a line that is cut carried the word")
			}
			p.idle(t)
			p.wantObjects(t, want)
		})
	}
}

// idle waits until the agent has no job that is not settled.
func (p *place) idle(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, waitLimit, func(context.Context) error {
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		if n := p.server.unsettled(); n > 0 {
			return errors.New("it has jobs")
		}
		return nil
	})
}

// testGivenUp asks for the promise when the agent has given up: it is refused.
func testGivenUp(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, nil)
	line := newLine(t, p.addr)
	d, err := p.client(t, line.addr).Capture(t.Context(), p.order(), atOnce, nil)
	if err != nil {
		t.Fatal(err)
	}
	line.cut(true)
	p.idle(t)
	line.cut(false)
	if err := d.Hold(t.Context()); !errors.Is(err, errOrphaned) {
		t.Errorf("got %v", err)
	}
	if err := d.Settle(t.Context(), true); err == nil || !strings.Contains(err.Error(), "drop") {
		t.Errorf("told to keep what is gone, it says %v", err)
	}
	p.wantObjects(t, 0)
}

// testRestarted ends the agent in the middle and starts it again: the job is not
// known any more, and what the coordinator hears is that the agent was lost.
func testRestarted(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, nil)
	_, err := p.client(t, p.addr).Capture(t.Context(), p.order(), atOnce, during(func() {
		go func() {
			p.stop()
			p.start(t, p.addr)
		}()
	}))
	// Its end is told where there is time for it, as there is none for one that is killed.
	if !errors.Is(err, snapshot.ErrAgentLost) && !strings.Contains(err.Error(), "closed") {
		t.Errorf("got %v", err)
	}
	p.wantObjects(t, 0)
}

// testInterrupted ends the coordinator's run in the middle: the agent hears of it
// and has removed everything when Capture returns.
func testInterrupted(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, func(o *Options) { o.Grace = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := p.client(t, p.addr).Capture(ctx, p.order(), atOnce, during(cancel))
	if !errors.Is(err, context.Canceled) || errors.Is(err, snapshot.ErrAgentLost) {
		t.Errorf("got %v", err)
	}
	p.wantObjects(t, 0)
	reason := errors.New("the barrier was missed")
	_, err = p.client(t, p.addr).Capture(t.Context(), p.order(), func(context.Context, string) (func(), error) { return nil, reason }, nil)
	if !errors.Is(err, reason) || errors.Is(err, snapshot.ErrAgentLost) {
		t.Errorf("without a turn: %v", err)
	}
	p.idle(t)
}

// testTwoCoordinators has two snapshots taken of one node at once: one waits for
// the other, and both are whole.
func testTwoCoordinators(t *testing.T, c *clustertest.Cluster) {
	p := newPlace(t, c, nil)
	before := p.forks(t)
	var both sync.WaitGroup
	for range 2 {
		client := p.client(t, p.addr)
		both.Go(func() {
			d, err := client.Capture(t.Context(), p.order(), atOnce, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if d.Shard().Dump.Keys != 2000 {
				t.Errorf("%d keys", d.Shard().Dump.Keys)
			}
			if err := d.Settle(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if forks := p.forks(t) - before; forks != 2 {
		t.Errorf("%d forks", forks)
	}
	p.wantObjects(t, 4)
}
