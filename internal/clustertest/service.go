package clustertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
)

// Service is a server that commands start and stop, as those of a service manager
// would: it is nobody's child, and outlives who started it.
type Service struct {
	Addr        string
	Dir         string // its data folder
	Start, Stop []string
	Log         string // file
	pidFile     string
	password    string
}

// ServiceOptions are a service's. Config are further lines of its configuration.
type ServiceOptions struct {
	Binary   string // "" is the machine's own
	Password string
	Config   []string
}

// NewService makes a service in cluster mode that does not run yet. With the test it
// ends, if it runs by then.
func NewService(t testing.TB, o ServiceOptions) *Service {
	t.Helper()
	binary := o.Binary
	if binary == "" {
		var err error
		if binary, err = redisproc.Find(); err != nil {
			t.Fatal(err)
		}
	}
	ports, err := redisproc.FreePorts("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	in := func(name string) string { return filepath.Join(home, name) }
	s := &Service{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), Dir: in("data"), Log: in("log"), pidFile: in("pid"), password: o.Password,
		Start: []string{"/bin/sh", in("start.sh")}, Stop: []string{"/bin/sh", in("stop.sh")}}
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lines := append([]string{"bind 127.0.0.1", "port " + strconv.Itoa(ports[0]), "dir " + s.Dir, "pidfile " + s.pidFile, "logfile " + s.Log, "daemonize yes", "cluster-enabled yes",
		"cluster-node-timeout 2000", "repl-diskless-sync-delay 0", "requirepass " + strconv.Quote(o.Password), "masterauth " + strconv.Quote(o.Password)}, o.Config...)
	for name, text := range map[string]string{
		"redis.conf": strings.Join(lines, "\n") + "\n",
		"start.sh":   fmt.Sprintf("exec %q %q\n", binary, in("redis.conf")),
		"stop.sh":    fmt.Sprintf("if [ -e %[1]q ]; then kill \"$(cat %[1]q)\"; fi\n", s.pidFile),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		s.Kill()
		if text, err := os.ReadFile(s.Log); err == nil && t.Failed() {
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Logf("%s said at its end:\n%s", s.Addr, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	return s
}

// Run starts the service, and waits until it answers.
func (s *Service) Run(t testing.TB) {
	t.Helper()
	if out, err := exec.Command(s.Start[0], s.Start[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	node := (&cluster.Access{Password: cluster.Secret(s.password)}).Open(s.Addr)
	defer node.Close()
	Eventually(t, time.Minute, node.Ping)
}

// Kill ends the service as a power cut would, if it runs.
func (s *Service) Kill() {
	text, err := os.ReadFile(s.pidFile)
	if err != nil {
		return // it has ended
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // with the children that save for it; it may have ended
	_ = os.Remove(s.pidFile)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil && alive(pid) {
		<-time.After(10 * time.Millisecond)
	}
}

// alive tells whether a process of that group is there, and no zombie that nobody
// asks for. One that has threads left is none yet, and has its port and files open.
func alive(group int) bool {
	statuses, err := filepath.Glob("/proc/[0-9]*/stat")
	return err == nil && slices.ContainsFunc(statuses, func(path string) bool {
		text, err := os.ReadFile(path)
		if err != nil {
			return false // it has ended since
		}
		// pid (name) state parent group … threads, the third, fifth and twentieth; see proc(5)
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		return len(fields) > 17 && fields[2] == strconv.Itoa(group) && (fields[0] != "Z" || fields[17] != "1")
	})
}
