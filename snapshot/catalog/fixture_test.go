package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/seal"
)

// The ids of the tests' snapshots, in the order of time. The first two begin
// alike for longer than their date.
const (
	oldest manifest.ID = "20260131T020000Z-aaaaaa"
	middle manifest.ID = "20260131T020000Z-aaaabb"
	newest manifest.ID = "20260201T020000Z-cccccc"
)

var errDown = errors.New("the region is down")

// switched is a store that can be made to fail: wholly, or only its Puts.
type switched struct {
	storage.Store
	down, full bool
}

func (s *switched) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if s.down || s.full {
		return storage.Object{}, errDown
	}
	return s.Store.Put(ctx, name, body)
}

func (s *switched) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if s.down {
		return nil, errDown
	}
	return s.Store.Open(ctx, name)
}

func (s *switched) Stat(ctx context.Context, name string) (storage.Object, error) {
	if s.down {
		return storage.Object{}, errDown
	}
	return s.Store.Stat(ctx, name)
}

func (s *switched) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	if s.down {
		return func(yield func(storage.Object, error) bool) { yield(storage.Object{}, errDown) }
	}
	return s.Store.List(ctx, prefix)
}

// fixture is a repository of two folders that stand for two regions.
type fixture struct {
	*catalog.Repository
	primary, mirror *switched
}

func (f *fixture) stores() []storage.Named { return named(f.primary, f.mirror) }

func named(primary, mirror storage.Store) []storage.Named {
	return []storage.Named{{Name: "eu", Store: primary}, {Name: "us", Store: mirror}}
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{primary: &switched{Store: fs.Open(t.TempDir())}, mirror: &switched{Store: fs.Open(t.TempDir())}}
	var err error
	if f.Repository, err = catalog.Create(t.Context(), f.stores(), time.Unix(1767225600, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, store storage.Store, name, text string) {
	t.Helper()
	if _, err := store.Put(t.Context(), name, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// putSnapshot stores a snapshot of one shard: its objects and its manifest.
func putSnapshot(t *testing.T, cluster string, id manifest.ID, stores ...storage.Store) {
	t.Helper()
	text, err := manifest.Encode(newManifest(cluster, id))
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range stores {
		put(t, store, catalog.Folder(cluster, id)+"shard-0/dump.rdb", "the dump of "+string(id))
		if _, err := store.Put(t.Context(), catalog.ManifestName(cluster, id), bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
}

func newManifest(cluster string, id manifest.ID) *manifest.Manifest {
	node, sum := strings.Repeat("a", 40), strings.Repeat("1f", 32)
	return &manifest.Manifest{
		Version: manifest.Version, ID: id, Cluster: cluster, CreatedBy: "slotark test", Seal: manifest.SealOf(seal.Plain().Lock()),
		Started: id.Time(), Finished: id.Time(),
		Server: manifest.Server{Engine: "redis", Version: "7.0.15"},
		Topology: manifest.Topology{Nodes: []manifest.Node{
			{ID: node, Address: "10.0.0.1:6379", Role: "primary", Slots: slot.Full()},
		}},
		Shards: []manifest.Shard{{
			Slots: slot.Full(), Primary: node, Source: manifest.Source{Node: node}, Taken: id.Time(),
			Dump:      manifest.Dump{File: manifest.File{Object: "shard-0/dump.rdb", Bytes: 1, SHA256: sum}, RDBVersion: 10},
			SlotIndex: manifest.File{Object: "shard-0/slots.idx", Bytes: 1, SHA256: sum},
		}},
		Stores: []string{"eu", "us"},
	}
}

// ids are an answer's snapshots, with their clusters.
func ids(entries []catalog.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Cluster+" "+string(e.ID))
	}
	return out
}

// presence is "eu us" for a snapshot that both have, "eu -us" where only the
// first has it, and "eu !us" where the second did not answer.
func presence(all []catalog.Presence) string {
	var out []string
	for _, p := range all {
		switch {
		case p.Err != nil:
			out = append(out, "!"+p.Store)
		case !p.Present:
			out = append(out, "-"+p.Store)
		default:
			out = append(out, p.Store)
		}
	}
	return strings.Join(out, " ")
}

func read(t *testing.T, s *catalog.Snapshot, relative string) string {
	t.Helper()
	body, err := s.OpenStored(t.Context(), relative)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
