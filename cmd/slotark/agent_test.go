package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
)

// agentLimit is how long an agent may take for what takes it a moment.
const agentLimit = 30 * time.Second

// trust are the certificates of agents and coordinators.
type trust struct {
	*clustertest.Authority
	agent, coordinator []string // flags
}

func newTrust(t *testing.T) *trust {
	t.Helper()
	tr := &trust{Authority: clustertest.NewAuthority(t)}
	tr.agent = tr.flags(t, clustertest.Certificate{Name: "agent", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	tr.coordinator = tr.flags(t, clustertest.Certificate{Name: "coordinator", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tr
}

func (tr *trust) flags(t *testing.T, c clustertest.Certificate) []string {
	t.Helper()
	cert, key := tr.Issue(t, c)
	return []string{"--agent-ca", tr.File, "--agent-cert", cert, "--agent-key", key}
}

// agentProcess is an agent of the built program.
type agentProcess struct {
	cmd   *exec.Cmd
	addr  string
	log   *syncBuffer
	ended chan struct{}
}

// syncBuffer is written by a process and read by a test.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startAgent starts an agent at a free port, or at the one that is given.
func startAgent(t *testing.T, tr *trust, addr string, args ...string) *agentProcess {
	t.Helper()
	if addr == "" {
		ports, err := redisproc.FreePorts("127.0.0.1", 1)
		if err != nil {
			t.Fatal(err)
		}
		addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	p := &agentProcess{addr: addr, log: &syncBuffer{}, ended: make(chan struct{})}
	p.cmd = command(context.WithoutCancel(t.Context()), password, append(append([]string{"agent", "--listen", addr}, tr.agent...), args...)...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is looked at by who expects it
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("agent %s said:\n%s", addr, p.log)
		}
	})
	clustertest.Eventually(t, agentLimit, func(context.Context) error {
		select {
		case <-p.ended:
			t.Fatalf("the agent ended:\n%s", p.log)
		default:
		}
		if !strings.Contains(p.log.String(), "agent ready") {
			return errors.New("it is not ready")
		}
		return nil
	})
	return p
}

func (p *agentProcess) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop ends the agent as systemd would, and returns its exit code.
func (p *agentProcess) stop(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		t.Fatalf("it does not stop:\n%s", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// peak is the resident memory that it took at most.
func (p *agentProcess) peak(t *testing.T) int64 {
	t.Helper()
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("the system does not say how much memory a process took")
	}
	return usage.Maxrss << 10
}

// awaitLog waits until the agent has logged something.
func (p *agentProcess) awaitLog(t *testing.T, text string) {
	t.Helper()
	clustertest.Eventually(t, waitForAgent, func(context.Context) error {
		if !strings.Contains(p.log.String(), text) {
			return fmt.Errorf("the agent has not said %q", text)
		}
		return nil
	})
}

// waitForAgent is longer than every bound of the protocol.
const waitForAgent = 2 * time.Minute

// beside starts an agent for each of some nodes and returns them with the flags of
// a coordinator. Every other one reads the data folder.
func beside(t *testing.T, tr *trust, nodes []*clustertest.Node, args ...string) ([]*agentProcess, []string) {
	t.Helper()
	var agents []*agentProcess
	flags := slices.Clone(tr.coordinator)
	for i, node := range nodes {
		own := append([]string{"--node", node.Addr()}, args...)
		if i%2 == 0 {
			own = append(own, "--data-dir", node.Addr()+"="+node.Proc.Dir())
		}
		p := startAgent(t, tr, "", own...)
		agents = append(agents, p)
		flags = append(flags, "--agent", node.Addr()+"=https://"+p.addr)
	}
	return agents, flags
}

// fingerprint is what `show --slots` says of all keys of a snapshot.
func fingerprint(t *testing.T, id string, repo ...string) string {
	t.Helper()
	o := slotark(t, "", append([]string{"show", id, "--slots", "--json"}, repo...)...).want(t, exitDone, `"fingerprint"`)
	for line := range strings.Lines(o.stdout) {
		if strings.Contains(line, `"message_type":"fingerprint"`) {
			return line[strings.Index(line, `"digest"`):]
		}
	}
	t.Fatalf("no fingerprint in\n%s", o.stdout)
	return ""
}

func TestAgents(t *testing.T) {
	c := filled(t, clustertest.Options{Primaries: 3}, dataset.Options{Keys: 2000, Seed: 41})
	tr := newTrust(t)
	root := t.TempDir()
	repo := []string{"--repo", filepath.Join(root, "one"), "--mirror", filepath.Join(root, "two")}
	_, flags := beside(t, tr, c.Nodes, repo...)
	node := []string{"--node", c.Addrs()[0]}
	o := slotark(t, password, slices.Concat([]string{"snapshot", "--collect", "agent"}, node, flags, repo)...).want(t, exitDone)
	t.Logf("%s%s", o.stdout, o.stderr)
}

var _ = net.Dial
var _ = os.Getenv
