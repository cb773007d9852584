package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
)

// waitLimit is for what takes a moment on a quiet machine.
const waitLimit = time.Minute

// place is one node, the stores, and an agent beside it.
type place struct {
	cluster *clustertest.Cluster
	stores  []storage.Named
	trust   *clustertest.Authority
	options Options
	server  *Server
	addr    string
	stop    func()
}

// newPlace starts an agent with a short grace beside a node.
func newPlace(t *testing.T, c *clustertest.Cluster, change func(*Options)) *place {
	t.Helper()
	p := &place{cluster: c, trust: clustertest.NewAuthority(t)}
	for _, name := range []string{"one", "two"} {
		p.stores = append(p.stores, storage.Named{Name: name, Store: fs.Open(t.TempDir())})
	}
	if _, err := catalog.Create(t.Context(), p.stores, time.Now()); err != nil {
		t.Fatal(err)
	}
	sealer := seal.Plain()
	p.options = Options{
		Files: p.files(t, "agent", x509.ExtKeyUsageServerAuth), Version: "slotark test", Grace: 2 * time.Second,
		Logger: quiet(),
		Allow:  Allow{Cluster: "prod", Nodes: p.cluster.Addrs(), Stores: []string{"one", "two"}, Seal: manifest.SealOf(sealer.Lock())},
		Open: func(ctx context.Context, o snapshot.Order) (*Workshop, error) {
			repository, err := catalog.Join(ctx, p.stores)
			if err != nil {
				return nil, err
			}
			writer, err := repository.Begin(o.Mirroring)
			if err != nil {
				return nil, err
			}
			shop := &Workshop{Writer: writer, Stores: p.stores, Collect: snapshot.CollectStream, Report: new(progress.Func)}
			shop.Capturer = &snapshot.Pipeline{Access: p.cluster.Access(), Writer: writer, Sealer: sealer, Progress: func(e progress.Event) { shop.Report.Emit(e) }}
			return shop, nil
		},
	}
	if change != nil {
		change(&p.options)
	}
	p.start(t, "127.0.0.1:0")
	return p
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// slowNode is a node whose dump takes about a second to come.
func slowNode(t *testing.T) *clustertest.Cluster {
	t.Helper()
	c := clustertest.Start(t, clustertest.Options{Primaries: 1, ExtraArgs: []string{
		"--rdb-key-save-delay", "500", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes", "--rdbcompression", "no",
	}})
	node := c.Access().Open(c.Addrs()[0])
	defer node.Close()
	if _, err := node.Do(t.Context(), "DEBUG", "POPULATE", 2000, "key", 1000); err != nil {
		t.Fatal(err)
	}
	return c
}

// files are the certificates of one side.
func (p *place) files(t *testing.T, name string, usage x509.ExtKeyUsage) Files {
	t.Helper()
	cert, key := p.trust.Issue(t, clustertest.Certificate{Name: name, Usages: []x509.ExtKeyUsage{usage}})
	return Files{CA: p.trust.File, Cert: cert, Key: key}
}

// start starts the agent. stop ends it at once, as a kill does, but that what is
// under way is cleaned up.
func (p *place) start(t *testing.T, addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = listener.Addr().String()
	p.server = NewServer(p.options)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	server := p.server
	go func() { ended <- server.Serve(ctx, listener) }()
	p.stop = sync.OnceFunc(func() {
		listener.Close()
		if err := <-ended; err == nil {
			t.Error("a closed listener is no error")
		}
		cancel()
	})
	t.Cleanup(p.stop)
}

// client is a coordinator's.
func (p *place) client(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := NewClient("https://"+addr, p.files(t, "coordinator", x509.ExtKeyUsageClientAuth))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// order is one that the agent allows.
func (p *place) order() snapshot.Order {
	addr := p.cluster.Addrs()[0]
	node := cluster.Member{ID: p.cluster.Nodes[0].ID, Addr: addr, Role: cluster.RolePrimary}
	return snapshot.Order{
		Job: snapshot.Job{Cluster: "prod", Snapshot: manifest.NewID(time.Now()), Collect: snapshot.CollectAuto,
			Shard: cluster.Shard{Slots: p.cluster.Nodes[0].Slots, Primary: node}, Source: node},
		Seal: p.options.Allow.Seal, Stores: []string{"one", "two"},
	}
}

// atOnce is the turn of who need not wait.
func atOnce(context.Context, string) (func(), error) { return func() {}, nil }

// wantObjects waits until each store has so many objects of snapshots.
func (p *place) wantObjects(t *testing.T, want int) {
	t.Helper()
	clustertest.Eventually(t, waitLimit, func(ctx context.Context) error {
		for _, store := range p.stores {
			if got := objects(ctx, t, store); len(got) != want {
				return fmt.Errorf("%s holds %v, want %d objects", store.Name, got, want)
			}
		}
		return nil
	})
}

func objects(ctx context.Context, t *testing.T, store storage.Named) []string {
	t.Helper()
	var names []string
	for object, err := range store.List(ctx, "prod/") {
		if err != nil && !errors.Is(err, storage.ErrNoStore) {
			t.Fatal(err)
		}
		names = append(names, object.Name)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// forks is how often the node was asked for a dump over the wire. It waits until the
// node's last child has ended: who asks while an earlier job's still runs may be given
// that one's dump, finds it stale, and asks again.
func (p *place) forks(t *testing.T) int64 {
	t.Helper()
	node := p.cluster.Access().Open(p.cluster.Addrs()[0])
	defer node.Close()
	var forks int64
	clustertest.Eventually(t, waitLimit, func(ctx context.Context) error {
		info, err := node.Info(ctx, "")
		if err == nil && info.Int("rdb_bgsave_in_progress") != 0 {
			err = errors.New("the node is still saving")
		}
		forks = info.Int("sync_full")
		return err
	})
	return forks
}

// line is a TCP connection's way to an agent that can be cut.
type line struct {
	addr     string
	listener net.Listener
	all      sync.WaitGroup

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{addr: listener.Addr().String(), listener: listener, conns: map[net.Conn]bool{}}
	l.all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil || !l.add(near, far) {
				near.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				l.all.Go(func() {
					io.Copy(pair[0], pair[1])
					near.Close()
					far.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.cut(true)
		l.all.Wait()
	})
	return l
}

func (l *line) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

// cut cuts all connections, and those to come for as long as it stays down.
func (l *line) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}
