package part_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/restore/part"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
	"github.com/slotark/slotark/storage/sealtest"
)

// counting counts what is read of dumps, as a whole and by parts.
type counting struct {
	*fs.Store
	whole, parts atomic.Int64
}

type countedBody struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counting) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	body, err := c.Store.Open(ctx, name)
	if err != nil || !strings.Contains(name, "dump.rdb") {
		return body, err
	}
	return &countedBody{body, &c.whole}, nil
}

func (c *counting) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	body, err := c.Store.OpenAt(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	return &countedBody{body, &c.parts}, nil
}

// TestPieces takes keys by their names out of a dump that a server has written slot by
// slot: no more is fetched of it than the pieces with their slots, however it is sealed;
// and these are proved.
func TestPieces(t *testing.T) {
	t.Parallel()
	server := servertest.Unpacked(t)[1] // Redis 8.0
	live := clustertest.Start(t, clustertest.Options{Binary: server.Binary, Primaries: 1})
	node := live.Access().Open(live.Addrs()[0])
	defer node.Close()
	const keys, valueBytes = 12_000, 1_500
	for from := 0; from < keys; from += 1000 {
		var commands [][]any
		for i := from; i < from+1000; i++ {
			value := make([]byte, valueBytes)
			_, _ = rand.Read(value) // never fails
			commands = append(commands, []any{"SET", fmt.Sprintf("key:%d", i), value})
		}
		if _, err := node.Pipeline(t.Context(), commands); err != nil {
			t.Fatal(err)
		}
	}
	key := sealtest.NewKey(t)
	for name, o := range map[string]seal.Options{
		"as it is": {}, "compressed": {Compression: seal.Zstd},
		"encrypted": {Recipients: []seal.Recipient{key.Recipient}},
		"both":      {Compression: seal.Zstd, Recipients: []seal.Recipient{key.Recipient}},
	} {
		t.Run(name, func(t *testing.T) {
			p := takePieces(t, live, o, key.Identities)
			p.fetchesLittle(t)
			p.provesThem(t)
		})
	}
}

// pieces is a snapshot in two stores, of which the first counts.
type pieces struct {
	snapshot *catalog.Snapshot
	first    *counting
	roots    []string
}

func takePieces(t *testing.T, live *clustertest.Cluster, o seal.Options, keys *seal.Identities) *pieces {
	t.Helper()
	p := &pieces{roots: []string{t.TempDir(), t.TempDir()}}
	p.first = &counting{Store: fs.Open(p.roots[0])}
	stores := []storage.Named{{Name: "here", Store: p.first}, {Name: "there", Store: fs.Open(p.roots[1])}}
	sealer, err := seal.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Take(t.Context(), snapshot.Options{Cluster: "prod", Seeds: live.Addrs(), Access: live.Access(), Stores: stores, Sealer: sealer, Build: "test"})
	if err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), stores)
	if err == nil {
		p.snapshot, err = repository.Find(t.Context(), "prod", string(r.Manifest.ID))
	}
	if err == nil {
		err = p.snapshot.Unlock(keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// take writes keys to a dump, and returns what it holds.
func (p *pieces) take(t *testing.T, names ...string) (*part.Result, *rdb.Report) {
	t.Helper()
	var selection part.Selection
	for _, name := range names {
		selection.Keys = append(selection.Keys, []byte(name))
	}
	var dump bytes.Buffer
	p.first.whole.Store(0)
	p.first.parts.Store(0)
	r, err := part.Write(t.Context(), part.Options{Snapshot: p.snapshot, Selection: selection}, &dump, part.RDB)
	if err != nil {
		t.Fatal(err)
	}
	report, err := rdb.Inspect(t.Context(), bytes.NewReader(dump.Bytes()), rdb.InspectOptions{Size: int64(dump.Len()), Digest: true})
	if err != nil || report.Keys != uint64(len(names)) || r.Written != report.Keys {
		t.Fatalf("%d keys of %v were written, and %d are there: %v", r.Written, names, report.Keys, err)
	}
	return r, report
}

func (p *pieces) fetchesLittle(t *testing.T) {
	t.Helper()
	dump := p.snapshot.Manifest.Shards[0].Dump
	for _, names := range [][]string{{"key:0"}, {"key:11999", "key:7"}} {
		p.take(t, names...)
		whole, parts := p.first.whole.Load(), p.first.parts.Load()
		t.Logf("%d of %d bytes for %d keys", parts, dump.Bytes, len(names))
		if limit := dump.Bytes / 2; whole != 0 || parts == 0 || parts > limit {
			t.Errorf("%v: %d bytes of parts, %d by reading the whole; want at most %d", names, parts, whole, limit)
		}
	}
}

// provesThem damages the copy in the first store, where the key is, and elsewhere.
func (p *pieces) provesThem(t *testing.T) {
	t.Helper()
	const name = "key:5"
	path := filepath.Join(p.roots[0], p.snapshot.Object(p.snapshot.Manifest.Shards[0].Dump.Object))
	_, before := p.take(t, name)
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := p.place(t, name)
	for _, c := range []struct {
		at      int
		damaged bool
	}{{at, true}, {(at + len(stored)/2) % len(stored), false}} {
		flipAt(t, path, c.at)
		r, after := p.take(t, name)
		if after.Digest != before.Digest {
			t.Errorf("byte %d of %d: it is the key of another digest", c.at, len(stored))
		}
		if found := len(r.Findings) == 1 && r.Findings[0].Code == "store-failed" && strings.Contains(r.Findings[0].Detail, "store here"); found != c.damaged || found != (p.first.whole.Load() > 0) {
			t.Errorf("byte %d of %d, the key is near %d: %+v", c.at, len(stored), at, r.Findings)
		}
		flipAt(t, path, c.at) // back
	}
}

// place is about where a key's value stands in the stored dump: nothing of it compresses.
func (p *pieces) place(t *testing.T, name string) int {
	t.Helper()
	shard := p.snapshot.Manifest.Shards[0]
	reader, err := p.snapshot.OpenUnsummed(t.Context(), shard.Dump.File)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	dump, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(dump, []byte("\x05"+name))
	if at < 0 {
		t.Fatal("the key is not in the dump")
	}
	return int(float64(at+500) / float64(len(dump)) * float64(shard.Dump.Bytes))
}
