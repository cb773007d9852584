package restore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"golang.org/x/sync/errgroup"
)

const password = "correct horse"

// source is a running cluster and a snapshot of it in two stores.
type source struct {
	*clustertest.Cluster
	topology *cluster.Topology
	stats    *dataset.Stats
	snapshot *catalog.Snapshot
	roots    []string // of the stores

	// What store puts instead of what the cluster would give.
	dump     func(shard cluster.Shard, own []byte) []byte
	settings *manifest.Settings
}

// again takes another snapshot, into stores of its own.
func (s *source) again(t *testing.T) *source {
	t.Helper()
	s.roots = []string{t.TempDir(), t.TempDir()}
	s.store(t)
	return s
}

// newSource starts a cluster, loads it, lets more be written, and takes a
// snapshot of it by hand: BGSAVE, inspect, store, manifest.
func newSource(t *testing.T, o clustertest.Options, load dataset.Options, more func(*clustertest.Cluster)) *source {
	t.Helper()
	o.Password = password
	o.ExtraArgs = append(o.ExtraArgs, "--enable-debug-command", "yes")
	s := &source{Cluster: clustertest.Start(t, o), roots: []string{t.TempDir(), t.TempDir()}}
	var err error
	if s.topology, err = cluster.Discover(t.Context(), s.Access(), s.Addrs()); err != nil {
		t.Fatal(err)
	}
	if s.stats, err = dataset.Load(t.Context(), s.Access(), s.topology, load); err != nil {
		t.Fatal(err)
	}
	if more != nil {
		more(s.Cluster)
	}
	s.store(t)
	return s
}

func (s *source) store(t *testing.T) {
	t.Helper()
	m := &manifest.Manifest{
		Version: manifest.Version, Seal: manifest.SealOf(seal.Plain().Lock()), ID: manifest.NewID(clock.Now()), Cluster: "prod", CreatedBy: "test", Started: clock.Now(),
		Topology: manifest.Topology{CurrentEpoch: s.topology.CurrentEpoch},
		Stores:   []string{"here", "there"},
	}
	stores := []storage.Named{{Name: "here", Store: fs.Open(s.roots[0])}, {Name: "there", Store: fs.Open(s.roots[1])}}
	repository, err := catalog.Create(t.Context(), stores, clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, body []byte) manifest.File {
		for _, store := range stores {
			if _, err := store.Put(t.Context(), catalog.Folder(m.Cluster, m.ID)+name, bytes.NewReader(body)); err != nil {
				t.Fatal(err)
			}
		}
		sum := sha256.Sum256(body)
		return manifest.File{Object: name, Bytes: int64(len(body)), SHA256: hex.EncodeToString(sum[:])}
	}
	for i, shard := range s.topology.Shards {
		m.Server = manifest.Server{Engine: shard.Primary.Engine, Version: shard.Primary.Version}
		for _, n := range append([]cluster.Member{shard.Primary}, shard.Replicas...) {
			node := manifest.Node{ID: n.ID, Address: n.Addr, BusPort: n.BusPort, Role: string(n.Role), Primary: n.PrimaryID, ConfigEpoch: n.ConfigEpoch}
			if n.Role == cluster.RolePrimary {
				node.Slots = shard.Slots
			}
			m.Topology.Nodes = append(m.Topology.Nodes, node)
		}
		dump := saveDump(t, s.Cluster, s.Primaries()[i])
		if s.dump != nil {
			dump = s.dump(shard, dump)
		}
		m.Shards = append(m.Shards, recordShard(t, shard, dump, put))
	}
	if s.settings != nil {
		s.settings.Cluster = m.Cluster
		text, err := manifest.EncodeSettings(s.settings)
		if err != nil {
			t.Fatal(err)
		}
		m.Settings = put("settings.json", text)
	}
	m.Finished = clock.Now()
	text, err := manifest.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	put(catalog.ManifestObject, text)
	if s.snapshot, err = repository.Find(t.Context(), "prod", catalog.Latest); err != nil {
		t.Fatal(err)
	}
}

func saveDump(t *testing.T, c *clustertest.Cluster, n *clustertest.Node) []byte {
	t.Helper()
	node := c.Access().Open(n.Addr())
	defer node.Close()
	if _, err := node.Do(t.Context(), "SAVE"); err != nil {
		t.Fatal(err)
	}
	dump, err := os.ReadFile(filepath.Join(n.Proc.Dir(), "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

func recordShard(t *testing.T, shard cluster.Shard, dump []byte, put func(string, []byte) manifest.File) manifest.Shard {
	t.Helper()
	report, err := rdb.Inspect(t.Context(), bytes.NewReader(dump), rdb.InspectOptions{Size: int64(len(dump)), Owned: &shard.Slots, Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	folder := fmt.Sprintf("shard-%d/", shard.Slots.Ranges()[0].First)
	return manifest.Shard{
		Slots: shard.Slots, Primary: shard.Primary.ID, ConfigEpoch: shard.Primary.ConfigEpoch, Replicas: len(shard.Replicas),
		Source: manifest.Source{Node: shard.Primary.ID, Address: shard.Primary.Addr, Role: "primary", Collect: "file"},
		Taken:  clock.Now(),
		Dump: manifest.Dump{
			File: put(folder+"dump.rdb", dump), RDBVersion: report.Version, Created: report.Created,
			CRC64: fmt.Sprintf("%016x", report.CRC64), Keys: report.Keys, Expiring: report.Expiring,
			UsedMemory: report.UsedMemory, MaxDB: report.MaxDB, Functions: len(report.Functions),
		},
		SlotIndex: put(folder+"slots.idx", manifest.NewSlotIndex(shard.Slots, report).Encode()),
	}
}

// damage flips one bit in the middle of an object of one store.
func (s *source) damage(t *testing.T, store int, object string) {
	t.Helper()
	path := filepath.Join(s.roots[store], filepath.FromSlash(s.snapshot.Object(object)))
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}

// emptyNodes starts running, empty nodes in cluster mode.
func emptyNodes(t *testing.T, n int, args ...string) []string {
	t.Helper()
	var addrs []string
	for range n {
		addrs = append(addrs, startNode(t, redisproc.Options{Dir: t.TempDir(), Password: password, Args: append(clusterArgs(), args...)}).Addr())
	}
	return addrs
}

func clusterArgs() []string {
	return []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0",
		"--appendonly", "no", "--save", "", "--enable-debug-command", "yes"}
}

func startNode(t *testing.T, o redisproc.Options) *redisproc.Process {
	t.Helper()
	p, err := redisproc.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func access() *cluster.Access {
	return &cluster.Access{Password: password, Timeout: 10 * time.Second}
}

// sameLayout checks that a cluster owns the same slots in the same parts.
func sameLayout(t *testing.T, m *manifest.Manifest, seeds []string, replicas int) *cluster.Topology {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), access(), seeds)
	if err != nil {
		t.Fatal(err)
	}
	if len(topology.Shards) != len(m.Shards) {
		t.Fatalf("%d shards, want %d", len(topology.Shards), len(m.Shards))
	}
	found := 0
	for i, s := range topology.Shards {
		if s.Slots != m.Shards[i].Slots {
			t.Errorf("shard %d owns %s, want %s", i, s.Slots, m.Shards[i].Slots)
		}
		for _, old := range m.Topology.Nodes {
			if s.Primary.ID == old.ID {
				t.Errorf("shard %d has the node id of the snapshot's cluster", i)
			}
		}
		found += len(s.Replicas)
	}
	if found != replicas {
		t.Errorf("%d replicas, want %d", found, replicas)
	}
	return topology
}

// sameValues compares every key's value and expiry by the servers' own digest:
// a second opinion, independent of the code under test.
func sameValues(t *testing.T, from, to *cluster.Topology) {
	t.Helper()
	var group errgroup.Group
	for i := range from.Shards {
		group.Go(func() error {
			return sameShard(t.Context(), from.Shards[i].Primary.Addr, to.Shards[i].Primary.Addr)
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func sameShard(ctx context.Context, from, to string) error {
	return sameKeys(ctx, from, func(string) string { return to })
}

// sameKeys compares every key of a node with what its new owner has.
func sameKeys(ctx context.Context, from string, owner func(key string) string) error {
	a := access().Open(from)
	defer a.Close()
	owners := map[string]*cluster.Node{}
	cursor, seen := "0", 0
	for {
		reply, err := a.Do(ctx, "SCAN", cursor, "COUNT", 2000)
		if err != nil {
			return err
		}
		page := reply.([]any)
		asked := map[string][][]any{}
		for _, key := range page[1].([]any) {
			to := owner(key.(string))
			asked[to] = append(asked[to], []any{"DEBUG", "DIGEST-VALUE", key}, []any{"PEXPIRETIME", key})
		}
		for to, commands := range asked {
			if owners[to] == nil {
				owners[to] = access().Open(to)
				defer owners[to].Close()
			}
			want, errWant := a.Pipeline(ctx, commands)
			got, errGot := owners[to].Pipeline(ctx, commands)
			if err := errors.Join(errWant, errGot); err != nil {
				return err
			}
			for i := range want {
				if fmt.Sprint(want[i]) != fmt.Sprint(got[i]) {
					return fmt.Errorf("%v: %v on %s, %v on %s", commands[i], want[i], from, got[i], to)
				}
			}
			seen += len(commands) / 2
		}
		if cursor = page[0].(string); cursor == "0" {
			break
		}
	}
	if seen == 0 {
		return fmt.Errorf("%s holds no key", from)
	}
	return nil
}

// requireEmpty checks that nodes are what a check would accept.
func requireEmpty(t *testing.T, addrs []string) {
	t.Helper()
	for _, addr := range addrs {
		node := access().Open(addr)
		defer node.Close()
		keys, err := node.Int(t.Context(), "DBSIZE")
		if err != nil {
			t.Fatal(err)
		}
		state, err := node.Text(t.Context(), "CLUSTER", "INFO")
		if err != nil {
			t.Fatal(err)
		}
		functions, err := node.Do(t.Context(), "FUNCTION", "LIST")
		if err != nil {
			t.Fatal(err)
		}
		info := cluster.ParseInfo(state)
		if libraries := len(functions.([]any)); keys != 0 || libraries != 0 || info.Int("cluster_known_nodes") != 1 ||
			info.Int("cluster_slots_assigned") != 0 || info.Int("cluster_my_epoch") != 0 {
			t.Errorf("%s: %d keys, %d libraries, %s", addr, keys, libraries, state)
		}
	}
}

// do runs one command on one node.
func do(t *testing.T, addr string, args ...any) any {
	t.Helper()
	node := access().Open(addr)
	defer node.Close()
	reply, err := node.Do(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// awaitLoaded waits for a node that was started, and is not waited for by who started it,
// as one that got its data back: until it has loaded them.
func awaitLoaded(t *testing.T, addr string) {
	t.Helper()
	node := access().Open(addr)
	defer node.Close()
	clustertest.Eventually(t, time.Minute, node.Ping)
}

// silentPort is an address where nobody listens.
func silentPort(t *testing.T) string {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
}
