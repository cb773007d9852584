package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/host"
	"github.com/slotark/slotark/snapshot/manifest"
)

// errKilled is what stands for a kill: nothing after it is done.
var errKilled = errors.New("killed")

// hosted is a node that holds something, and the order of a restore onto it.
type hosted struct {
	service *clustertest.Service
	node    *host.Node
	order   restore.HostOrder
	before  string // its node id
}

const heldKeys = 50

func newHosted(t *testing.T, s *source, config []string) *hosted {
	t.Helper()
	h := &hosted{service: clustertest.NewService(t, clustertest.ServiceOptions{Password: password, Config: append([]string{"enable-debug-command yes"}, config...)})}
	h.service.Run(t)
	do(t, h.service.Addr, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	clustertest.Eventually(t, time.Minute, func(context.Context) error {
		if state := do(t, h.service.Addr, "CLUSTER", "INFO").(string); !strings.Contains(state, "cluster_state:ok") {
			return errors.New(state)
		}
		return nil
	})
	for i := range heldKeys {
		do(t, h.service.Addr, "SET", fmt.Sprintf("key:%d", i), i)
	}
	h.before = do(t, h.service.Addr, "CLUSTER", "MYID").(string)
	agentsBeside(t, s.snapshot, []*clustertest.Service{h.service}, func(n *host.Node) { h.node = n })
	h.order = restore.HostOrder{Restore: manifest.NewID(s.snapshot.Manifest.Started), Plan: "a plan", Cluster: "prod", Snapshot: s.snapshot.Manifest.ID, Node: h.service.Addr,
		Place: 1, At: []string{h.service.Addr}, Layout: restore.Balanced(1), Replacing: restore.Replacing{Name: "prod"}}
	return h
}

// do carries actions out, one after the other. It is killed at an event of one phase,
// from 1 on, and returns how many there were.
func (h *hosted) do(t *testing.T, phase string, at int, actions ...restore.HostAction) (events int, killed bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if r != errKilled {
				panic(r)
			}
			killed = true
		}
	}()
	for _, action := range actions {
		_, err := h.node.Do(t.Context(), action, h.order, func(e progress.Event) {
			if e.Phase != phase {
				return
			}
			if events++; events == at {
				panic(errKilled)
			}
		})
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
	}
	return events, false
}

var forward = []restore.HostAction{restore.HostStage, restore.HostStop, restore.HostPlace, restore.HostStart}

// wantRestored looks that the node has what was restored.
func (h *hosted) wantRestored(t *testing.T, s *source) {
	t.Helper()
	if id := do(t, h.service.Addr, "CLUSTER", "MYID"); id != restore.SeededID(string(h.order.Restore), h.order.Snapshot, 1) {
		t.Errorf("it has the id %v", id)
	}
	if keys := do(t, h.service.Addr, "DBSIZE"); fmt.Sprint(keys) != fmt.Sprint(s.snapshot.Manifest.Keys()) {
		t.Errorf("it has %v keys", keys)
	}
}

// wantBefore looks that the node has what it had, and nothing is left of the restore.
func (h *hosted) wantBefore(t *testing.T) {
	t.Helper()
	awaitLoaded(t, h.service.Addr)
	if id, keys := do(t, h.service.Addr, "CLUSTER", "MYID"), do(t, h.service.Addr, "DBSIZE"); id != h.before || keys != int64(heldKeys) {
		t.Errorf("it has the id %v and %v keys", id, keys)
	}
	h.wantNothingLeft(t)
}

func (h *hosted) wantNothingLeft(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(h.service.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.Contains(e.Name(), "slotark") }) {
		t.Errorf("left are %v", entries)
	}
}

// TestKilledHost kills what moves a node's files, at each of them, on the way there
// and on the way back. What comes next goes on to the end, or brings all back.
func TestKilledHost(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 500, Seed: 8}, nil)
	for name, config := range map[string][]string{
		"dumps":       {"appendonly no", "save 3600 1"},
		"other names": slices.Concat(oddNames, []string{"appendonly yes", "save 3600 1"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHosted(t, s, config)
			moves, _ := h.do(t, "place", 0, forward...)
			h.wantRestored(t, s)
			if _, err := os.Stat(filepath.Join(h.service.Dir, "slotark-restore", "old")); err != nil {
				t.Error(err)
			}
			ways, _ := h.do(t, "back", 0, restore.HostBack)
			h.wantBefore(t)
			if moves < 4 || ways < 4 {
				t.Fatalf("%d moves, %d back", moves, ways)
			}
			for at := 1; at <= moves; at++ {
				h.killedThere(t, s, at)
			}
			for at := 1; at <= ways; at++ {
				h.killedBack(t, s, at)
			}
			h.do(t, "", 0, forward...)
			h.do(t, "", 0, restore.HostClear)
			h.do(t, "", 0, forward...) // it has come to its end: nothing is done
			h.wantRestored(t, s)
			h.wantNothingLeft(t)
		})
	}
}

// TestBareFolder ends a restore that was killed after it had made its folder and before
// it wrote the record, or after it had removed the record and before the folder.
func TestBareFolder(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 10, Seed: 8}, nil)
	h := newHosted(t, s, []string{"appendonly no"})
	folder := filepath.Join(h.service.Dir, "slotark-restore")
	for _, action := range []restore.HostAction{restore.HostClear, restore.HostBack} {
		for _, file := range []string{"", "restore.json.next", "another"} {
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if file != "" {
				if err := os.WriteFile(filepath.Join(folder, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.do(t, "", 0, action)
			if file == "another" { // who knows whose it is
				if _, err := os.Stat(filepath.Join(folder, file)); err != nil {
					t.Error(err)
				}
				if err := os.RemoveAll(folder); err != nil {
					t.Fatal(err)
				}
			}
			h.wantNothingLeft(t)
		}
	}
}

// killedThere is killed at a move, goes on to the end, and is undone; and is killed
// there and undone at once.
func (h *hosted) killedThere(t *testing.T, s *source, at int) {
	t.Helper()
	for _, next := range [][]restore.HostAction{append(slices.Clone(forward), restore.HostBack), {restore.HostBack}} {
		if _, killed := h.do(t, "place", at, forward...); !killed {
			t.Fatalf("move %d did not come", at)
		}
		if len(next) > 1 {
			h.do(t, "", 0, forward...)
			h.wantRestored(t, s)
		}
		h.do(t, "", 0, restore.HostBack)
		h.wantBefore(t)
	}
}

// killedBack is killed on its way back, and brought back; and is killed there, and
// restored after all.
func (h *hosted) killedBack(t *testing.T, s *source, at int) {
	t.Helper()
	for _, goOn := range []bool{false, true} {
		h.do(t, "", 0, forward...)
		if _, killed := h.do(t, "back", at, restore.HostBack); !killed {
			t.Fatalf("move %d back did not come", at)
		}
		if goOn {
			h.do(t, "", 0, forward...)
			h.wantRestored(t, s)
		}
		h.do(t, "", 0, restore.HostBack)
		h.wantBefore(t)
	}
}
