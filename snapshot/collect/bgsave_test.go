package collect_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/collect"
)

func (s *server) bgsave(t *testing.T, o collect.BgsaveOptions) (*collect.Source, error) {
	t.Helper()
	return collect.Bgsave(t.Context(), s.Access(), s.Addr(), o)
}

// saves is how many saves the server has begun since it started.
func (s *server) saves(t *testing.T) int64 {
	t.Helper()
	text, known := s.info(t, "persistence")["rdb_saves"]
	if !known {
		t.Fatal("the server does not count its saves")
	}
	return cluster.Info{"n": text}.Int("n")
}

func TestBgsave(t *testing.T) {
	cases := map[string]struct {
		before  bool // there is a dump from before
		replica bool
		folder  bool // the caller names the folder
	}{
		"the first dump":        {},
		"a dump after another":  {before: true},
		"of a replica":          {replica: true},
		"in a folder by name":   {folder: true},
		"in a folder, a second": {folder: true, before: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.fill(t, 1000, 10)
			if c.replica {
				s = startReplica(t, s)
			}
			if c.before {
				s.do(t, "SAVE")
				s.do(t, "SET", "one", "more")
			}
			o := collect.BgsaveOptions{}
			if c.folder {
				o.Folder = filepath.Join(t.TempDir(), "as it is seen from here")
				if err := os.Symlink(s.Dir(), o.Folder); err != nil {
					t.Fatal(err)
				}
			}
			before, asked := s.settings(t), time.Now()
			source, err := s.bgsave(t, o)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(s.Dir(), "dump.rdb")); err != nil || info.Size() != source.Size {
				t.Errorf("its size is %d, the file says %v, %v", source.Size, info, err)
			}
			report := inspect(t, source)
			if want := uint64(1000); report.Keys != want && !c.before || c.before && report.Keys != want+1 {
				t.Errorf("%d keys", report.Keys)
			}
			checkFresh(t, source, report, asked)
			info := s.info(t, "replication")
			if source.ReplID != info["master_replid"] || source.ReplOffset != info.Int("master_repl_offset") || source.Exact {
				t.Errorf("at %s:%d (exact: %v), the node says %v", source.ReplID, source.ReplOffset, source.Exact, info)
			}
			checkUnchanged(t, s, before)
		})
	}
}

// What was opened stays what it is, whatever the node saves later.
func TestBgsaveStaysWhole(t *testing.T) {
	s := start(t)
	s.fill(t, 1000, 10)
	first, err := s.bgsave(t, collect.BgsaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.do(t, "FLUSHALL")
	s.do(t, "SAVE")
	if report := inspect(t, first); report.Keys != 1000 {
		t.Errorf("%d keys", report.Keys)
	}
}

// Another child of the node is waited for, and what it saved is not taken for
// ours.
func TestBgsaveWaitsForAnother(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"BGSAVE", "BGREWRITEAOF"} {
		t.Run(other, func(t *testing.T) {
			s := start(t, "--rdb-key-save-delay", "300")
			s.fill(t, 4000, 10)
			s.do(t, other)
			s.child(t)
			s.do(t, "CONFIG", "SET", "rdb-key-save-delay", 0) // of the saves to come
			s.do(t, "SET", "later", "than its fork")
			asked := time.Now()
			source, err := s.bgsave(t, collect.BgsaveOptions{})
			if err != nil {
				t.Fatal(err)
			}
			report := inspect(t, source)
			if report.Keys != 4001 {
				t.Errorf("%d keys: it is the other's dump", report.Keys)
			}
			checkFresh(t, source, report, asked)
			if time.Since(asked) < 300*time.Millisecond {
				t.Error("the other had ended before: the test proves nothing")
			}
			// Behind a rewrite it asks twice: to save, and when that is refused, to
			// save later.
			if stats := s.info(t, "commandstats")["cmdstat_bgsave"]; other == "BGREWRITEAOF" && !strings.HasPrefix(stats, "calls=2,") {
				t.Errorf("BGSAVE: %s", stats)
			}
		})
	}
}

func TestBgsaveOfAnotherFolder(t *testing.T) {
	s := start(t)
	s.fill(t, 10, 10)
	s.do(t, "SAVE")
	dump, err := os.ReadFile(filepath.Join(s.Dir(), "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, empty := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "dump.rdb"), dump, 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(foreign, "dump.rdb")
	cases := map[string]struct {
		folder string
		says   string
		saves  int64 // how many it costs the node
	}{
		"with a dump that looks perfect": {foreign, "did not change with the save", 1},
		"an empty one":                   {empty, "no such file", 1},
		"one that does not exist":        {filepath.Join(empty, "gone"), "no such file", 0},
		"a file":                         {file, "not a directory", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := s.saves(t)
			source, err := s.bgsave(t, collect.BgsaveOptions{Folder: c.folder})
			if source != nil || !errors.Is(err, collect.ErrNotHere) {
				t.Errorf("got %+v, %v, want ErrNotHere", source, err)
			}
			checkSays(t, err, c.says, "--collect stream")
			if saves := s.saves(t) - before; saves != c.saves {
				t.Errorf("the node saved %d times, want %d", saves, c.saves)
			}
			if here := collect.Here(t.Context(), s.Access(), s.Addr(), c.folder); here != (c.saves == 1) {
				t.Errorf("Here says %v", here)
			}
		})
	}
}

// A node whose folder was taken from under it does not know where it is; the
// empty answer was taken for the folder this program runs in.
func TestBgsaveOfALostFolder(t *testing.T) {
	s := start(t)
	t.Chdir(t.TempDir())
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if got := s.settings(t)["dir"]; got != "" {
		t.Fatalf("the node says its folder is %q", got)
	}
	source, err := s.bgsave(t, collect.BgsaveOptions{})
	if source != nil || !errors.Is(err, collect.ErrNotHere) {
		t.Errorf("got %+v, %v, want ErrNotHere", source, err)
	}
	if saves := s.saves(t); saves != 0 {
		t.Errorf("the node was asked to save %d times", saves)
	}
	if collect.Here(t.Context(), s.Access(), s.Addr(), "") {
		t.Error("Here says true")
	}
}

// A save that fails gives no source, though the dump of before is still there
// and perfect; and does not stand in the way of a later one.
func TestBgsaveThatFails(t *testing.T) {
	t.Run("the file cannot be put in place", func(t *testing.T) {
		s := start(t)
		s.fill(t, 10, 10)
		s.awaitNextSecond(t)
		inTheWay := filepath.Join(s.Dir(), "dump.rdb")
		if err := os.Mkdir(inTheWay, 0o700); err != nil {
			t.Fatal(err)
		}
		source, err := s.bgsave(t, collect.BgsaveOptions{})
		if source != nil {
			t.Errorf("it gave %+v", source)
		}
		checkSays(t, err, `rdb_last_bgsave_status is "err"`, "disk is full")
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		if source, err = s.bgsave(t, collect.BgsaveOptions{}); err != nil {
			t.Fatalf("once it can save again: %v", err)
		}
		inspect(t, source)
	})
	t.Run("the child is killed for its memory", func(t *testing.T) {
		err := killedSave(t, syscall.SIGKILL)
		checkSays(t, err, `rdb_last_bgsave_status is "err"`, "memory")
	})
}

// Redis ends a save of its own with SIGUSR1 and leaves the status "ok": a dump
// of before would pass for a new one.
func TestBgsaveThatIsCalledOff(t *testing.T) {
	err := killedSave(t, syscall.SIGUSR1)
	if !errors.Is(err, collect.ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	checkSays(t, err, "the last good save was at", "take the snapshot again")
}

// killedSave ends a save by a signal, and returns what Bgsave says of it.
func killedSave(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	s := start(t)
	s.fill(t, 20000, 10)
	s.do(t, "SAVE") // a dump of before, which looks perfect
	s.do(t, "CONFIG", "SET", "rdb-key-save-delay", 10000)
	s.awaitNextSecond(t)
	done := beside(func() (*collect.Source, error) { return s.bgsave(t, collect.BgsaveOptions{}) })
	if err := syscall.Kill(s.child(t), signal); err != nil {
		t.Fatal(err)
	}
	return fails(t, done, promptly)
}

func TestBgsaveHasALimit(t *testing.T) {
	cases := map[string]func(*testing.T, *server){
		"of its own save":               func(*testing.T, *server) {},
		"of another that is in its way": func(t *testing.T, s *server) { s.do(t, "BGSAVE") },
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			s := slowServer(t)
			prepare(t, s)
			done := beside(func() (*collect.Source, error) {
				return s.bgsave(t, collect.BgsaveOptions{Limit: 500 * time.Millisecond})
			})
			checkSays(t, fails(t, done, promptly), "bgsave on "+s.Addr()+": the save took over 500ms", "")
		})
	}
}

func TestBgsaveCancelled(t *testing.T) {
	s := slowServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := beside(func() (*collect.Source, error) {
		return collect.Bgsave(ctx, s.Access(), s.Addr(), collect.BgsaveOptions{})
	})
	s.child(t)
	cancel()
	if err := fails(t, done, promptly); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// With exactly the rights that are documented it works, and without one it
// says which.
func TestBgsaveRights(t *testing.T) {
	s := startWith(t, redisproc.Options{Config: []string{
		"user backup on >secret -@all +time +info +bgsave +config|get",
		"user noconfig on >secret -@all +time +info +bgsave",
		"user nobgsave on >secret -@all +time +info +config|get",
	}})
	cases := map[string]struct{ says, advice string }{
		"backup":   {},
		"noconfig": {"CONFIG GET", "+config|get"},
		"nobgsave": {"run BGSAVE", "rights"},
	}
	for user, c := range cases {
		t.Run(user, func(t *testing.T) {
			access := &cluster.Access{Username: user, Password: "secret"}
			source, err := collect.Bgsave(t.Context(), access, s.Addr(), collect.BgsaveOptions{})
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				inspect(t, source)
				return
			}
			if source != nil || !errors.Is(err, cluster.ErrAuth) {
				t.Errorf("got %+v, %v, want ErrAuth", source, err)
			}
			checkSays(t, err, c.says, c.advice)
		})
	}
}

func TestHere(t *testing.T) {
	s := start(t)
	if !collect.Here(t.Context(), s.Access(), s.Addr(), "") {
		t.Error("the node's own folder is not here")
	}
	if collect.Here(t.Context(), s.Access(), "127.0.0.1:1", "") {
		t.Error("a node that does not answer is here")
	}
	if collect.Here(t.Context(), s.Access(), "127.0.0.1:1", s.Dir()) {
		t.Error("a node that does not answer is here, in a folder that is")
	}
	if saves := s.saves(t); saves != 0 {
		t.Errorf("it had the node save %d times", saves)
	}
}

func TestLocal(t *testing.T) {
	access := &cluster.Access{NAT: cluster.NAT{"10.9.9.9:6379": "127.0.0.1:7001", "127.0.0.1:7002": "192.0.2.1:6379"}}
	cases := map[string]bool{
		"127.0.0.1:6379":   true,
		"127.1.2.3:6379":   true,
		"[::1]:6379":       true,
		"localhost:6379":   true,
		"192.0.2.1:6379":   false, // an address of documentation: nobody's
		"[2001:db8::1]:1":  false,
		"example.org:6379": false,
		"127.0.0.1":        false, // no address of a node
		"":                 false,
		"10.9.9.9:6379":    true,  // reached through this machine
		"10.9.9.9:6380":    false, // another port, and not reached so
		"127.0.0.1:7002":   false, // reached elsewhere
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if network, ok := a.(*net.IPNet); ok {
			cases[net.JoinHostPort(network.IP.String(), "6379")] = true
		}
	}
	for addr, want := range cases {
		if got := access.Local(addr); got != want {
			t.Errorf("Local(%q) = %v, want %v", addr, got, want)
		}
	}
}

// The two ways give the same dump, but for what differs from fork to fork.
func TestBothWaysGiveTheSameKeys(t *testing.T) {
	s := start(t, fromDisk...)
	s.fill(t, 1000, 10)
	s.do(t, "SET", "expiring", "x", "PX", 100000000)
	saved, err := s.bgsave(t, collect.BgsaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	streamed, err := collect.Stream(t.Context(), s.Access(), s.Addr(), collect.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := inspect(t, saved), inspect(t, streamed)
	if a.Keys != 1001 || a.Expiring != 1 || b.Keys != a.Keys || b.Expiring != a.Expiring || !slices.Equal(a.Slots[:], b.Slots[:]) {
		t.Errorf("saved %d keys, %d expiring; streamed %d, %d", a.Keys, a.Expiring, b.Keys, b.Expiring)
	}
}
