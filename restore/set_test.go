package restore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/verify"
)

// sets is a cluster that appends, and the store of its snapshots.
type sets struct {
	*clustertest.Cluster
	store storage.Named
}

func newSets(t *testing.T) *sets {
	t.Helper()
	c := clustertest.Start(t, clustertest.Options{Primaries: 2, Password: password, ExtraArgs: []string{"--appendonly", "yes", "--aof-timestamp-enabled", "yes"}})
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), c.Access(), topology, dataset.Options{Keys: 2_000, Seed: 61}); err != nil {
		t.Fatal(err)
	}
	return &sets{c, storage.Named{Name: "here", Store: fs.Open(t.TempDir())}}
}

func (s *sets) take(t *testing.T) *catalog.Snapshot {
	t.Helper()
	_, err := snapshot.Take(t.Context(), snapshot.Options{Cluster: "prod", Seeds: s.Addrs(), Access: s.Access(), Stores: []storage.Named{s.store}, AOF: true, Build: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s.find(t, catalog.Latest)
}

func (s *sets) find(t *testing.T, id string) *catalog.Snapshot {
	t.Helper()
	repository, err := catalog.Open(t.Context(), []storage.Named{s.store})
	if err != nil {
		t.Fatal(err)
	}
	found, err := repository.Find(t.Context(), "prod", id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// replay restores a snapshot's sets into new nodes.
func replay(t *testing.T, s *catalog.Snapshot) (*restore.Result, []string, error) {
	t.Helper()
	addrs := emptyNodes(t, 2)
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s, To: addrs, Access: access(), AOF: true})
	return result, addrs, err
}

func wantEqual(t *testing.T, r *restore.Result, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Comparison == nil || !r.Complete() || r.Comparison.Keys == 0 {
		t.Errorf("findings %v, comparison %+v", r.Findings, r.Comparison)
	}
}

// keyIn is a key of a node's slots.
func keyIn(n *clustertest.Node, name string) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("{%s%d}", name, i); n.Slots.Contains(slot.Of([]byte(key))) {
			return key
		}
	}
}

// past has a node write what only comes out right if no key expires while its
// commands are sent again, when the expiries have passed.
func (s *sets) past(t *testing.T, n *clustertest.Node) (expires []string) {
	t.Helper()
	counter, kept, moved, large := keyIn(n, "counter"), keyIn(n, "kept"), keyIn(n, "moved"), keyIn(n, "large")
	node := s.Access().Open(n.Addr())
	defer node.Close()
	_, err := node.Pipeline(t.Context(), [][]any{
		{"SET", counter, 1, "PX", 3000}, {"INCR", counter}, {"INCRBY", counter, 40}, {"APPEND", counter, "x"},
		{"SET", kept, "k", "PX", 3000}, {"APPEND", kept, "k"}, {"PERSIST", kept},
		{"SET", moved, "m", "PX", 3000}, {"APPEND", moved, "m"}, {"PEXPIRE", moved, 3_600_000},
		{"SET", large, strings.Repeat("0123456789", 600_000), "PX", 3000}, {"APPEND", large, "!"}, {"PEXPIRE", large, 7_200_000},
		{"MULTI"}, {"RPUSH", moved + "list", 1, 2, 3}, {"LPOP", moved + "list"}, {"PEXPIRE", moved + "list", 3000}, {"EXEC"}, {"RPUSH", moved + "list", 9},
		{"XADD", moved + "stream", "*", "a", "b"}, {"DEL", counter + "x"},
		{"FUNCTION", "LOAD", "REPLACE", "#!lua name=one\nredis.register_function('f1', function() return 1 end)"},
		{"FUNCTION", "LOAD", "REPLACE", "#!lua name=gone\nredis.register_function('f2', function() return 2 end)"},
		{"FUNCTION", "DELETE", "gone"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return []string{counter, moved + "list"}
}

// TestReplaySets replays sets of each form: increments over an empty base, a base
// that is a dump, one of commands, and the one file of older servers; when what
// expires has expired. Each gives, key for key, what the dump holds.
func TestReplaySets(t *testing.T) {
	t.Parallel()
	s := newSets(t)
	gone := func(addr string, keys []string) {
		node := s.Access().Open(addr)
		defer node.Close()
		clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
			for _, key := range keys {
				if there, err := node.Int(ctx, "EXISTS", key); there != 0 || err != nil {
					return fmt.Errorf("%s is there, %v", key, err)
				}
			}
			return nil
		})
	}
	rewrite := func() {
		for _, addr := range s.Addrs() {
			do(t, addr, "BGREWRITEAOF")
			node := s.Access().Open(addr)
			defer node.Close()
			clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
				info, err := node.Info(ctx, "persistence")
				if err == nil && (info.Int("aof_rewrite_in_progress") != 0 || info.Int("aof_rewrite_scheduled") != 0) {
					err = fmt.Errorf("a rewrite is running")
				}
				return err
			})
		}
	}
	var last *catalog.Snapshot
	taken := map[string]*catalog.Snapshot{}
	for _, form := range []struct {
		name string
		make func()
	}{
		{"increments", func() {}},
		{"a dump", rewrite},
		{"commands", func() {
			for _, addr := range s.Addrs() {
				do(t, addr, "CONFIG", "SET", "aof-use-rdb-preamble", "no")
			}
			rewrite()
		}},
	} {
		t.Run(form.name, func(t *testing.T) {
			form.make()
			expires := s.past(t, s.Nodes[0])
			last = s.take(t)
			taken[form.name] = last
			gone(s.Addrs()[0], expires)
			r, addrs, err := replay(t, last)
			wantEqual(t, r, err)
			for _, key := range expires {
				if there := do(t, addrs[0], "EXISTS", key); there != int64(0) {
					t.Errorf("%s has come back to stay", key)
				}
			}
		})
	}
	t.Run("one file", func(t *testing.T) {
		r, _, err := replay(t, s.asOneFile(t, last, nil))
		wantEqual(t, r, err)
	})
	// One that begins with a dump, as aof-use-rdb-preamble made it from 4.0 on, and
	// one of commands alone.
	for _, form := range []string{"a dump", "commands"} {
		t.Run("one file of "+form+", seeded", func(t *testing.T) {
			one := s.asOneFile(t, taken[form], nil)
			if f := one.Manifest.Shards[0].AOF.Files[0]; (f.DumpBytes > 0) != (form == "a dump") {
				t.Fatalf("of its file %d bytes are a dump", f.DumpBytes)
			}
			seedOneFile(t, one)
		})
	}
	t.Run("what is not the shard's", func(t *testing.T) {
		foreign := keyIn(s.Nodes[1], "foreign")
		r, _, err := replay(t, s.asOneFile(t, last, cluster.AppendCommand(cluster.AppendCommand(nil, "SET", foreign, "x"), "INCR", foreign)))
		wantEqual(t, r, err)
		if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "2 commands and keys of slots") }) {
			t.Errorf("it is not said what was left out: %v", r.Notes)
		}
	})
	t.Run("refused onto others", func(t *testing.T) { s.refusedOntoOthers(t, last) })
	t.Run("refused", func(t *testing.T) {
		list := keyIn(s.Nodes[0], "alist")
		more := cluster.AppendCommand(nil, "RPUSH", list, 1)
		within := slices.Concat(more, cluster.AppendCommand(nil, "MULTI"), cluster.AppendCommand(nil, "INCR", list), cluster.AppendCommand(nil, "EXEC"))
		for name, text := range map[string][]byte{"alone": cluster.AppendCommand(more, "INCR", list), "of a transaction": within} {
			_, addrs, err := replay(t, s.asOneFile(t, last, text))
			if err == nil || !strings.Contains(err.Error(), "refused the command INCR at byte ") || !strings.Contains(err.Error(), " of appendonly.aof: WRONGTYPE") {
				t.Errorf("a command that is refused, %s: %v", name, err)
			}
			requireEmpty(t, addrs)
		}
	})
}

// refusedOntoOthers has each command that cannot be given to one of several shards
// stand in the files: either way it is named, and nothing is left.
func (s *sets) refusedOntoOthers(t *testing.T, from *catalog.Snapshot) {
	own, other := keyIn(s.Nodes[0], "own"), keyIn(s.Nodes[0], "other")
	addrs := emptyNodes(t, 3)
	for _, c := range []struct {
		want     string
		commands [][]any
	}{
		{`"MYMODULE.SET" at byte %d of appendonly.aof is not known here`, [][]any{{"MYMODULE.SET", own, 1}}},
		{`"eval" at byte %d of appendonly.aof runs a script`, [][]any{{"eval", "return 1", 1, own}}},
		{`"DEL" at byte %d of appendonly.aof has keys of several slots`, [][]any{{"DEL", own, other}}},
		{`"SWAPDB" at byte %d of appendonly.aof names no key`, [][]any{{"SWAPDB", 0, 1}}},
		{`"TRIMSLOTS" at byte %d of appendonly.aof removes slots that the shard owned later`, [][]any{{"TRIMSLOTS", "RANGES", 1, 0, 5}}},
		{`the command at byte %d of appendonly.aof: FUNCTION "STATS"`, [][]any{{"FUNCTION", "STATS"}}},
		{`FLUSHDB at byte %d of appendonly.aof comes after the command COPY`, [][]any{{"FLUSHDB"}, {"COPY", own, own + "2", "DB", 1}}},
	} {
		var text []byte
		for _, command := range slices.Backward(c.commands) {
			text = cluster.AppendCommand(text, command...)
		}
		last := len(cluster.AppendCommand(nil, c.commands[0]...))
		one := s.asOneFile(t, from, text)
		want := fmt.Sprintf(c.want, one.Manifest.Shards[0].AOF.Files[0].Bytes-int64(last))
		o := restore.Options{Snapshot: one, To: addrs, Access: access(), AOF: true, Layout: restore.Balanced(3)}
		_, replayed := restore.Run(t.Context(), o)
		requireEmpty(t, addrs)
		o.To, o.At, o.ToDir = nil, freeAddrs(t, 3), filepath.Join(t.TempDir(), "new")
		_, seeded := restore.Run(t.Context(), o)
		for _, err := range []error{replayed, seeded} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if _, err := os.Stat(o.ToDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something is left: %v", err)
		}
	}
}

// seedOneFile seeds folders from a snapshot whose first shard's set is one file,
// starts servers there, which take it for what it is, and compares.
func seedOneFile(t *testing.T, s *catalog.Snapshot) {
	t.Helper()
	at := freeAddrs(t, 2)
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s, ToDir: filepath.Join(t.TempDir(), "new"), At: at, Access: access(), AOF: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(result.Folders[0].Path, "appendonly.aof")); err != nil || !strings.Contains(result.Folders[0].Start, "--appendonly yes --aof-load-truncated no") {
		t.Errorf("%v; it is started with %s", err, result.Folders[0].Start)
	}
	for i, f := range result.Folders {
		_, port, err := net.SplitHostPort(at[i])
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		startNode(t, redisproc.Options{Dir: f.Path, Port: number, Password: password, Args: append(clusterArgs(), "--appendonly", "yes", "--aof-load-truncated", "no")})
	}
	clustertest.Eventually(t, time.Minute, func(ctx context.Context) error {
		_, err := cluster.Discover(ctx, access(), at)
		return err
	})
	comparison, err := verify.CompareLive(t.Context(), verify.CompareOptions{Snapshot: s, Access: access(), Seeds: at})
	if err != nil || !comparison.Equal() || comparison.Keys == 0 {
		t.Errorf("%v: %+v", err, comparison)
	}
}

// asOneFile stores another snapshot, with the same dumps, whose first shard's set
// is one file, as servers before Redis 7.0 wrote it, with more behind it.
func (s *sets) asOneFile(t *testing.T, from *catalog.Snapshot, more []byte) *catalog.Snapshot {
	t.Helper()
	read := func(file manifest.File) []byte {
		body, err := from.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		content, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	m := *from.Manifest
	m.ID, m.Shards = manifest.NewID(clock.Now()), slices.Clone(m.Shards)
	put := func(file manifest.File, content []byte) manifest.File {
		if _, err := s.store.Put(t.Context(), catalog.Folder(m.Cluster, m.ID)+file.Object, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		return manifest.File{Object: file.Object, Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
	}
	if m.Settings != (manifest.File{}) {
		m.Settings = put(m.Settings, read(m.Settings))
	}
	for i := range m.Shards {
		shard := &m.Shards[i]
		shard.Dump.File, shard.SlotIndex = put(shard.Dump.File, read(shard.Dump.File)), put(shard.SlotIndex, read(shard.SlotIndex))
		set := *shard.AOF
		set.Files = slices.Clone(set.Files)
		if i > 0 {
			for j := range set.Files {
				set.Files[j].File = put(set.Files[j].File, read(set.Files[j].File))
			}
			set.Manifest = put(set.Manifest, read(set.Manifest))
			shard.AOF = &set
			continue
		}
		var whole []byte
		commands := uint64(0)
		for _, f := range set.Files {
			whole = append(whole, read(f.File)...)
			commands += f.Commands
		}
		file := put(manifest.File{Object: "shard-0/aof/appendonly.aof"}, append(whole, more...))
		shard.AOF = &manifest.AOF{Aligned: true, Linked: set.Linked, Commands: commands,
			Files: []manifest.AOFFile{{File: file, Name: "appendonly.aof", Kind: manifest.AOFWhole, Commands: commands, DumpBytes: set.Files[0].DumpBytes}}}
	}
	m.Seal = manifest.SealOf(seal.Plain().Lock())
	text, err := manifest.Encode(&m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Put(t.Context(), catalog.ManifestName(m.Cluster, m.ID), bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	found := s.find(t, string(m.ID))
	if len(more) == 0 {
		report, err := verify.Run(t.Context(), verify.Options{Snapshot: found, Level: verify.Deep})
		if err != nil || !report.Record.Sound {
			t.Errorf("a set of one file: %v, %v", report, err)
		}
	}
	return found
}
