package drill

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/manifest"
)

// processes is a sandbox of local server processes on loopback. A killed
// slotark takes them with it (redisproc asks the kernel for that); what may be
// left is the folder.
type processes struct {
	order  order
	binary string
	host   string
	folder folder
	nodes  []*redisproc.Process // nil until started
}

// findProgram returns the server to run: the one that was asked for, else the
// installed one of the snapshot's engine, else any. Whether it can read the dumps
// is for restore's guards to say.
func findProgram(wanted string, server manifest.Server) (string, error) {
	if wanted != "" {
		binary, err := exec.LookPath(wanted)
		if err == nil {
			_, _, err = redisproc.Version(binary)
		}
		if err != nil {
			return "", hint.Add(fmt.Errorf("find a server to drill with: %w", err), "--program names a redis-server or valkey-server")
		}
		return binary, nil
	}
	if binary, _, ok := installed(server); ok {
		return binary, nil
	}
	binary, err := redisproc.Find()
	if err != nil {
		return "", hint.Add(fmt.Errorf("find a server to drill with: %w", err),
			"install redis-server or valkey-server on this machine, or start Docker for a drill in containers")
	}
	return binary, nil
}

// provisionProcesses starts the nodes of an order. Where that fails or ctx
// ends, nothing is left.
func provisionProcesses(ctx context.Context, binary string, o order) (_ Sandbox, err error) {
	s := &processes{order: o, binary: binary, host: loopback(), nodes: make([]*redisproc.Process, o.nodes)}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeSandbox(ctx, s))
		}
	}()
	if s.folder, err = makeFolder(o.root, o.id, o.owner); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelStarts)
	for i := range s.nodes {
		group.Go(func() (err error) {
			s.nodes[i], err = s.start(groupCtx, i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *processes) start(ctx context.Context, i int) (*redisproc.Process, error) {
	dir := filepath.Join(s.folder.path, strconv.Itoa(i+1))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make node folder: %w", err)
	}
	return redisproc.Start(ctx, redisproc.Options{
		Binary: s.binary, Dir: dir, Host: s.host, Password: s.order.secret.Reveal(),
		Announce: redisproc.Announce{Host: s.host}, Config: s.order.settings(),
	})
}

// loopback is one of the 65,536 addresses of 127.77/16, which all lead to this
// machine: a port that another drill, or a cluster for which a snapshot was
// taken here, used a moment ago is then still another address.
func loopback() string {
	var host [2]byte
	_, _ = rand.Read(host[:]) // never fails: crypto/rand ends the process instead
	return fmt.Sprintf("127.77.%d.%d", host[0], host[1])
}

func (s *processes) Nodes() []string {
	addrs := make([]string, len(s.nodes))
	for i, node := range s.nodes {
		addrs[i] = node.Addr()
	}
	return addrs
}

func (s *processes) Access() *cluster.Access {
	return &cluster.Access{Password: s.order.secret, Timeout: answerLimit}
}

// Check asks each node itself: a process may be there and hang.
func (s *processes) Check(ctx context.Context) error {
	access := s.Access()
	var stopped []error
	for _, addr := range s.Nodes() {
		node := access.Open(addr)
		stopped = append(stopped, node.Ping(ctx), node.Close())
	}
	return errors.Join(stopped...)
}

func (s *processes) Describe() string {
	return s.order.describe("local processes of " + filepath.Base(s.binary))
}

// Close kills the nodes, which hold nothing worth a shutdown, and removes their
// folder.
func (s *processes) Close(context.Context) error {
	var failures []error
	for _, node := range s.nodes {
		if node != nil {
			failures = append(failures, node.Kill())
		}
	}
	if s.folder.path != "" {
		failures = append(failures, s.folder.remove())
	}
	return errors.Join(failures...)
}
