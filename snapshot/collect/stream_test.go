package collect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/collect"
)

// The two ways a server sends a dump.
var (
	fromDisk = []string{"--repl-diskless-sync", "no"}
	diskless = []string{"--repl-diskless-sync", "yes"}
	// slow is a save of minutes, so that a test can be sure to be inside it.
	slow = []string{"--rdb-key-save-delay", "10000"}
)

func TestStream(t *testing.T) {
	cases := map[string]struct {
		args      []string
		replica   bool
		announced bool // the dump's length is
	}{
		"from disk, of a primary": {fromDisk, false, true},
		"from disk, of a replica": {fromDisk, true, true},
		"diskless, of a primary":  {diskless, false, false},
		"diskless, of a replica":  {diskless, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := start(t, c.args...)
			s.fill(t, 20000, 100)
			if c.replica {
				s = startReplica(t, s, c.args...)
			}
			before, asked := s.settings(t), time.Now()
			source, err := collect.Stream(t.Context(), s.Access(), s.Addr(), collect.StreamOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if announced := source.Size > 0; announced != c.announced || !announced && source.Size != -1 {
				t.Errorf("the announced size is %d", source.Size)
			}
			report := inspect(t, source)
			if report.Keys != 20000 || report.Bytes < 20000*100 {
				t.Errorf("%d keys in %d bytes", report.Keys, report.Bytes)
			}
			checkFresh(t, source, report, asked)
			// The first replica a primary ever has gives it a new replication
			// id, so it is asked after.
			info := s.info(t, "replication")
			if source.ReplID != info["master_replid"] || source.ReplOffset != info.Int("master_repl_offset") || !source.Exact {
				t.Errorf("at %s:%d (exact: %v), the node says %s:%s",
					source.ReplID, source.ReplOffset, source.Exact, info["master_replid"], info["master_repl_offset"])
			}
			if report.ReplID != "" && report.ReplOffset != source.ReplOffset {
				t.Errorf("offset %d, the dump says %d", source.ReplOffset, report.ReplOffset)
			}
			checkUnchanged(t, s, before)
			s.awaitInfo(t, "replication", "connected_slaves", "0") // we are gone without a trace
		})
	}
}

func TestStreamOverTLS(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Primaries: 1, TLS: true, Password: "x7k2p9", ExtraArgs: []string{"--enable-debug-command", "yes"}})
	node := c.Access().Open(c.Addrs()[0])
	defer node.Close()
	if _, err := node.Do(t.Context(), "DEBUG", "POPULATE", 5000); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"yes", "no"} {
		if _, err := node.Do(t.Context(), "CONFIG", "SET", "repl-diskless-sync", value); err != nil {
			t.Fatal(err)
		}
		source, err := collect.Stream(t.Context(), c.Access(), node.Addr(), collect.StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if report := inspect(t, source); report.Keys != 5000 {
			t.Errorf("diskless %s: %d keys", value, report.Keys)
		}
	}
}

// With exactly the rights that are documented it works.
func TestStreamNeedsFewRights(t *testing.T) {
	s := startWith(t, redisproc.Options{Config: []string{"user backup on >secret -@all +sync +psync +replconf +time"}})
	s.fill(t, 10, 10)
	source, err := collect.Stream(t.Context(), &cluster.Access{Username: "backup", Password: "secret"}, s.Addr(), collect.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report := inspect(t, source); report.Keys != 10 {
		t.Errorf("%d keys", report.Keys)
	}
}

func TestStreamRefused(t *testing.T) {
	s := startWith(t, redisproc.Options{Config: []string{
		"user none on >secret -@all +time", "user nopsync on >secret -@all +time +replconf", "user notime on >secret -@all +psync +sync +replconf",
	}})
	cases := map[string]struct {
		access       *cluster.Access
		addr         string
		is           error
		says, advice string
	}{
		"no right to REPLCONF": {&cluster.Access{Username: "none", Password: "secret"}, s.Addr(), nil, "NOPERM", "+psync +sync +replconf"},
		"no right to PSYNC":    {&cluster.Access{Username: "nopsync", Password: "secret"}, s.Addr(), nil, "NOPERM", "+psync +sync +replconf"},
		"no right to TIME":     {&cluster.Access{Username: "notime", Password: "secret"}, s.Addr(), cluster.ErrAuth, "run TIME", "rights"},
		"a wrong password":     {&cluster.Access{Username: "none", Password: "wrong"}, s.Addr(), cluster.ErrAuth, "refused the password", "password"},
		"nobody there":         {&cluster.Access{}, "127.0.0.1:1", cluster.ErrUnreachable, "connection refused", "runs"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			source, err := collect.Stream(t.Context(), c.access, c.addr, collect.StreamOptions{})
			if source != nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %+v, %v, want %v", source, err, c.is)
			}
			checkSays(t, err, c.says, c.advice)
		})
	}
}

// slowServer is a server whose dump takes long to come.
func slowServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := start(t, append(append([]string{}, slow...), args...)...)
	s.fill(t, 20000, 1000)
	return s
}

// A cancel ends it wherever it is: waiting for the fork's file, or reading.
func TestStreamCancelled(t *testing.T) {
	t.Parallel()
	t.Run("while the node saves", func(t *testing.T) {
		s := slowServer(t, fromDisk...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := beside(func() (*collect.Source, error) {
			return collect.Stream(ctx, s.Access(), s.Addr(), collect.StreamOptions{})
		})
		s.awaitInfo(t, "persistence", "rdb_bgsave_in_progress", "1")
		cancel()
		if err := fails(t, done, promptly); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("while the dump comes", func(t *testing.T) {
		s := slowServer(t, diskless...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		source := begun(t, ctx, s)
		cancel()
		if err := fails(t, drain(source), promptly); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	// It was told as the node's silence, with advice to match.
	t.Run("by a deadline", func(t *testing.T) {
		s := slowServer(t, diskless...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := fails(t, drain(begun(t, ctx, s)), promptly); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		} else if strings.Contains(err.Error(), "sent nothing") || len(hint.Of(err)) > 0 {
			t.Errorf("our own deadline is laid at the node's door: %v; %v", err, hint.Of(err))
		}
	})
}

// begun is a dump of which the first bytes have come.
func begun(t *testing.T, ctx context.Context, s *server) *collect.Source {
	t.Helper()
	source, err := collect.Stream(ctx, s.Access(), s.Addr(), collect.StreamOptions{Silence: waitLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	if _, err := io.ReadFull(source, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	return source
}

// A node that dies inside its dump gives an error, and never an end.
func TestStreamOfANodeThatIsKilled(t *testing.T) {
	t.Parallel()
	t.Run("diskless", func(t *testing.T) {
		s := slowServer(t, diskless...)
		source := begun(t, t.Context(), s)
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		checkSays(t, fails(t, drain(source), promptly), "sync from "+s.Addr()+", after ", "node's log")
	})
	t.Run("from disk", func(t *testing.T) {
		s := start(t, fromDisk...)
		s.fill(t, 60000, 1000) // more than the sockets' buffers hold
		source := begun(t, t.Context(), s)
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		checkSays(t, fails(t, drain(source), promptly), "sync from "+s.Addr()+", after ", "node's log")
	})
	// The saving child has our connection too, and holds it open until it
	// notices, within 1024 keys and a second, that its server is gone.
	t.Run("before the dump", func(t *testing.T) {
		s := slowServer(t, append([]string{"--rdb-key-save-delay", "500"}, fromDisk...)...)
		done := beside(func() (*collect.Source, error) {
			return collect.Stream(t.Context(), s.Access(), s.Addr(), collect.StreamOptions{})
		})
		s.awaitInfo(t, "persistence", "rdb_bgsave_in_progress", "1")
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		checkSays(t, fails(t, done, promptly), "sync from "+s.Addr(), "node's log")
	})
}

// The child that sends a diskless dump dies alone: the node lives on, and
// drops us.
func TestStreamOfAChildThatIsKilled(t *testing.T) {
	s := slowServer(t, diskless...)
	source := begun(t, t.Context(), s)
	if err := syscall.Kill(s.child(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	checkSays(t, fails(t, drain(source), promptly), "sync from "+s.Addr()+", after ", "node's log")
}

// The node cannot write the file it would send.
func TestStreamOfANodeThatCannotSave(t *testing.T) {
	s := start(t, fromDisk...)
	s.fill(t, 10, 10)
	if err := os.Mkdir(filepath.Join(s.Dir(), "dump.rdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	source, err := collect.Stream(t.Context(), s.Access(), s.Addr(), collect.StreamOptions{})
	if source != nil {
		t.Fatalf("it gave %+v", source)
	}
	checkSays(t, err, "sync from "+s.Addr()+": the node closed the connection", "its save failed")
}

// A node that hangs is left after a while.
func TestStreamOfANodeThatHangs(t *testing.T) {
	t.Parallel()
	s := start(t, fromDisk...)
	s.fill(t, 60000, 1000) // more than the sockets' buffers hold
	// Long enough for a busy machine to save.
	source, err := collect.Stream(t.Context(), s.Access(), s.Addr(), collect.StreamOptions{Silence: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	checkSays(t, fails(t, drain(source), waitLimit), "the node sent nothing for 5s", "node's log")
}

func TestStreamOfAReplicaWithoutItsPrimary(t *testing.T) {
	primary := start(t)
	replica := startReplica(t, primary)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	replica.awaitInfo(t, "replication", "master_link_status", "down")
	source, err := collect.Stream(t.Context(), replica.Access(), replica.Addr(), collect.StreamOptions{})
	if source != nil {
		t.Fatalf("it gave %+v", source)
	}
	checkSays(t, err, "NOMASTERLINK", "has lost its primary")
}

// A server that is saving for another replica of our kind gives us the same
// dump, whose fork came before we asked. It cannot be helped, but it must show:
// who took it for fresh would put the dump at a wrong instant.
func TestStreamThatSharesAnOlderFork(t *testing.T) {
	t.Parallel()
	s := start(t, append([]string{"--rdb-key-save-delay", "1000"}, fromDisk...)...)
	s.fill(t, 3500, 10)
	stream := func() (*collect.Source, error) {
		return collect.Stream(t.Context(), s.Access(), s.Addr(), collect.StreamOptions{})
	}
	first := beside(stream)
	s.child(t)
	forked := s.now(t).Unix()
	clustertest.Eventually(t, waitLimit, func(context.Context) error {
		if s.now(t).Unix() == forked {
			return errors.New("still in the second of the fork")
		}
		return nil
	})
	source, err := stream()
	if err != nil {
		t.Fatal(err)
	}
	if report := inspect(t, source); !report.Created.Before(source.NotBefore) {
		t.Errorf("the dump of %s does not show as older than the request of %s", report.Created, source.NotBefore)
	}
	if r := <-first; r.err != nil {
		t.Error(r.err)
	} else {
		inspect(t, r.source)
	}
}

// between stands between a server and who streams from it, and changes what passes.
func between(t *testing.T, s *server, serve func(t *testing.T, client, node net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			node, err := net.Dial("tcp", s.Addr())
			if err != nil {
				client.Close()
				continue
			}
			all.Go(func() {
				defer client.Close()
				defer node.Close()
				serve(t, client, node)
			})
		}
	})
	return listener.Addr().String()
}

// pass copies both ways until either end is closed.
func pass(client, node net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { io.Copy(client, node); client.Close(); node.Close() })
	io.Copy(node, client)
	node.Close()
	client.Close()
	both.Wait()
}

// A node that keeps writes back for us, as those before 6.2 do, and drops us when
// they are too many: that is told, and not as a dump's end.
func TestStreamOverTheOutputBufferLimit(t *testing.T) {
	s := start(t, append([]string{"--rdb-key-save-delay", "1000", "--client-output-buffer-limit", "replica 1mb 1mb 1"}, diskless...)...)
	s.fill(t, 20000, 100)
	// The node does not hear that we want no writes.
	deaf := between(t, s, func(t *testing.T, client, node net.Conn) {
		text := make([]byte, 4<<10)
		n, err := client.Read(text)
		for ; err == nil && strings.Contains(string(text[:n]), "REPLCONF"); n, err = client.Read(text) {
			ok := []byte("+OK\r\n")
			if strings.Contains(string(text[:n]), "capa") {
				node.Write(text[:n])
				io.ReadFull(node, ok)
			}
			client.Write(ok)
		}
		node.Write(text[:n])
		pass(client, node)
	})
	access := s.Access()
	access.NAT = cluster.NAT{"10.0.0.1:6379": deaf}
	source, err := collect.Stream(t.Context(), access, "10.0.0.1:6379", collect.StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	done := drain(source)
	value := strings.Repeat("x", 256<<10)
	for i := range 16 {
		s.do(t, "SET", fmt.Sprintf("kept:%d", i), value)
	}
	err = fails(t, done, waitLimit)
	if !errors.Is(err, collect.ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
	if _, told := s.info(t, "stats")["client_output_buffer_limit_disconnections"]; told {
		checkSays(t, err, "client-output-buffer-limit for replicas", "raise client-output-buffer-limit")
	} else { // only its log knows
		checkSays(t, err, "the node closed the connection", "client-output-buffer-limit replica")
	}
}

// A node that answers nobody for a while, as one with much memory does while it
// forks, is waited for, at each point where it may happen.
func TestStreamOfASlowFork(t *testing.T) {
	t.Parallel()
	s := start(t, "--repl-diskless-sync-delay", "3")
	s.fill(t, 1000, 100)
	access := s.Access()
	access.Timeout = 500 * time.Millisecond // less than it is stopped for
	signal := func(t *testing.T, which syscall.Signal) {
		if err := syscall.Kill(s.PID(), which); err != nil {
			t.Fatal(err)
		}
	}
	for name, asked := range map[string]bool{"before it is asked": false, "before it forks": true} {
		t.Run(name, func(t *testing.T) {
			if !asked {
				signal(t, syscall.SIGSTOP)
			}
			done := beside(func() (*collect.Source, error) {
				return collect.Stream(t.Context(), access, s.Addr(), collect.StreamOptions{Clock: true})
			})
			if asked {
				s.awaitInfo(t, "replication", "connected_slaves", "1")
				signal(t, syscall.SIGSTOP)
			}
			timer := time.NewTimer(2 * time.Second)
			defer timer.Stop()
			select {
			case r := <-done:
				t.Errorf("it ended while the node slept: %v", r.err)
			case <-timer.C:
			}
			signal(t, syscall.SIGCONT)
			r := <-done
			if r.err != nil {
				t.Fatal(r.err)
			}
			if report := inspect(t, r.source); report.Keys != 1000 {
				t.Errorf("%d keys", report.Keys)
			}
			// It is asked for its clock when it has forked, which it put off.
			if after := r.source.ForkedBy.Sub(r.source.NotBefore); after < 2*time.Second || after > waitLimit {
				t.Errorf("it had forked %s after it was asked", after)
			}
		})
	}
}
