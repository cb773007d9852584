package snapshot

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/slotark/slotark/internal/cluster"
)

// floor counts who has a turn.
type floor struct {
	mu  sync.Mutex
	now []string
}

func (f *floor) enter(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = append(f.now, name)
}

func (f *floor) on() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.now))
}

// TestTurns lets nodes ask for their turns in order and checks who has one, then
// ends the first one's.
func TestTurns(t *testing.T) {
	type node struct{ addr, machine string }
	cases := map[string]struct {
		options     Options
		nodes       []node
		first, then []string // who has a turn, and once the first node's has ended
	}{
		"of one machine one":                   {Options{}, []node{{"192.0.2.1:1", ""}, {"192.0.2.1:2", ""}, {"192.0.2.2:1", ""}}, []string{"192.0.2.1:1", "192.0.2.2:1"}, []string{"192.0.2.1:2", "192.0.2.2:1"}},
		"so many in the cluster":               {Options{Parallel: 2}, []node{{"192.0.2.1:1", ""}, {"192.0.2.2:1", ""}, {"192.0.2.3:1", ""}}, []string{"192.0.2.1:1", "192.0.2.2:1"}, []string{"192.0.2.2:1", "192.0.2.3:1"}},
		"who waits for a machine holds nobody": {Options{Parallel: 2}, []node{{"192.0.2.1:1", ""}, {"192.0.2.1:2", ""}, {"192.0.2.1:3", ""}, {"192.0.2.2:1", ""}}, []string{"192.0.2.1:1", "192.0.2.2:1"}, []string{"192.0.2.1:2", "192.0.2.2:1"}},
		"staggered":                            {Options{Forks: ForksStaggered}, []node{{"192.0.2.1:1", ""}, {"192.0.2.2:1", ""}}, []string{"192.0.2.1:1"}, []string{"192.0.2.2:1"}},
		"this machine under two addresses":     {Options{}, []node{{"127.0.0.1:1", ""}, {"127.0.0.2:1", ""}}, []string{"127.0.0.1:1"}, []string{"127.0.0.2:1"}},
		"a machine that agents name":           {Options{}, []node{{"192.0.2.1:1", "db-1"}, {"192.0.2.2:1", "db-1"}}, []string{"192.0.2.1:1"}, []string{"192.0.2.2:1"}},
		"an agent's node and one without":      {Options{}, []node{{"192.0.2.1:1", "db-1"}, {"192.0.2.1:2", ""}}, []string{"192.0.2.1:1"}, []string{"192.0.2.1:2"}},
		"forwarded by one host":                {Options{}, []node{{"172.18.0.2:1", ""}, {"172.18.0.3:1", ""}}, []string{"172.18.0.2:1"}, []string{"172.18.0.3:1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.options.Access = &cluster.Access{NAT: cluster.NAT{"172.18.0.2:1": "192.0.2.9:1", "172.18.0.3:1": "192.0.2.9:2"}}
				turns := newTurns(c.options.withDefaults(), len(c.nodes))
				ctx, cancel := context.WithCancel(t.Context())
				var f floor
				var wait sync.WaitGroup
				over := make([]chan struct{}, len(c.nodes))
				for i, n := range c.nodes {
					over[i] = make(chan struct{})
					wait.Go(func() {
						ended, err := turns.of("", n.addr)(ctx, n.machine)
						if err != nil {
							return
						}
						f.enter(n.addr)
						<-over[i]
						f.mu.Lock()
						f.now = slices.DeleteFunc(f.now, func(name string) bool { return name == n.addr })
						f.mu.Unlock()
						ended()
					})
					synctest.Wait() // they come in order
				}
				if got := f.on(); !slices.Equal(got, c.first) {
					t.Errorf("%v have their turns, want %v", got, c.first)
				}
				close(over[0])
				synctest.Wait()
				if got := f.on(); !slices.Equal(got, c.then) {
					t.Errorf("then %v have their turns, want %v", got, c.then)
				}
				cancel()
				for _, o := range over[1:] {
					close(o)
				}
				wait.Wait()
			})
		})
	}
}

// A turn that was called off while it waited gives back what it had.
func TestTurnCalledOff(t *testing.T) {
	turns := newTurns(Options{Access: &cluster.Access{}, Parallel: 1}, 3)
	ended, err := turns.of("", "192.0.2.1:1")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the person's patience")
	cancel(reason)
	if _, err := turns.of("", "192.0.2.2:1")(ctx, ""); !errors.Is(err, reason) {
		t.Errorf("got %v, want the reason why", err)
	}
	ended()
	ended, err = turns.of("", "192.0.2.2:1")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	ended()
}

// TestMeeting: nobody goes on before all have come, each once, and then nobody
// waits.
func TestMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(2)
		var f floor
		var wait sync.WaitGroup
		arrive := func(name string) {
			wait.Go(func() {
				if err := m.arrive(t.Context(), name); err != nil {
					t.Error(err)
				}
				f.enter(name)
			})
			synctest.Wait()
		}
		arrive("a")
		arrive("a") // another try of the same
		if got := f.on(); len(got) > 0 {
			t.Errorf("%v went on without b", got)
		}
		arrive("b")
		arrive("a")
		wait.Wait()
		if got := f.on(); len(got) != 4 {
			t.Errorf("%v went on, want all four", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := newMeeting(2).arrive(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
