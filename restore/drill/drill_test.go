package drill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

const testKeys = 20_000

// saved is one snapshot of a cluster that is gone, as after a disaster, made
// once for all tests: they only read it.
var saved struct {
	sync.Mutex
	root string
	id   manifest.ID
}

// temporary is where temporary files are before a test says otherwise.
var temporary = os.TempDir()

// takeSnapshot returns the snapshot, from a copy of its repository that the
// test may damage.
func takeSnapshot(t *testing.T) (*catalog.Snapshot, string) {
	t.Helper()
	saved.Lock()
	defer saved.Unlock()
	if saved.root == "" {
		root, err := os.MkdirTemp(temporary, "slotark-test-drill-")
		if err != nil {
			t.Fatal(err)
		}
		saved.root = root
		live := clustertest.Start(t, clustertest.Options{Primaries: 3, Replicas: 3, Password: "original"})
		topology, err := cluster.Discover(t.Context(), live.Access(), live.Addrs())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dataset.Load(t.Context(), live.Access(), topology, dataset.Options{Keys: testKeys, Seed: 7}); err != nil {
			t.Fatal(err)
		}
		result, err := snapshot.Take(t.Context(), snapshot.Options{
			Cluster: "prod", Seeds: live.Addrs(), Access: live.Access(),
			Stores: []storage.Named{{Name: "primary", Store: fs.Open(root)}},
			Build:  "slotark test",
		})
		if err != nil {
			t.Fatal(err)
		}
		saved.id = result.Manifest.ID
		live.Kill()
	}
	if saved.id == "" {
		t.Fatal("the snapshot could not be taken: see the test before")
	}
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(saved.root)); err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), []storage.Named{{Name: "primary", Store: fs.Open(root)}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := repository.Find(t.Context(), "prod", string(saved.id))
	if err != nil {
		t.Fatal(err)
	}
	return found, root
}

// private makes a test's drills make their folders where no other test's are.
func private(t *testing.T) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
}

// nothingLeft checks that all drills of this process are gone.
func nothingLeft(t *testing.T, p *place) {
	t.Helper()
	by, err := self()
	if err != nil {
		t.Fatal(err)
	}
	if rest := left(t, p, order{owner: by, root: sandboxRoot()}); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
}

// A drill of a lost region, onto fewer nodes than there were.
func TestDrillFromOneStoreOntoFewer(t *testing.T) {
	private(t)
	_, root := takeSnapshot(t)
	gone := t.TempDir()
	if err := os.CopyFS(gone, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	repository, err := catalog.Open(t.Context(), []storage.Named{{Name: "lost", Store: fs.Open(gone)}, {Name: "mirror", Store: fs.Open(root)}})
	if err != nil {
		t.Fatal(err)
	}
	source, err := repository.Find(t.Context(), "prod", catalog.Latest)
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range source.Manifest.Shards {
		if err := os.Remove(filepath.Join(gone, source.Object(shard.Dump.Object))); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Snapshot: source, Runtime: Process, From: "mirror", Shards: 2, Replicas: 1}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Proved || len(report.Findings) > 0 || report.Keys != source.Manifest.Keys() || report.Slots != 16384 || report.From != "mirror" || report.Shards != 2 ||
		!strings.HasPrefix(report.Nodes, "2 + 1 ") {
		t.Errorf("%+v", report)
	}
	o.From = "lost"
	if report, err = Run(t.Context(), o); err != nil || report.Proved || report.Findings[0].Code != "missing" {
		t.Errorf("from the region that is lost: %+v, %v", report, err)
	}
	o.From = "elsewhere"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `store "elsewhere" does not have snapshot`) {
		t.Errorf("from nowhere: %v", err)
	}
}

func TestDrillProvesASnapshot(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, _ string) {
		private(t)
		source, _ := takeSnapshot(t)
		var log bytes.Buffer
		var mu sync.Mutex
		phases := map[string]bool{}
		held, password := false, ""
		report, err := Run(t.Context(), Options{
			Snapshot: source, Runtime: p.runtime, Replicas: AsTaken, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Progress: func(e progress.Event) {
				mu.Lock()
				defer mu.Unlock()
				phases[e.Phase] = true
			},
			Hold: func(ctx context.Context, s Sandbox, r *Report) error {
				held = true
				password = s.Access().Password.Reveal()
				if len(s.Nodes()) != 6 || !r.Proved {
					t.Errorf("held %d nodes, proved %v", len(s.Nodes()), r.Proved)
				}
				return s.Check(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		m := source.Manifest
		if !report.Proved || len(report.Findings) > 0 || report.Keys != m.Keys() || report.Slots != 16384 {
			t.Errorf("proved %v, %d of %d keys, %d slots, findings %v", report.Proved, report.Keys, m.Keys(), report.Slots, report.Findings)
		}
		if report.Snapshot != m.ID || report.Cluster != "prod" || report.Runtime != p.runtime || report.ServerVersion != m.Server.Version {
			t.Errorf("report %+v", report)
		}
		if rto := report.RTO.Duration(); rto <= 0 || rto > report.Ended.Sub(report.Started) || report.RPO <= 0 {
			t.Errorf("RTO %s, RPO %s of a drill from %s to %s", rto, report.RPO.Duration(), report.Started, report.Ended)
		}
		if s := report.Samples; s == nil || s.Reads < 60 || s.Moved < int64(s.Reads) || s.MultiKey != 3 || s.Libraries != 3 || s.Functions != 6 || s.Called != 3 {
			t.Errorf("samples %+v", s)
		}
		if !held || !phases["provision"] || !phases["load"] || !phases["remove"] {
			t.Errorf("held %v, progress of %v", held, phases)
		}
		var record catalog.Drill
		text, err := json.Marshal(report)
		if err == nil {
			err = json.Unmarshal(text, &record)
		}
		if err != nil || record.ID != report.ID || !record.Proved || record.Snapshot != m.ID || record.RTO == 0 {
			t.Errorf("the catalog reads %+v, %v", record, err)
		}
		if password == "" || strings.Contains(log.String(), password) || strings.Contains(string(text), password) {
			t.Errorf("the password stands in the log or the report:\n%s\n%s", &log, text)
		}
		for _, phase := range report.Phases {
			t.Logf("%-10s %s", phase.Name, phase.Elapsed.Duration().Round(time.Millisecond))
		}
		t.Logf("%s: %d keys, RTO %s, RPO %s", report.Nodes, report.Keys, report.RTO.Duration(), report.RPO.Duration())
		nothingLeft(t, p)
	})
}

// Damage that is in the store, and what the manifest says wrongly of sound
// dumps: a drill ends with a finding that says so, not with an error.
func TestDrillFindsDamage(t *testing.T) {
	private(t)
	for name, test := range map[string]struct {
		harm func(t *testing.T, m *manifest.Manifest, dumps []string)
		code string
	}{
		"a bit of a dump flipped": {func(t *testing.T, _ *manifest.Manifest, dumps []string) {
			text, err := os.ReadFile(dumps[1])
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 0x10
			rewrite(t, dumps[1], text)
		}, ""},
		"a dump cut short": {func(t *testing.T, _ *manifest.Manifest, dumps []string) {
			text, err := os.ReadFile(dumps[0])
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, dumps[0], text[:len(text)-100])
		}, ""},
		"a dump missing": {func(t *testing.T, _ *manifest.Manifest, dumps []string) {
			if err := os.Remove(dumps[2]); err != nil {
				t.Fatal(err)
			}
		}, "missing"},
		"two dumps swapped": {func(t *testing.T, m *manifest.Manifest, _ []string) {
			a, b := &m.Shards[0], &m.Shards[1]
			a.Dump, b.Dump = b.Dump, a.Dump
		}, "damaged"},
		"slots given to another shard": {func(t *testing.T, m *manifest.Manifest, _ []string) {
			some := slot.SetOf(slot.Range{First: 100, Last: 199})
			own(m, 0, m.Shards[0].Slots.Minus(some))
			own(m, 1, m.Shards[1].Slots.Union(some))
		}, "damaged"},
		"slots given to nobody": {func(t *testing.T, m *manifest.Manifest, _ []string) {
			own(m, 1, m.Shards[1].Slots.Minus(slot.SetOf(slot.Range{First: 6000, Last: 6099})))
		}, "manifest"},
		"a shard missing": {func(t *testing.T, m *manifest.Manifest, _ []string) {
			gone := m.Shards[1].Primary
			m.Shards = slices.Delete(m.Shards, 1, 2)
			m.Topology.Nodes = slices.DeleteFunc(m.Topology.Nodes, func(n manifest.Node) bool { return n.ID == gone || n.Primary == gone })
		}, "manifest"},
		// What follows has every checksum made true again, as one would have who can
		// write to the store.
		"a bit flipped, and the object's checksum": {func(t *testing.T, m *manifest.Manifest, dumps []string) {
			text, err := os.ReadFile(dumps[1])
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)-9] ^= 1 // the end of the footer is the checksum's own
			replace(t, &m.Shards[1], dumps[1], text)
		}, ""},
		"a value changed": {func(t *testing.T, m *manifest.Manifest, dumps []string) {
			forge(t, &m.Shards[0], dumps[0], func(r *rdb.Record, value []byte) bool {
				return r.Family == rdb.String && value[0] > 8 && value[0] < 64 && func() bool { value[5] ^= 1; return true }()
			})
		}, "slot-digest"},
		"an expiry changed": {func(t *testing.T, m *manifest.Manifest, dumps []string) {
			forge(t, &m.Shards[2], dumps[2], func(r *rdb.Record, _ []byte) bool {
				r.ExpireAt += 1000
				return r.HasExpiry
			})
		}, "slot-digest"},
		"a key removed": {func(t *testing.T, m *manifest.Manifest, dumps []string) {
			m.Shards[1].Dump.Keys--
			forge(t, &m.Shards[1], dumps[1], func(r *rdb.Record, _ []byte) bool {
				r.Kind = rdb.KindAux // which is written as nothing
				return true
			})
		}, "slot-digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, root := takeSnapshot(t)
			var dumps []string
			for _, shard := range source.Manifest.Shards {
				dumps = append(dumps, filepath.Join(root, source.Object(shard.Dump.Object)))
			}
			test.harm(t, source.Manifest, dumps)
			report, err := Run(t.Context(), Options{Snapshot: source, Runtime: Process, Replicas: AsTaken})
			if err != nil {
				t.Fatal(err)
			}
			if report.Proved || len(report.Findings) == 0 || test.code != "" && report.Findings[0].Code != test.code {
				t.Errorf("proved %v, findings %v; want one of code %q", report.Proved, report.Findings, test.code)
			}
			t.Logf("%+v", report.Findings)
		})
	}
}

// own gives a shard other slots, wherever the manifest says which it has.
func own(m *manifest.Manifest, shard int, slots slot.Set) {
	m.Shards[shard].Slots = slots
	for i, n := range m.Topology.Nodes {
		if n.ID == m.Shards[shard].Primary {
			m.Topology.Nodes[i].Slots = slots
		}
	}
}

// forge writes a dump anew, with one key changed as change does it, which tells
// whether it did, and has the manifest's record of it say so.
func forge(t *testing.T, shard *manifest.Shard, path string, change func(r *rdb.Record, value []byte) bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var value, out bytes.Buffer
	reader := rdb.NewReader(bytes.NewReader(text), rdb.Options{Capture: &value})
	var dump *rdb.Writer
	changed := false
	for {
		value.Reset()
		r, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if dump == nil {
			dump = rdb.NewWriter(&out, reader.Header())
		}
		if r.Kind == rdb.KindKey && !changed {
			changed = change(r, value.Bytes())
			if r.Kind != rdb.KindKey {
				continue
			}
		}
		switch r.Kind {
		case rdb.KindAux:
			dump.Aux(string(r.Name), string(r.Value))
		case rdb.KindFunction:
			dump.Function(r.Value)
		case rdb.KindKey:
			dump.Key(r)
			if _, err := dump.Write(value.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := dump.Close(); err != nil || !changed {
		t.Fatalf("nothing was changed: %v", err)
	}
	replace(t, shard, path, out.Bytes())
}

// replace stores other bytes, and has the manifest's record of them say so.
func replace(t *testing.T, shard *manifest.Shard, path string, text []byte) {
	t.Helper()
	rewrite(t, path, text)
	sum := sha256.Sum256(text)
	shard.Dump.File.Bytes, shard.Dump.File.SHA256 = int64(len(text)), hex.EncodeToString(sum[:])
	shard.Dump.CRC64 = fmt.Sprintf("%016x", binary.LittleEndian.Uint64(text[len(text)-8:]))
}

func rewrite(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The drills run at once, because most of their time is waiting for gossip; and
// so they are each other's neighbours.
func TestCancelledDrillLeavesNothing(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, _ string) {
		private(t)
		phases := []string{"image", "provision", "check", "join", "load", "compare", "replicas"}
		if p.runtime == Docker {
			phases = []string{"provision", "join", "load"} // the rest is the same code
		}
		source, _ := takeSnapshot(t)
		t.Run("at", func(t *testing.T) {
			for _, phase := range phases {
				t.Run(phase, func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var cancelled time.Time
					report, err := Run(ctx, Options{Snapshot: source, Runtime: p.runtime, Replicas: AsTaken, Progress: func(e progress.Event) {
						if e.Phase == phase && ctx.Err() == nil {
							cancelled = time.Now()
							cancel()
						}
					}})
					if !errors.Is(err, context.Canceled) || report != nil {
						t.Errorf("%+v, %v", report, err)
					}
					t.Logf("gone after %s", time.Since(cancelled).Round(time.Millisecond))
				})
			}
		})
		nothingLeft(t, p)
	})
}

func TestDrillsAtOnce(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, _ string) {
		private(t)
		source, _ := takeSnapshot(t)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				report, err := Run(t.Context(), Options{Snapshot: source, Runtime: p.runtime, Replicas: AsTaken})
				if err != nil || !report.Proved {
					t.Errorf("%+v, %v", report, err)
				}
			})
		}
		both.Wait()
		nothingLeft(t, p)
	})
}
