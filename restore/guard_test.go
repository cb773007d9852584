package restore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
)

func ownerOf(topology *cluster.Topology) func(key string) string {
	return func(key string) string {
		for _, s := range topology.Shards {
			if s.Slots.Contains(slot.Of([]byte(key))) {
				return s.Primary.Addr
			}
		}
		return ""
	}
}

// TestGuards holds every objection against a real node that deserves it. Each
// is one line with advice, and the good nodes beside it stay as they were.
func TestGuards(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 3}, nil)
	good := emptyNodes(t, 3)
	single := func(args ...string) string { return emptyNodes(t, 1, args...)[0] }
	other := clustertest.Start(t, clustertest.Options{Password: password})
	cases := []struct {
		name  string
		bad   func(t *testing.T) string
		words string
	}{
		{"holds keys", func(t *testing.T) string {
			addr := single()
			do(t, addr, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
			clustertest.Eventually(t, time.Minute, func(context.Context) error {
				if state := do(t, addr, "CLUSTER", "INFO").(string); !strings.Contains(state, "cluster_state:ok") {
					return errors.New(state)
				}
				return nil
			})
			do(t, addr, "SET", "a", "b")
			do(t, addr, "CLUSTER", "DELSLOTSRANGE", 0, 16383)
			return addr
		}, "holds 1 key"},
		{"holds functions", func(t *testing.T) string {
			addr := single()
			do(t, addr, "FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)")
			return addr
		}, "has 1 function library"},
		{"in another cluster", func(*testing.T) string { return other.Addrs()[1] }, "belongs to a cluster already: it knows 2 other nodes"},
		{"in the snapshot's own cluster", func(*testing.T) string { return s.Addrs()[0] }, "belongs to the live cluster this snapshot was taken from"},
		{"owns slots", func(t *testing.T) string {
			addr := single()
			do(t, addr, "CLUSTER", "ADDSLOTS", 5)
			return addr
		}, "owns 1 slot already"},
		{"has an epoch", func(t *testing.T) string {
			addr := single()
			do(t, addr, "CLUSTER", "SET-CONFIG-EPOCH", 7)
			return addr
		}, "its config epoch is 7"},
		{"not in cluster mode", func(t *testing.T) string {
			return startNode(t, redisproc.Options{Dir: t.TempDir(), Password: password, Args: []string{"--save", ""}}).Addr()
		}, "does not run in cluster mode"},
		{"too little memory", func(*testing.T) string { return single("--maxmemory", "1mb") }, "may use 1.0 MB of memory"},
		{"another password", func(t *testing.T) string {
			return startNode(t, redisproc.Options{Dir: t.TempDir(), Password: "other", Args: clusterArgs()}).Addr()
		}, "refused the password"},
		{"unreachable", silentPort, "connection refused"},
		{"given twice", func(*testing.T) string { return good[0] }, "is given twice"},
		{"two names of one node", func(*testing.T) string { return strings.Replace(good[0], "127.0.0.1", "localhost", 1) }, "are the same node"},
		{"no address", func(*testing.T) string { return "nonsense" }, "has no host or no port"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := c.bad(t)
			_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: []string{good[0], bad, good[2]}, Access: access()})
			requireRefusal(t, err, c.words)
			requireEmpty(t, good)
		})
	}
	t.Run("too few", func(t *testing.T) {
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: good[:2], Access: access()})
		requireRefusal(t, err, "2 addresses given, the cluster is to have 3 shards")
	})
	t.Run("all at once", func(t *testing.T) {
		silent := silentPort(t)
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: []string{s.Addrs()[0], silent, good[0]}, Access: access()})
		requireRefusal(t, err, "belongs to the live cluster")
		requireRefusal(t, err, silent)
	})
	t.Run("seed", func(t *testing.T) { seedGuards(t, s) })
}

func seedGuards(t *testing.T, s *source) {
	t.Run("folder holds something", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: dir, At: []string{"h:1"}, Access: access()})
		requireRefusal(t, err, "is not empty: it holds mine")
		requireEntries(t, dir, "mine")
	})
	t.Run("the source hangs", func(t *testing.T) {
		for _, n := range s.Nodes {
			if err := syscall.Kill(n.Proc.PID(), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(n.Proc.PID(), syscall.SIGCONT) }()
		}
		impatient := access()
		impatient.Timeout = time.Second
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: filepath.Join(t.TempDir(), "new"), Access: impatient})
		requireRefusal(t, err, "the cluster this snapshot was taken from is alive")
	})
	t.Run("the source is alive", func(t *testing.T) {
		dir := t.TempDir()
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: dir, Access: access()})
		requireRefusal(t, err, "the cluster this snapshot was taken from is alive")
		requireEntries(t, dir)
	})
	t.Run("too few addresses", func(t *testing.T) {
		dir := t.TempDir()
		_, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: dir, At: []string{"127.0.0.1:7001", "127.0.0.1:7002"}, Access: access()})
		requireRefusal(t, err, "2 addresses given")
		requireEntries(t, dir)
	})
}

func requireRefusal(t *testing.T, err error, words string) {
	t.Helper()
	switch {
	case !errors.Is(err, hint.ErrRefused):
		t.Errorf("error %v, want a refusal", err)
	case !strings.Contains(err.Error(), words):
		t.Errorf("error %q, want %q in it", err, words)
	case strings.Contains(err.Error(), "\n"):
		t.Errorf("error %q has several lines", err)
	case len(hint.Of(err)) == 0:
		t.Errorf("error %q has no hint", err)
	default:
		t.Logf("%s\n  hint: %s", err, strings.Join(hint.Of(err), "\n  hint: "))
	}
}

func requireEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}
