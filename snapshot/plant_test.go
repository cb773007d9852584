package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// fixedKeys are keys of a plant that nobody writes after its start.
const fixedKeys = 1500

// plantLimit is for what a cluster does by itself, a failover above all.
const plantLimit = time.Minute

// plant is a cluster at work: it holds keys that stay as they are, and others
// are written all the time.
type plant struct {
	*clustertest.Cluster
	marks int
}

func newPlant(t *testing.T, o clustertest.Options) *plant {
	t.Helper()
	p := &plant{Cluster: clustertest.Start(t, o)}
	client := p.Client()
	pipe := client.Pipeline()
	for i := range fixedKeys {
		pipe.Set(t.Context(), fmt.Sprintf("fixed:%d", i), i, 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// A shard that is just failing over refuses, and the next write comes.
			limited, done := context.WithTimeout(ctx, 200*time.Millisecond)
			_ = client.Set(limited, fmt.Sprintf("load:%d", n%500), n, 0).Err()
			done()
		}
	})
	t.Cleanup(func() {
		cancel()
		writing.Wait()
	})
	return p
}

// shards are the shards as they are now, once the cluster is whole.
func (p *plant) shards(t *testing.T) []cluster.Shard {
	t.Helper()
	p.WaitHealthy(t)
	var topology *cluster.Topology
	clustertest.Eventually(t, plantLimit, func(ctx context.Context) (err error) {
		topology, err = cluster.Discover(ctx, p.Access(), p.Addrs())
		if err != nil {
			return err
		}
		for _, s := range topology.Shards {
			if p.node(t, s.Primary.ID) == nil || len(s.Replicas) != 1 || !s.Replicas[0].LinkUp {
				return fmt.Errorf("shard %s has not its two nodes", s.Slots)
			}
		}
		return nil
	})
	return topology.Shards
}

func (p *plant) node(t *testing.T, id string) *clustertest.Node {
	t.Helper()
	at := slices.IndexFunc(p.Nodes, func(n *clustertest.Node) bool { return n.ID == id })
	if at < 0 {
		t.Fatalf("no node is %s", id)
	}
	return p.Nodes[at]
}

// mark writes keys to every shard that a snapshot which begins now must hold, and
// waits until its replica has them.
func (p *plant) mark(t *testing.T, shards []cluster.Shard) []string {
	t.Helper()
	p.marks++
	var marks []string
	for _, s := range shards {
		key := ""
		for n := 0; key == "" || !s.Slots.Contains(slot.Of([]byte(key))); n++ {
			key = fmt.Sprintf("mark:%d:%d", p.marks, n)
		}
		node := p.Access().Open(s.Primary.Addr)
		replies, err := node.Pipeline(t.Context(), [][]any{{"SET", key, "here"}, {"WAIT", 1, 20000}})
		if err := errors.Join(err, node.Close()); err != nil || replies[1] != int64(1) {
			t.Fatalf("mark shard %s: %v, %v", s.Slots, replies, err)
		}
		marks = append(marks, key)
	}
	return marks
}

// settings are all settings of every node that lives, less whom it follows: that
// is its role, which a failover changes.
func (p *plant) settings(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, n := range p.Nodes {
		select {
		case <-n.Proc.Done():
			continue
		default:
		}
		pairs := order(t, p.Cluster, n, "CONFIG", "GET", "*").([]any)
		for i := 0; i+1 < len(pairs); i += 2 {
			if name := pairs[i].(string); name != "replicaof" && name != "slaveof" {
				all[n.Addr()+" "+name] = pairs[i+1].(string)
			}
		}
	}
	return all
}

// trial is one snapshot of a plant while something happens to it.
type trial struct {
	options         snapshot.Options
	saving, putting func() // called once, when the first node is to save, and when the first dump is being put
	before, after   func() // called right before and after it; what they set is not compared
}

// take takes a snapshot, and checks all that is so of every one: it is right, or
// there is an error and nothing else; and no node's settings have changed, but
// those of nodes that have died.
func (p *plant) take(t *testing.T, shards []cluster.Shard, o trial) (*snapshot.Result, error) {
	t.Helper()
	marks, before := p.mark(t, shards), p.settings(t)
	store := storage.Named{Name: "here", Store: &onPut{Store: fs.Open(t.TempDir()), do: o.putting}}
	options := o.options
	options.Cluster, options.Build, options.Seeds, options.Stores = "prod", "test", p.Addrs(), []storage.Named{store}
	if options.Access == nil {
		options.Access = p.Access()
	}
	var once sync.Once
	options.Progress = func(e progress.Event) {
		if e.Phase == "save" && o.saving != nil {
			once.Do(o.saving)
		}
	}
	if o.before != nil {
		o.before()
	}
	r, err := snapshot.Take(t.Context(), options)
	if o.after != nil {
		o.after()
	}
	after := p.settings(t)
	for name, value := range after {
		if was, known := before[name]; known && was != value {
			t.Errorf("%s was %q and is %q", name, was, value)
		}
	}
	if err != nil {
		if left := held(t, store); len(left) > 0 {
			t.Errorf("it failed (%v) and left %v", err, left)
		}
		return nil, err
	}
	checkRight(t, store, r.Manifest, marks)
	return r, nil
}

// checkRight reads every dump from the store: each fixed key and each mark is in
// it once, in the shard of its slot.
func checkRight(t *testing.T, store storage.Store, m *manifest.Manifest, marks []string) {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Errorf("the manifest is not valid: %v", err)
	}
	folder := "prod/snapshots/" + string(m.ID) + "/"
	times := map[string]int{}
	for _, s := range m.Shards {
		body, err := store.Open(t.Context(), folder+s.Dump.Object)
		if err != nil {
			t.Fatal(err)
		}
		reader := rdb.NewReader(body, rdb.Options{Size: s.Dump.Bytes})
		for {
			record, err := reader.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", s.Dump.Object, err)
			}
			if record.Kind != rdb.KindKey {
				continue
			}
			if times[string(record.Key)]++; !s.Slots.Contains(record.Slot) {
				t.Errorf("key %s is in shard %s", record.Key, s.Slots)
			}
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	missing := 0
	for i := range fixedKeys {
		if times[fmt.Sprintf("fixed:%d", i)] != 1 {
			missing++
		}
	}
	for _, mark := range marks {
		if times[mark] != 1 {
			t.Errorf("%s, written before it began, is there %d times", mark, times[mark])
		}
	}
	if missing > 0 || m.Keys() < fixedKeys {
		t.Errorf("%d of %d fixed keys are not there once; the manifest counts %d keys", missing, fixedKeys, m.Keys())
	}
	want := []string{folder + "manifest.json"}
	for _, f := range m.Files() {
		want = append(want, folder+f.Object)
	}
	got := held(t, store)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the store holds %v, the snapshot is %v", got, want)
	}
}

// onPut is a store that does something once, when a dump is being put.
type onPut struct {
	storage.Store
	once sync.Once
	do   func()
}

func (s *onPut) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if s.do != nil && strings.Contains(name, "dump.rdb") {
		s.once.Do(s.do)
	}
	return s.Store.Put(ctx, name, body)
}

// whenSaving does something once a node has a child that saves, which a setting
// has made slow. It returns what waits for it.
func (p *plant) whenSaving(t *testing.T, n *clustertest.Node, do func()) (done func()) {
	t.Helper()
	var wait sync.WaitGroup
	access := p.Access()
	wait.Go(func() {
		clustertest.Eventually(t, plantLimit, func(ctx context.Context) error {
			node := access.Open(n.Addr())
			defer node.Close()
			info, err := node.Info(ctx, "persistence")
			if err == nil && info.Int("rdb_bgsave_in_progress") != 1 {
				err = errors.New("it does not save")
			}
			return err
		})
		do()
	})
	return wait.Wait
}

// watchSaves looks, until it is asked for what it saw, which nodes save, and which
// do so at once: one that saves before another is looked at and after it, by the
// same child, does so meanwhile, too.
func (p *plant) watchSaves(t *testing.T, nodes []*clustertest.Node) (seen func() (saved map[string]bool, together []string)) {
	t.Helper()
	access := p.Access()
	ctx, cancel := context.WithCancel(t.Context())
	saved := map[string]bool{}
	var together []string
	var wait sync.WaitGroup
	wait.Go(func() {
		var clients []*cluster.Node
		for _, n := range nodes {
			client := access.Open(n.Addr())
			defer client.Close()
			clients = append(clients, client)
		}
		// child counts the forks of a node that saves; 0 of another.
		child := func(i int) int64 {
			info, err := clients[i].Info(ctx, "everything")
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("watch the saves of %s: %v", nodes[i].Addr(), err)
				}
				return 0
			}
			return info.Int("rdb_bgsave_in_progress") * info.Int("total_forks")
		}
		for ctx.Err() == nil {
			for i := range nodes {
				before := child(i)
				if before == 0 {
					continue
				}
				saved[nodes[i].Addr()] = true
				for k := range nodes {
					if k != i && child(k) != 0 && child(i) == before {
						together = append(together, nodes[i].Addr()+" and "+nodes[k].Addr())
					}
				}
			}
		}
	})
	t.Cleanup(func() { cancel(); wait.Wait() })
	return func() (map[string]bool, []string) {
		cancel()
		wait.Wait()
		return saved, together
	}
}

// awaitRole waits until a node says that it has a role, as INFO names it.
func (p *plant) awaitRole(t *testing.T, n *clustertest.Node, role string) {
	t.Helper()
	node := p.Access().Open(n.Addr())
	defer node.Close()
	clustertest.Eventually(t, plantLimit, func(ctx context.Context) error {
		info, err := node.Info(ctx, "replication")
		if err == nil && info["role"] != role {
			err = fmt.Errorf("it is a %s", info["role"])
		}
		return err
	})
}

// migrate moves a slot with its keys, as redis-cli does, while they are written.
func (p *plant) migrate(t *testing.T, slot int, from, to *clustertest.Node) {
	t.Helper()
	order(t, p.Cluster, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.ID)
	order(t, p.Cluster, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.ID)
	for {
		keys, _ := order(t, p.Cluster, from, "CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		args := append([]any{"MIGRATE", "127.0.0.1", to.Proc.Port(), "", 0, 10000, "KEYS"}, keys...)
		order(t, p.Cluster, from, args...)
	}
	order(t, p.Cluster, to, "CLUSTER", "SETSLOT", slot, "NODE", to.ID)
	order(t, p.Cluster, from, "CLUSTER", "SETSLOT", slot, "NODE", to.ID)
}

func signal(t *testing.T, n *clustertest.Node, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(n.Proc.PID(), s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
}

// wantRetried checks that the manifest says what was tried again, and why.
func wantRetried(t *testing.T, r *snapshot.Result, says string) {
	t.Helper()
	for _, f := range r.Manifest.Findings {
		if f.Code == "retried" && strings.Contains(f.Detail, says) {
			return
		}
	}
	t.Errorf("no finding tells of a retry because of %q: %v", says, r.Manifest.Findings)
}

// wantNotRetried checks that what was in the way was simply waited for.
func wantNotRetried(t *testing.T, r *snapshot.Result) {
	t.Helper()
	for _, f := range r.Manifest.Findings {
		if f.Code == "retried" {
			t.Errorf("it was tried again: %v", f)
		}
	}
}
