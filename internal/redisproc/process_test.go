package redisproc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
)

// parentEnv makes this test binary play the parent that gets killed.
const parentEnv = "REDISPROC_TEST_PARENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		p, err := redisproc.Start(context.Background(), redisproc.Options{Dir: dir, Detached: os.Getenv(parentEnv+"_DETACHED") != ""})
		if err != nil {
			fmt.Fprintln(os.Stdout, err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, p.PID())
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

func start(t *testing.T, o redisproc.Options) *redisproc.Process {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	p, err := redisproc.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func ping(t *testing.T, access *cluster.Access, addr string) error {
	t.Helper()
	node := access.Open(addr)
	defer func() { _ = node.Close() }()
	return node.Ping(t.Context())
}

// isAlive tells whether a process exists and is not a zombie.
func isAlive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// awaitEnd waits for the end of a process that nobody asks to end any more.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for range 500 {
		if !isAlive(pid) {
			return
		}
		<-ticker.C
	}
	t.Errorf("process %d is still there", pid)
}

func TestStartStop(t *testing.T) {
	const password = "a \"password\" with \\ and \x01 and ü"
	p := start(t, redisproc.Options{Password: password, Args: []string{"--save", "", "--maxmemory", "100mb"}})
	if err := ping(t, p.Access(), p.Addr()); err != nil {
		t.Fatal(err)
	}
	if err := ping(t, &cluster.Access{}, p.Addr()); !errors.Is(err, cluster.ErrAuth) {
		t.Errorf("without a password: %v", err)
	}
	if p.Addr() != net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())) || !filepath.IsAbs(p.Dir()) {
		t.Error(p.Addr(), p.Dir())
	}
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
	if err != nil || strings.Contains(string(arguments), "password") {
		t.Errorf("the arguments %q hold the password, %v", arguments, err)
	}
	for _, name := range []string{"redis.conf", "redis.log"} {
		if file, err := os.Stat(filepath.Join(p.Dir(), name)); err != nil || file.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, file, err)
		}
	}
	for range 2 { // the second time it is gone already
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("Done is not closed")
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID())); err == nil {
		t.Error("the process is still there, or a zombie")
	}
	if err := ping(t, p.Access(), p.Addr()); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("after Stop: %v", err)
	}
	if tail := p.LogTail(3); !strings.Contains(tail, "bye bye") || strings.Count(tail, "\n") != 2 {
		t.Errorf("log: %q", tail)
	}
}

// Stop gives up waiting when ctx is done.
func TestStopIsBounded(t *testing.T) {
	p := start(t, redisproc.Options{})
	node := p.Access().Open(p.Addr())
	defer func() { _ = node.Close() }()
	// The server does not see the signal while a script runs.
	if _, err := node.Do(t.Context(), "CONFIG", "SET", "lua-time-limit", 0); err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		_, _ = node.Do(t.Context(), "EVAL", "while true do end", 0)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
	if isAlive(p.PID()) {
		t.Error("it survived")
	}
	<-busy
}

// A child that saves for its server ends with it, and does not write into a
// folder that somebody removes by then.
func TestKillEndsChildren(t *testing.T) {
	for name, end := range map[string]func(*redisproc.Process) error{
		"killed":  (*redisproc.Process).Kill,
		"stopped": func(p *redisproc.Process) error { return p.Stop(t.Context()) },
		"crashed": func(p *redisproc.Process) error {
			if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
				return err
			}
			<-p.Done()
			return p.Kill()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, redisproc.Options{Args: []string{"--save", "", "--rdb-key-save-delay", "60000000"}})
			node := p.Access().Open(p.Addr())
			defer func() { _ = node.Close() }()
			for _, command := range [][]any{{"SET", "a", 1}, {"SET", "b", 2}, {"BGSAVE"}} {
				if _, err := node.Do(t.Context(), command...); err != nil {
					t.Fatal(err)
				}
			}
			path := fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", p.PID())
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			child, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil || !isAlive(child) {
				t.Fatalf("no child saves: %q, %v", text, err)
			}
			if err := end(p); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(p.Dir()); err != nil {
				t.Error(err)
			}
			awaitEnd(t, child) // it has closed its files by now, which is a moment before its end
		})
	}
}

func TestStartFails(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = occupied.Close() }()
	port := occupied.Addr().(*net.TCPAddr).Port
	neighbour := start(t, redisproc.Options{})
	cases := map[string]struct {
		options redisproc.Options
		words   []string
		taken   bool
	}{
		"unknown directive":   {redisproc.Options{Args: []string{"--no-such-directive", "yes"}}, []string{"it ended while starting", "no-such-directive"}, false},
		"port taken":          {redisproc.Options{Port: port}, []string{"in use"}, true},
		"another redis there": {redisproc.Options{Port: neighbour.Port()}, []string{"in use"}, true},
		"no such binary":      {redisproc.Options{Binary: "/nonexistent/redis-server"}, []string{"/nonexistent/redis-server"}, false},
		"no server at all":    {redisproc.Options{Binary: "/bin/true"}, []string{"it ended while starting"}, false},
		// The server repeats the line it does not understand.
		"password in a bad line": {redisproc.Options{Password: "hunter2", Config: []string{"requirepass hunter2 extra"}}, []string{"ended while starting", "[secret]"}, false},
		"damaged dump":           {redisproc.Options{Args: []string{"--dbfilename", "redis.conf"}}, []string{"it ended while starting", "Wrong signature"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.options.Dir = t.TempDir()
			p, err := redisproc.Start(t.Context(), c.options)
			if err == nil {
				_ = p.Kill()
				t.Fatal("it started")
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || redisproc.IsPortTaken(err) != c.taken {
				t.Errorf("taken %t: %v", redisproc.IsPortTaken(err), err)
			}
		})
	}
}

// A server that never answers ends the wait, and does not stay.
func TestStartTimeout(t *testing.T) {
	for name, limit := range map[string]func() (context.Context, context.CancelFunc, time.Duration){
		"by option": func() (context.Context, context.CancelFunc, time.Duration) {
			return t.Context(), func() {}, 2 * time.Second // the script has begun by then
		},
		"by ctx": func() (context.Context, context.CancelFunc, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			return ctx, cancel, time.Hour
		},
	} {
		t.Run(name, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "mute-server")
			if err := os.WriteFile(script, []byte("#!/bin/sh\necho $$ >pid\nexec sleep 600\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			ctx, cancel, timeout := limit()
			defer cancel()
			dir := t.TempDir()
			_, err := redisproc.Start(ctx, redisproc.Options{Binary: script, Dir: dir, Timeout: timeout})
			if err == nil || name == "by ctx" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "pid"))
			if err != nil {
				t.Fatal(err)
			}
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || isAlive(pid) {
				t.Errorf("process %d is still there, %v", pid, err)
			}
		})
	}
}

// Start returns once the data is loaded, not once the port is open; and loading
// may take longer than the limit for an answer.
func TestStartWaitsForLoading(t *testing.T) {
	p := start(t, redisproc.Options{Args: []string{"--save", "900 1"}})
	node := p.Access().Open(p.Addr())
	defer func() { _ = node.Close() }()
	if _, err := node.Do(t.Context(), "EVAL", "for i = 1, 5000 do redis.call('set', 'key' .. i, i) end", 0); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil { // saves, as there are save points
		t.Fatal(err)
	}
	again := start(t, redisproc.Options{Dir: p.Dir(), Timeout: 3 * time.Second, Args: []string{
		"--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024",
	}})
	node = again.Access().Open(again.Addr())
	defer func() { _ = node.Close() }()
	if n, err := node.Int(t.Context(), "DBSIZE"); n != 5000 || err != nil {
		t.Errorf("%d keys, %v", n, err)
	}
}

// A parent that is killed leaves nothing, unless that was asked for.
func TestKilledParent(t *testing.T) {
	for _, detached := range []bool{false, true} {
		t.Run(fmt.Sprintf("detached %t", detached), func(t *testing.T) {
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), parentEnv+"="+t.TempDir())
			if detached {
				parent.Env = append(parent.Env, parentEnv+"_DETACHED=1")
			}
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || !isAlive(pid) {
				t.Fatalf("no server: %q, %v", line, err)
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait() // killed, as intended
			server, err := os.FindProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			if detached {
				if !isAlive(pid) {
					t.Error("the detached server is gone")
				}
				_ = server.Kill()
				return
			}
			defer func() { _ = server.Kill() }()
			awaitEnd(t, pid)
		})
	}
}

// Many servers at once: each gets a port of its own.
func TestFreePorts(t *testing.T) {
	ports, err := redisproc.FreePorts("127.0.0.1", 50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		if seen[port] || seen[port+redisproc.BusOffset] || port+redisproc.BusOffset > 32767 {
			t.Errorf("port %d", port)
		}
		seen[port], seen[port+redisproc.BusOffset] = true, true
	}
	if _, err := redisproc.FreePorts("192.0.2.1", 1); err == nil {
		t.Error("a port of an address that is not ours")
	}
}

func TestVersion(t *testing.T) {
	engine, version, err := redisproc.Version("")
	if err != nil || engine != "redis" && engine != "valkey" || strings.Count(version, ".") != 2 {
		t.Errorf("%q %q %v", engine, version, err)
	}
	if _, _, err := redisproc.Version("/bin/true"); err == nil {
		t.Error("/bin/true has a version")
	}
	if _, _, err := redisproc.Version("/nonexistent"); err == nil {
		t.Error("what does not exist has a version")
	}
}

func TestFind(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if binary, err := redisproc.Find(); !errors.Is(err, redisproc.ErrNoBinary) {
		t.Error(binary, err)
	}
	if _, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir()}); !errors.Is(err, redisproc.ErrNoBinary) {
		t.Error(err)
	}
}
