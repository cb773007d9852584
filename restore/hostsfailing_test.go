package restore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/host"
)

// services are a running cluster of three primaries and a replica, each a service
// beside an agent, and what is to be restored onto it.
type services struct {
	*source
	all   []*clustertest.Service
	ids   map[string]any // node ids, by address
	hosts map[string]*host.Node
	o     restore.Options
}

// newServices restores once, so that there is a cluster to be replaced.
func newServices(t *testing.T, s *source, config ...string) *services {
	t.Helper()
	c := &services{source: s, ids: map[string]any{}, hosts: map[string]*host.Node{}}
	for range 4 {
		c.all = append(c.all, clustertest.NewService(t, clustertest.ServiceOptions{Password: password, Config: append([]string{"enable-debug-command yes"}, config...)}))
		c.all[len(c.all)-1].Run(t)
		c.o.To = append(c.o.To, c.all[len(c.all)-1].Addr)
	}
	c.o.Snapshot, c.o.Access, c.o.Replicas = s.snapshot, access(), restore.AllReplicas
	c.o.Hosts = agentsBeside(t, s.snapshot, c.all, func(n *host.Node) { c.hosts[n.Addr] = n })
	if result, err := restore.Run(t.Context(), c.o); err != nil || !result.Complete() {
		t.Fatalf("%+v, %v", result, err)
	}
	c.o.Replacing.Name = "prod"
	for _, addr := range c.o.To {
		c.ids[addr] = do(t, addr, "CLUSTER", "MYID")
	}
	return c
}

// wantUntouched looks that each node has what it had, and that its agent has left
// nothing beside it.
func (c *services) wantUntouched(t *testing.T) {
	t.Helper()
	for _, s := range c.all {
		awaitLoaded(t, s.Addr)
		if id := do(t, s.Addr, "CLUSTER", "MYID"); id != c.ids[s.Addr] {
			t.Errorf("%s has the id %v", s.Addr, id)
		}
		if _, err := os.Stat(filepath.Join(s.Dir, "slotark-restore")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left in %s: %v", s.Dir, err)
		}
	}
	sameLayout(t, c.snapshot.Manifest, c.o.To, 1)
}

// wantRefused looks that a restore is refused for a reason, and changes nothing.
func (c *services) wantRefused(t *testing.T, o restore.Options, says ...string) {
	t.Helper()
	_, err := restore.Run(t.Context(), o)
	if !errors.Is(err, hint.ErrRefused) {
		t.Errorf("want a refusal, got %v", err)
		return
	}
	text := err.Error() + " " + strings.Join(hint.Of(err), " ")
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in: %s", want, text)
		}
	}
	if _, err := restore.MakePlan(t.Context(), o); !errors.Is(err, hint.ErrRefused) {
		t.Errorf("its plan: %v", err)
	}
	c.wantUntouched(t)
}

// TestThroughAgents replaces a running cluster, and refuses to where that was not said,
// or the nodes are not fit.
func TestThroughAgents(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 4}, nil)
	c := newServices(t, s)
	t.Run("refused", func(t *testing.T) {
		with := func(change func(*restore.Options)) restore.Options {
			o := c.o
			o.Hosts = map[string]restore.Host{}
			for addr, h := range c.o.Hosts {
				o.Hosts[addr] = h
			}
			change(&o)
			return o
		}
		c.wantRefused(t, with(func(o *restore.Options) { o.Replacing.Name = "" }), "belongs to a cluster already", "--replace")
		c.wantRefused(t, with(func(o *restore.Options) { o.Replacing.Name = "production" }), "is of a cluster of another name")
		c.wantRefused(t, with(func(o *restore.Options) { delete(o.Hosts, c.o.To[1]) }), "no agent is named for "+c.o.To[1], "--agent")
		c.wantRefused(t, with(func(o *restore.Options) { o.To = o.To[:3] }), "which is not among the targets")
		c.wantRefused(t, with(func(o *restore.Options) { o.To = append([]string{o.To[0] + "@20001"}, o.To[1:]...) }), "has the cluster bus port", "@BUSPORT")
		do(t, c.o.To[2], "CONFIG", "SET", "maxmemory", "100")
		c.wantRefused(t, c.o, "may use 100 B of memory", "Raise maxmemory")
		do(t, c.o.To[2], "CONFIG", "SET", "maxmemory", "0")
		own := c.hosts[c.o.To[0]].Folder
		c.hosts[c.o.To[0]].Folder = filepath.Join(own, "nowhere")
		c.wantRefused(t, c.o, "nowhere", "snapshot.data_dirs")
		c.hosts[c.o.To[0]].Folder = own
	})
	t.Run("a node that does not run, and has files", func(t *testing.T) {
		c.all[1].Kill()
		o := c.o
		o.Replacing.Name = ""
		_, err := restore.Run(t.Context(), o)
		if !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "does not run, and has") {
			t.Errorf("%v", err)
		}
		c.all[1].Run(t)
	})
	t.Run("fails", func(t *testing.T) { c.fails(t) })
	t.Run("replaced, from the other store", func(t *testing.T) {
		for _, shard := range s.snapshot.Manifest.Shards {
			s.damage(t, 0, shard.Dump.Object)
		}
		c.all[3].Kill() // as in an incident
		result, err := restore.Run(t.Context(), c.o)
		if err != nil || !result.Comparison.Equal() || result.Keys != s.snapshot.Manifest.Keys() || !slices.Equal(result.Shards[0].Stores, []string{"there"}) ||
			len(result.Findings) != 3 || result.Findings[0].Code != "store-failed" {
			t.Fatalf("%+v, %v", result, err)
		}
		topology := sameLayout(t, s.snapshot.Manifest, c.o.To, 1)
		sameValues(t, s.topology, topology)
		for addr, before := range c.ids {
			if id := do(t, addr, "CLUSTER", "MYID"); id == before {
				t.Errorf("%s has the node id that it had", addr)
			}
			c.ids[addr] = do(t, addr, "CLUSTER", "MYID")
		}
		c.wantUntouched(t)
		for _, s := range c.all { // what it loads it loads again
			s.Kill()
			s.Run(t)
		}
		sameValues(t, s.topology, sameLayout(t, s.snapshot.Manifest, c.o.To, 1))
	})
}

// fails has each step fail on one node: all nodes are what they were.
func (c *services) fails(t *testing.T) {
	node := c.hosts[c.o.To[1]]
	own := *c.all[1]
	node.Patience = 3 * time.Second
	defer func() { node.Patience = 0 }()
	foreign := clustertest.NewService(t, clustertest.ServiceOptions{Password: password})
	for name, of := range map[string]struct {
		change func()
		says   string
	}{
		"no such stop command":       {func() { node.Stop = []string{"/nowhere/stop"} }, "the command to stop " + node.Addr},
		"a stop that does not stop":  {func() { node.Stop = []string{"/bin/sh", "-c", "echo no rights >&2; exit 4"} }, "exit status 4: no rights"},
		"a start that does not":      {func() { node.Start = []string{"/bin/false"} }, "the command to start " + node.Addr},
		"a start of another service": {func() { node.Start = foreign.Start }, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			of.change()
			defer func() { node.Stop, node.Start = own.Stop, own.Start }()
			o := c.o
			restored := make(chan struct{})
			o.Progress = func(e progress.Event) {
				if e.Task == "restore" && e.Phase == "undo" { // somebody has mended it by then
					node.Stop, node.Start = own.Stop, own.Start
					close(restored)
				}
			}
			_, err := restore.Run(t.Context(), o)
			<-restored
			if err == nil || !strings.Contains(err.Error(), of.says) || !strings.Contains(err.Error(), "undone: 4 nodes have what they had before") {
				t.Errorf("%v", err)
			}
			c.wantUntouched(t)
		})
	}
	for _, phase := range []string{"stage", "stop", "place", "start", "settle", "compare"} {
		t.Run("interrupted at "+phase, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := c.o
			o.Progress = func(e progress.Event) {
				if e.Task == "restore" && e.Phase == phase {
					cancel()
				}
			}
			_, err := restore.Run(ctx, o)
			if !errors.Is(err, context.Canceled) || phase != "stage" && !strings.Contains(err.Error(), "4 nodes") {
				t.Errorf("%v", err)
			}
			c.wantUntouched(t)
		})
	}
	t.Run("both copies are damaged", func(t *testing.T) {
		own := *c.source
		damaged := own.again(t)
		for store := range damaged.roots {
			damaged.damage(t, store, damaged.snapshot.Manifest.Shards[1].Dump.Object)
		}
		o := c.o
		o.Snapshot = damaged.snapshot
		o.Hosts = agentsBeside(t, damaged.snapshot, c.all, nil)
		_, err := restore.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "stage ") || !strings.Contains(err.Error(), "nothing was changed on 4 nodes") {
			t.Errorf("%v", err)
		}
		c.wantUntouched(t)
	})
}

// TestLeftThroughAgents keeps what is done, and goes on with it; another plan begins
// anew, when all is what it was.
func TestLeftThroughAgents(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 5}, nil)
	c := newServices(t, s, "appendonly yes")
	node := c.hosts[c.o.To[0]]
	leave := func() {
		t.Helper()
		o := c.o
		o.KeepPartial = true
		start := node.Start
		node.Start = []string{"/bin/false"}
		defer func() { node.Start = start }()
		if _, err := restore.Run(t.Context(), o); !errors.Is(err, hint.ErrLeft) || !strings.Contains(err.Error(), "is left as it is") {
			t.Fatalf("%v", err)
		}
		if _, err := restore.Run(t.Context(), c.o); !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "has not come to its end on "+c.o.To[0]) {
			t.Errorf("%v", err)
		}
	}
	for name, of := range map[string]struct {
		layout int
		note   string
	}{"the same plan": {0, "went on with a killed restore"}, "another plan": {2, "began anew"}} {
		leave()
		o := c.o
		o.Resume = true
		if of.layout > 0 {
			o.Layout = restore.Balanced(of.layout)
		}
		result, err := restore.Run(t.Context(), o)
		if err != nil || !result.Complete() || result.Keys != s.snapshot.Manifest.Keys() || !strings.Contains(fmt.Sprint(result.Notes), of.note) {
			t.Fatalf("%s: %+v, %v", name, result, err)
		}
		for _, service := range c.all {
			if _, err := os.Stat(filepath.Join(service.Dir, "slotark-restore")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: left in %s: %v", name, service.Dir, err)
			}
		}
	}
}

// endingHost is the host of a node that ends when it was looked at first, as one does
// that a killed restore had told to stop.
type endingHost struct {
	restore.Host
	service *clustertest.Service
	ran     bool
}

func (h *endingHost) Do(ctx context.Context, action restore.HostAction, order restore.HostOrder, report progress.Func) (restore.HostState, error) {
	state, err := h.Host.Do(ctx, action, order, report)
	if action == restore.HostExamine && !h.ran {
		h.ran = state.Running
		h.service.Kill()
	}
	return state, err
}

// TestLeftAndEnding goes on with a restore while one of its nodes ends.
func TestLeftAndEnding(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 5}, nil)
	c := newServices(t, s)
	o := c.o
	o.KeepPartial = true
	node := c.hosts[o.To[0]]
	node.Stop = []string{"/bin/false"}
	if _, err := restore.Run(t.Context(), o); !errors.Is(err, hint.ErrLeft) {
		t.Fatalf("%v", err)
	}
	node.Stop = c.all[0].Stop
	ending := &endingHost{Host: o.Hosts[o.To[0]], service: c.all[0]} // which ran still
	o.Hosts = maps.Clone(o.Hosts)
	o.Hosts[o.To[0]], o.Resume = ending, true
	result, err := restore.Run(t.Context(), o)
	if err != nil || !result.Complete() || !ending.ran || !strings.Contains(fmt.Sprint(result.Notes), "went on with a killed restore") {
		t.Fatalf("%t, %+v, %v", ending.ran, result, err)
	}
}

// TestHangingNode has a node that neither answers nor is gone: it is not touched.
func TestHangingNode(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 50, Seed: 6}, nil)
	p, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir(), Password: password, Args: clusterArgs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	service := &clustertest.Service{Addr: p.Addr(), Dir: p.Dir(), Start: []string{"/bin/false"}, Stop: []string{"/bin/false"}}
	o := restore.Options{Snapshot: s.snapshot, To: []string{p.Addr()}, Access: access(), Replicas: restore.AllReplicas, Hosts: agentsBeside(t, s.snapshot, []*clustertest.Service{service}, nil)}
	if _, err := restore.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(p.Dir()); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.Contains(e.Name(), "slotark") }) {
		t.Errorf("%v, %v", entries, err)
	}
}
