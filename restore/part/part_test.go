package part_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore/part"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// place is a cluster with keys of every kind, and a snapshot of it in two stores.
type place struct {
	*clustertest.Cluster
	snapshot *catalog.Snapshot
	roots    []string
	keys     uint64
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{Cluster: clustertest.Start(t, clustertest.Options{ExtraArgs: []string{"--enable-debug-command", "yes"}}), roots: []string{t.TempDir(), t.TempDir()}}
	topology, err := cluster.Discover(t.Context(), p.Access(), p.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), p.Access(), topology, dataset.Options{Keys: 2000, Seed: 6}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		p.do(t, fmt.Sprintf("special:%d", i), "SET", fmt.Sprintf("special:%d", i), strings.Repeat("s", 10*i+1))
	}
	p.do(t, "special:soon", "SET", "special:soon", "x", "PX", 2000)
	var stores []storage.Named
	for i, name := range []string{"here", "there"} {
		stores = append(stores, storage.Named{Name: name, Store: fs.Open(p.roots[i])})
	}
	r, err := snapshot.Take(t.Context(), snapshot.Options{Cluster: "prod", Seeds: p.Addrs(), Access: p.Access(), Stores: stores, Collect: snapshot.CollectStream, Build: "test"})
	if err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), stores)
	if err == nil {
		p.snapshot, err = repository.Find(t.Context(), "prod", string(r.Manifest.ID))
	}
	if err != nil {
		t.Fatal(err)
	}
	p.keys = p.snapshot.Manifest.Keys()
	return p
}

// do runs a command at the primary that has a key.
func (p *place) do(t *testing.T, key string, args ...any) any {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), p.Access(), p.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range topology.Shards {
		if shard.Slots.Contains(slot.Of([]byte(key))) {
			node := p.Access().Open(shard.Primary.Addr)
			defer node.Close()
			reply, err := node.Do(t.Context(), args...)
			if err != nil {
				t.Fatal(err)
			}
			return reply
		}
	}
	t.Fatalf("nobody has %s", key)
	return nil
}

func (p *place) options(match ...string) part.Options {
	return part.Options{Snapshot: p.snapshot, Selection: part.Selection{Patterns: match}, Into: p.Addrs()[:1], Access: p.Access(), Existing: part.Fail}
}

func (p *place) restore(t *testing.T, o part.Options) *part.Result {
	t.Helper()
	r, err := part.Restore(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want checks how many keys were equal, missing, different and written.
func want(t *testing.T, what string, r *part.Result, equal, missing, differ, written uint64) {
	t.Helper()
	if r.Equal != equal || r.Missing.Count != missing || r.Differ.Count != differ || r.Written != written {
		t.Errorf("%s: equal %d, missing %d, different %d, written %d; want %d, %d, %d, %d: %+v", what, r.Equal, r.Missing.Count, r.Differ.Count, r.Written, equal, missing, differ, written, r)
	}
}

// TestRestore goes through what can be asked of a running cluster, and what can be
// in the way.
func TestRestore(t *testing.T) {
	p := newPlace(t)
	<-time.After(2 * time.Second) // special:soon is gone by then

	t.Run("rules", p.rules)
	t.Run("selections", p.selections)
	t.Run("all of it, read twice", p.twice)
	t.Run("slots that move", p.moving)
	t.Run("files", p.files)
	t.Run("proved by the slot index", p.proved)
	t.Run("damaged copies", p.damaged)
}

func (p *place) rules(t *testing.T) {
	o := p.options("special:*")
	want(t, "untouched", p.restore(t, o), 20, 0, 0, 0)

	// Lost, changed in value, in type, in expiry; and a key of the cluster's own.
	p.do(t, "special:1", "DEL", "special:1")
	p.do(t, "special:2", "SET", "special:2", "other")
	p.do(t, "special:3", "DEL", "special:3")
	p.do(t, "special:3", "LPUSH", "special:3", "a")
	p.do(t, "special:4", "PEXPIRE", "special:4", 10_000_000)
	p.do(t, "special:own", "SET", "special:own", "mine")

	o.Compare = true
	r := p.restore(t, o)
	want(t, "compared", r, 16, 1, 3, 0)
	if r.Missing.Names[0] != `"special:1"` || r.Expired != 1 || r.Selected != 21 {
		t.Errorf("%+v", r)
	}
	o.Compare = false
	if _, err := part.Restore(t.Context(), o); !errors.Is(err, part.ErrExisting) || !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "3 keys") {
		t.Errorf("got %v, want a refusal for 3 keys", err)
	}
	if there := p.do(t, "special:1", "EXISTS", "special:1"); there != int64(0) {
		t.Error("a refused restore has written")
	}
	o.Existing = part.Skip
	want(t, "skip", p.restore(t, o), 16, 1, 3, 1)
	if got := p.do(t, "special:2", "GET", "special:2"); got != "other" {
		t.Errorf("skip has replaced it: %v", got)
	}
	o.Existing = part.Replace
	want(t, "replace", p.restore(t, o), 17, 0, 3, 3)
	want(t, "again", p.restore(t, o), 20, 0, 0, 0)
	if got := p.do(t, "special:own", "GET", "special:own"); got != "mine" {
		t.Errorf("the cluster's own key is %v", got)
	}
	if there := p.do(t, "special:soon", "EXISTS", "special:soon"); there != int64(0) {
		t.Error("a key that had expired came back")
	}
}

func (p *place) selections(t *testing.T) {
	for name, c := range map[string]struct {
		selection part.Selection
		keys      uint64
	}{
		"by name":          {part.Selection{Keys: [][]byte{[]byte("special:7"), []byte("special:8"), []byte("nobody")}}, 2},
		"name and pattern": {part.Selection{Keys: [][]byte{[]byte("special:7")}, Patterns: []string{"special:1?"}}, 11},
		"in its slot":      {part.Selection{Patterns: []string{"special:*"}, Slots: slotOf("special:7")}, 1},
		"of a type":        {part.Selection{Patterns: []string{"special:*"}, Types: []rdb.Family{rdb.Hash, rdb.String}}, 21},
	} {
		o := p.options()
		o.Selection, o.Compare = c.selection, true
		if r := p.restore(t, o); r.Selected != c.keys {
			t.Errorf("%s: %d keys, want %d", name, r.Selected, c.keys)
		}
	}
	for name, selection := range map[string]part.Selection{
		"another type": {Patterns: []string{"special:*"}, Types: []rdb.Family{rdb.Zset}},
		"another slot": {Keys: [][]byte{[]byte("special:7")}, Slots: slotOf("special:8")},
		"nobody":       {Keys: [][]byte{[]byte("nobody")}},
	} {
		o := p.options()
		o.Selection = selection
		if _, err := part.Restore(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no key of snapshot") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func slotOf(key string) (s slot.Set) {
	s.Add(slot.Of([]byte(key)))
	return s
}

// twice takes every key of a snapshot into a cluster that has lost all, in less
// memory than they take.
func (p *place) twice(t *testing.T) {
	for _, node := range p.Primaries() {
		client := p.Access().Open(node.Addr())
		defer client.Close()
		if _, err := client.Do(t.Context(), "FLUSHALL"); err != nil {
			t.Fatal(err)
		}
	}
	o := p.options("*")
	o.Memory = 64 << 10
	r := p.restore(t, o)
	left := p.keys - r.Expired
	want(t, "all", r, 0, left, 0, left)
	o.Existing = part.Replace
	want(t, "again", p.restore(t, o), left, 0, 0, 0)
}

// moving lets a key's slot go to another node after it was looked who has it.
func (p *place) moving(t *testing.T) {
	const key = "special:9"
	p.do(t, key, "DEL", key)
	n := slot.Of([]byte(key))
	from, to := p.Primaries()[0], p.Primaries()[1]
	for _, node := range p.Primaries() {
		if node.Slots.Contains(n) {
			from = node
		}
	}
	if from == to {
		to = p.Primaries()[2]
	}
	o, moved := p.options(), false
	o.Keys = [][]byte{[]byte(key)}
	o.Progress = func(e progress.Event) {
		if !e.Ended || moved {
			return
		}
		moved = true
		for _, step := range []struct {
			node *clustertest.Node
			args []any
		}{{to, []any{"IMPORTING", from.ID}}, {from, []any{"MIGRATING", to.ID}}, {to, []any{"NODE", to.ID}}, {from, []any{"NODE", to.ID}}} {
			client := p.Access().Open(step.node.Addr())
			defer client.Close()
			if _, err := client.Do(context.WithoutCancel(t.Context()), append([]any{"CLUSTER", "SETSLOT", n}, step.args...)...); err != nil {
				t.Error(err)
			}
		}
	}
	want(t, "moved", p.restore(t, o), 0, 1, 0, 1)
	if got := fmt.Sprint(p.do(t, key, "STRLEN", key)); got != "91" {
		t.Errorf("%s has %s bytes", key, got)
	}
}

// files writes keys as a dump and as commands, and has servers read them.
func (p *place) files(t *testing.T) {
	var dump, commands bytes.Buffer
	o := p.options("special:*", "cart:*", "session:*")
	r, err := part.Write(t.Context(), o, &dump, part.RDB)
	if err != nil {
		t.Fatal(err)
	}
	report, err := rdb.Inspect(t.Context(), bytes.NewReader(dump.Bytes()), rdb.InspectOptions{Size: int64(dump.Len()), Digest: true})
	if err != nil || report.Keys != r.Written || r.Written != r.Selected || report.Keys < 100 {
		t.Fatalf("%d keys were written of %d, the dump has %d: %v", r.Written, r.Selected, report.Keys, err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "dump.rdb"), dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	byDump := startServer(t, folder)
	byCommand := startServer(t, t.TempDir())
	sent, err := part.Write(t.Context(), o, &commands, part.RESP)
	if err != nil {
		t.Fatal(err)
	}
	if sent.Written+sent.Expired != r.Written || sent.Expired == 0 {
		t.Errorf("%d keys as commands, %d expired, %d in the dump", sent.Written, sent.Expired, r.Written)
	}
	pipe := exec.Command("redis-cli", "-p", fmt.Sprint(byCommand.Port()), "--pipe")
	pipe.Stdin = &commands
	if out, err := pipe.CombinedOutput(); err != nil || !strings.Contains(string(out), fmt.Sprintf("errors: 0, replies: %d", sent.Written)) {
		t.Fatalf("redis-cli --pipe: %v\n%s", err, out)
	}
	a, b := digestOf(t, byDump), digestOf(t, byCommand)
	if a != b {
		t.Errorf("by the dump a server holds %s, by the commands %s", a, b)
	}
}

func startServer(t *testing.T, folder string) *redisproc.Process {
	t.Helper()
	server, err := redisproc.Start(t.Context(), redisproc.Options{Dir: folder, Args: []string{"--enable-debug-command", "yes"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	return server
}

// digestOf is the server's own sum of all its keys.
func digestOf(t *testing.T, server *redisproc.Process) string {
	t.Helper()
	node := server.Access().Open(server.Addr())
	defer node.Close()
	text, err := node.Text(t.Context(), "DEBUG", "DIGEST")
	if err != nil || strings.Trim(text, "0") == "" {
		t.Fatalf("%q, %v", text, err)
	}
	return text
}

// proved takes a key by its name: damage elsewhere in the dump is none of its, damage to
// a key of its slot is.
func (p *place) proved(t *testing.T) {
	const key = "special:5"
	object := ""
	for _, shard := range p.snapshot.Manifest.Shards {
		if shard.Slots.Contains(slot.Of([]byte(key))) {
			object = p.snapshot.Object(shard.Dump.Object)
		}
	}
	o := p.options()
	o.Keys = [][]byte{[]byte(key)}
	path := filepath.Join(p.roots[0], object)
	dump, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.do(t, key, "DEL", key)
	flipAt(t, path, len(dump)-1) // of the checksum
	r := p.restore(t, o)
	want(t, "elsewhere", r, 0, 1, 0, 1)
	if len(r.Findings) != 0 {
		t.Errorf("elsewhere: %+v", r.Findings)
	}
	flipAt(t, path, len(dump)-1) // back
	at := bytes.Index(dump, []byte(key)) + len(key) + 1
	flipAt(t, path, at)
	p.do(t, key, "DEL", key)
	r = p.restore(t, o)
	want(t, "its own", r, 0, 1, 0, 1)
	if len(r.Findings) != 1 || r.Findings[0].Code != "store-failed" || !strings.Contains(r.Findings[0].Detail, "store here") {
		t.Errorf("its own: %+v", r.Findings)
	}
	flipAt(t, path, at) // back
}

// damaged flips a bit of a dump in one store, then in the other.
func (p *place) damaged(t *testing.T) {
	const key = "special:5"
	p.do(t, key, "DEL", key)
	object := ""
	for _, shard := range p.snapshot.Manifest.Shards {
		if shard.Slots.Contains(slot.Of([]byte(key))) {
			object = p.snapshot.Object(shard.Dump.Object)
		}
	}
	o := p.options(key) // a pattern, for which the whole dump is read
	flip(t, filepath.Join(p.roots[1], object))
	flip(t, filepath.Join(p.roots[0], object))
	if _, err := part.Restore(t.Context(), o); err == nil || !strings.Contains(err.Error(), "store here") || !strings.Contains(err.Error(), "store there") {
		t.Errorf("from two damaged copies: %v", err)
	}
	if there := p.do(t, key, "EXISTS", key); there != int64(0) {
		t.Error("a key of a damaged copy was written")
	}
	flip(t, filepath.Join(p.roots[1], object)) // back
	r := p.restore(t, o)
	want(t, "from the mirror", r, 0, 1, 0, 1)
	if len(r.Findings) != 1 || r.Findings[0].Code != "store-failed" || !strings.Contains(r.Findings[0].Detail, "store here") {
		t.Errorf("%+v", r.Findings)
	}
	// Wherever the damaged copy fills the memory for values, no key is lost.
	for _, shard := range p.snapshot.Manifest.Shards {
		if other := p.snapshot.Object(shard.Dump.Object); other != object {
			flip(t, filepath.Join(p.roots[0], other))
		}
	}
	o = p.options("*")
	o.Compare = true
	for o.Memory = 1 << 10; o.Memory < 16<<20; o.Memory = o.Memory * 5 / 4 {
		if r := p.restore(t, o); r.Selected != p.keys || r.Equal+r.Missing.Count+r.Differ.Count+r.Expired != p.keys || len(r.Findings) != 3 {
			t.Fatalf("with %d bytes of memory: %+v", o.Memory, r)
		}
	}
}

// flip flips a bit near the end of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipAt(t, path, len(data)-20)
}

func flipAt(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Nodes that do not answer are no cluster.
func TestRefused(t *testing.T) {
	_, err := part.Restore(t.Context(), part.Options{Into: []string{"127.0.0.1:1"}, Access: &cluster.Access{}})
	if !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}
