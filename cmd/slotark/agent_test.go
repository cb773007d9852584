package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/snapshot/manifest"
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
	return startAgentBy(t, tr, addr, nil, args...)
}

// startAgentBy is startAgent by another program, which becomes the agent.
func startAgentBy(t *testing.T, tr *trust, addr string, by []string, args ...string) *agentProcess {
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
	if len(by) > 0 {
		path, err := exec.LookPath(by[0])
		if err != nil {
			t.Fatal(err)
		}
		p.cmd.Path, p.cmd.Args = path, slices.Concat(by, []string{program}, p.cmd.Args[1:])
	}
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
		var message struct {
			Type   string `json:"message_type"`
			Digest string `json:"fingerprint"`
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			t.Fatal(err)
		}
		if message.Type == "fingerprint" && len(message.Digest) == 32 {
			return message.Digest
		}
	}
	t.Fatalf("no fingerprint in\n%s", o.stdout)
	return ""
}

// counted is a TCP way to a server that counts what passes.
type counted struct {
	addr    string
	bytes   atomic.Int64
	refused atomic.Int64 // connections that were turned away
}

func newCounted(t *testing.T, to string) *counted {
	t.Helper()
	return newWay(t, to, anybody, handOn)
}

func anybody(string) bool { return true }

func handOn(server io.Writer, p []byte) error {
	_, err := server.Write(p)
	return err
}

// newWay is a way for those alone who come from a host that is admitted, on
// which pass hands on what they say.
func newWay(t *testing.T, to string, admits func(host string) bool, pass func(server io.Writer, p []byte) error) *counted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{addr: listener.Addr().String()}
	var all sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(func() {
		listener.Close()
		end()
		all.Wait()
	})
	all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			if from, _, err := net.SplitHostPort(near.RemoteAddr().String()); err != nil || !admits(from) {
				c.refused.Add(1)
				near.Close()
				continue
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			context.AfterFunc(ctx, func() { near.Close(); far.Close() }) // who still speaks must not keep the test
			for _, way := range []func() (int64, error){
				func() (int64, error) { return io.Copy(near, far) },
				func() (int64, error) { return io.Copy(passing{far, pass}, near) },
			} {
				all.Go(func() {
					n, _ := way()
					c.bytes.Add(n)
					near.Close()
					far.Close()
				})
			}
		}
	})
	return c
}

// passing is a writer whose bytes somebody hands on.
type passing struct {
	server io.Writer
	pass   func(server io.Writer, p []byte) error
}

func (w passing) Write(p []byte) (int, error) {
	if err := w.pass(w.server, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestAgents takes a snapshot through agents, into a folder and an S3 server, and
// one without. They are equal, and of the first no dump has crossed the
// coordinator, whose every connection is counted.
func TestAgents(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 3}, dataset.Options{Keys: 3000, Seed: 41})
	const large = 200
	fillLargeRandom(t, c, large)
	tr := newTrust(t)
	region := s3test.Start(t)
	bucket := region.Bucket(t, "agents")
	folder := filepath.Join(t.TempDir(), "here")
	recipient, identity := newIdentity(t)
	// The agents go straight to the S3 server, the coordinator through a counter.
	far := newCounted(t, strings.TrimPrefix(region.Endpoint, "http://"))
	direct := []string{"--repo", folder, "--mirror", region.URL(bucket, "") + "&name=far"}
	through := []string{"--repo", folder, "--mirror", strings.Replace(region.URL(bucket, ""), url.QueryEscape(region.Endpoint), url.QueryEscape("http://"+far.addr), 1) + "&name=far"}
	if direct[3] == through[3] {
		t.Fatalf("%s does not name the endpoint", direct[3])
	}
	agents, _ := beside(t, tr, c.Nodes, append(direct, "--recipient", recipient)...)
	flags := slices.Clone(tr.coordinator)
	var ways []*counted
	for i, node := range c.Nodes {
		toAgent, toNode := newCounted(t, agents[i].addr), newCounted(t, node.Addr())
		ways = append(ways, toAgent, toNode)
		flags = append(flags, "--agent", node.Addr()+"=https://"+toAgent.addr, "--nat", node.Addr()+"="+toNode.addr)
	}
	node := []string{"--node", c.Addrs()[0]}
	for _, way := range []string{"agent", "auto"} {
		slotark(t, password, slices.Concat([]string{"snapshot", "--collect", way, "--recipient", recipient}, node, flags, through)...).
			want(t, exitDone, "by agent-bgsave", "by agent-stream", "here stored   far stored")
	}
	var stored int64
	for _, name := range objects(t, folder) {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		stored += info.Size()
	}
	crossed := far.bytes.Load()
	for _, w := range ways {
		crossed += w.bytes.Load()
	}
	t.Logf("%d kB stored, %d kB crossed the coordinator", stored>>10, crossed>>10)
	if crossed == 0 || crossed*10 > stored {
		t.Errorf("%d bytes crossed the coordinator, of %d that were stored", crossed, stored)
	}
	// At a rate, which is one of each node: the wide margin is for what comes at once.
	const perSecond = 4 << 20
	began, least := time.Now(), time.Duration(large/len(c.Nodes)*largeValue)*time.Second/perSecond*3/4
	slotark(t, password, slices.Concat([]string{"snapshot", "--recipient", recipient, "--node-bandwidth", "4MiB"}, node, direct)...).want(t, exitDone, "by bgsave")
	if took := time.Since(began); took < least || least < time.Second {
		t.Errorf("at %d bytes a second it took %s, want %s at least", perSecond, took, least)
	}
	ids := idsOf(t, direct...)
	if len(ids) != 3 {
		t.Fatalf("there are %v", ids)
	}
	prints := map[string]bool{}
	for _, id := range ids {
		slotark(t, "", slices.Concat([]string{"verify", id, "--identity", identity}, direct)...).want(t, exitDone, "sound at level deep in here and far")
		prints[fingerprint(t, id, append(direct, "--identity", identity)...)] = true
	}
	if len(prints) != 1 {
		t.Errorf("the snapshots differ: %v", prints)
	}
	for _, p := range agents {
		if code := p.stop(t); code != exitDone {
			t.Errorf("an agent that is stopped ends with code %d:\n%s", code, p.log)
		}
	}
	// Nobody answers now: auto goes on without, and says so; agent does not.
	slotark(t, password, slices.Concat([]string{"snapshot", "--collect", "auto", "--recipient", recipient}, node, flags, direct)...).
		want(t, exitDone, "captured without its agent", "by bgsave")
	slotark(t, password, slices.Concat([]string{"snapshot", "--collect", "agent", "--recipient", recipient}, node, tr.coordinator, direct)...).
		want(t, exitFailed, "there is no agent for", "--agent")
}

// fillLargeRandom gives each node values that do not compress.
func fillLargeRandom(t *testing.T, c *clustertest.Cluster, keys int) {
	t.Helper()
	for _, node := range c.Primaries() {
		fillLarge(t, c, node, keys/len(c.Primaries()), largeValue)
	}
}

// slowAgents is a cluster whose dumps take seconds, with an agent beside each node
// and two stores.
func slowAgents(t *testing.T, extra ...string) (c *clustertest.Cluster, tr *trust, agents []*agentProcess, snapshot, repo []string, stores [2]string) {
	t.Helper()
	c = slowCluster(t)
	writingEvery(t, c, 5*time.Millisecond)
	tr = newTrust(t)
	root := t.TempDir()
	stores = [2]string{filepath.Join(root, "one"), filepath.Join(root, "two")}
	repo = []string{"--repo", stores[0], "--mirror", stores[1]}
	config := filepath.Join(root, "agent.yaml")
	if err := os.WriteFile(config, []byte("agents:\n  grace: 10s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	agents, flags := beside(t, tr, c.Nodes, slices.Concat([]string{"--config", config}, repo, extra)...)
	return c, tr, agents, slices.Concat([]string{"snapshot", "--collect", "agent", "--node", c.Addrs()[0]}, flags, repo), repo, stores
}

// wantWhole waits until the stores hold whole snapshots and nothing else, and
// verifies them.
func wantWhole(t *testing.T, repo []string, stores [2]string) {
	t.Helper()
	clustertest.Eventually(t, waitForAgent, func(context.Context) error {
		for _, store := range stores {
			named, others := 0, 0
			for _, name := range objects(t, store) {
				switch {
				case !strings.Contains(name, "/snapshots/"): // the repository's mark, and records
				case strings.HasPrefix(filepath.Base(name), ".slotark-tmp-"): // no object: of a write that was killed
				case strings.HasSuffix(name, "/manifest.json"):
					named += filesOf(t, filepath.Join(store, name))
				default:
					others++
				}
			}
			if others != named {
				return fmt.Errorf("manifests in %s name %d objects, it holds %v", store, named, objects(t, store))
			}
		}
		return nil
	})
	for _, id := range idsOf(t, repo...) {
		slotark(t, "", append([]string{"verify", id}, repo...)...).want(t, exitDone)
	}
}

// filesOf is how many objects a manifest names.
func filesOf(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return len(m.Files())
}

// TestKilledCoordinator kills the coordinator at moments from its start to its end:
// there is a whole snapshot or, once the agents' grace is over, nothing.
func TestKilledCoordinator(t *testing.T) {
	t.Parallel()
	_, _, _, take, repo, stores := slowAgents(t)
	began := time.Now()
	slotark(t, password, take...).want(t, exitDone, "by agent-")
	killed := 0
	for _, after := range moments(time.Since(began), 6) {
		if o := signalled(t, after, syscall.SIGKILL, take...); o.code == -1 {
			killed++
		}
	}
	t.Logf("%d of 6 coordinators were killed", killed)
	wantWhole(t, repo, stores)
	// One that is told to end leaves nothing to the grace.
	before := len(objects(t, stores[0]))
	if o := signalled(t, time.Since(began)/40, syscall.SIGTERM, take...); o.code != exitDone && len(objects(t, stores[0])) != before {
		t.Errorf("interrupted, it left %v", objects(t, stores[0]))
	}
}

// TestKilledAgent kills an agent in the middle of a dump and starts it again: its
// shard is tried again, nothing of the dead attempt is in its way, and the snapshot
// is whole.
func TestKilledAgent(t *testing.T) {
	t.Parallel()
	c, tr, agents, take, repo, stores := slowAgents(t)
	// One whose settings are another's is told apart before anything is saved.
	slotark(t, password, append(take, "--compression", "none")...).want(t, exitRefused, "the agent may not do this", "repository.seal")
	for _, node := range c.Nodes {
		do(t, node.Addr(), "CONFIG", "SET", "rdb-key-save-delay", "1000") // two seconds, to be inside them for certain
	}
	done := make(chan outcome, 1)
	go func() { done <- slotark(t, password, take...) }()
	agents[1].awaitLog(t, "job begun")
	agents[1].kill()
	again := startAgent(t, tr, agents[1].addr, append([]string{"--node", c.Nodes[1].Addr()}, repo...)...)
	(<-done).want(t, exitDone, "by agent-")
	wantWhole(t, repo, stores)
	slotark(t, password, take...).want(t, exitDone, "by agent-")
	wantWhole(t, repo, stores)
	// Stopped in the middle, an agent ends what it has begun.
	for _, node := range c.Nodes {
		do(t, node.Addr(), "CONFIG", "SET", "rdb-key-save-delay", "200")
	}
	begun := strings.Count(again.log.String(), "job begun")
	go func() { done <- slotark(t, password, take...) }()
	clustertest.Eventually(t, waitForAgent, func(context.Context) error {
		if strings.Count(again.log.String(), "job begun") == begun {
			return errors.New("it has not begun")
		}
		return nil
	})
	if code := again.stop(t); code != exitDone {
		t.Errorf("a stopped agent ends with code %d", code)
	}
	(<-done).want(t, exitDone, "by agent-")
	wantWhole(t, repo, stores)
}

// TestAgentBehind has an agent whose mirror is not the coordinator's: the mirror
// gets no manifest, and the run says why. Where it is the primary, there is no
// snapshot. Then the password changes under an agent.
func TestAgentBehind(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 100, Seed: 42})
	tr := newTrust(t)
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{"here/two", "there/two", "there/one", "none/two"} {
		if err := os.MkdirAll(at(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	node := c.Addrs()[0]
	for name, test := range map[string]struct {
		one, two string
		made     bool // the other place is a repository, of another
		code     int
		says     string
	}{
		"mirror that is none":     {"here/one", "none/two", false, exitFindings, "no slotark repository"},
		"mirror of another name":  {"here/one", "there/two", true, exitFindings, "two does not have this snapshot: look for what an agent has put into two"},
		"primary that is another": {"there/one", "here/two", true, exitFailed, "leads to another place than ours"},
	} {
		t.Run(name, func(t *testing.T) {
			own := []string{"--repo", at(test.one), "--mirror", at(test.two)}
			if test.made {
				slotark(t, password, slices.Concat([]string{"snapshot", "--node", node}, own)...).want(t, exitDone)
			}
			p := startAgent(t, tr, "", append([]string{"--node", node}, own...)...)
			here := []string{"--repo", at("here/one"), "--mirror", at("here/two")}
			o := slotark(t, password, slices.Concat([]string{"snapshot", "--collect", "agent", "--node", node, "--agent", node + "=https://" + p.addr}, tr.coordinator, here)...)
			o.want(t, test.code, test.says)
			p.stop(t)
		})
	}
	for _, id := range idsOf(t, "--repo", at("here/one")) {
		slotark(t, "", "verify", id, "--repo", at("here/one")).want(t, exitDone)
	}
	t.Run("rotated", func(t *testing.T) { testRotated(t, c, tr) })
}

// testRotated changes a node's password, and the file that an agent has it from:
// the job before ran with the one, the job after runs with the other.
func testRotated(t *testing.T, c *clustertest.Cluster, tr *trust) {
	dir, node := t.TempDir(), c.Addrs()[0]
	repo, file := []string{"--repo", filepath.Join(dir, "repo")}, filepath.Join(dir, "password")
	now := password
	rotate := func(to string) {
		do(t, node, "CONFIG", "SET", "requirepass", to)
		writeFile(t, file, to+"\n")
		now = to
	}
	rotate(password)
	p := startAgent(t, tr, "", append([]string{"--node", node, "--password-file", file}, repo...)...)
	take := func() outcome {
		return slotark(t, now, slices.Concat([]string{"snapshot", "--collect", "agent", "--node", node, "--agent", node + "=https://" + p.addr}, tr.coordinator, repo)...)
	}
	take().want(t, exitDone, "by agent-")
	rotate("another " + password)
	take().want(t, exitDone, "by agent-").wantNoSecret(t)
	if text := p.log.String(); strings.Contains(text, password) {
		t.Errorf("the agent has said a password:\n%s", text)
	}
	p.stop(t)
}
