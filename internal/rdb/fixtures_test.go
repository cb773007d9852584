package rdb_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/servertest"
)

var (
	update       = flag.Bool("update", false, "rewrite the golden reports of the fixtures")
	makeFixtures = flag.Bool("make-fixtures", false, "let the servers of SLOTARK_SERVERS write the fixtures anew")
)

const (
	wholeSize  = 4 << 10 // fixtures up to this many bytes are read whole for each position
	sampleSize = 50      // positions of a larger one for which it is
)

// dumpFile is one committed dump of a real server.
type dumpFile struct {
	engine, version, name string // "valkey", "9.1.2", "types-unpacked"
	path                  string
	data                  []byte
}

func (f dumpFile) spec(t testing.TB) fixtureSpec {
	t.Helper()
	i := slices.IndexFunc(fixtureSpecs, func(s fixtureSpec) bool { return s.name == f.name })
	if i < 0 {
		t.Fatalf("%s: no spec is named %q", f.path, f.name)
	}
	return fixtureSpecs[i]
}

// dumpFiles reads all committed dumps.
func dumpFiles(t testing.TB) []dumpFile {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.rdb")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	var files []dumpFile
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(strings.TrimSuffix(filepath.Base(path), ".rdb"), "-", 3)
		if len(parts) != 3 {
			t.Fatalf("%s is not named <engine>-<version>-<what>.rdb", path)
		}
		files = append(files, dumpFile{parts[0], parts[1], parts[2], path, data})
	}
	return files
}

// golden is what is kept of a report: what the data decides, not the moment.
type golden struct {
	Format         string              `json:"format"`
	Server         string              `json:"server"`
	Checksum       bool                `json:"checksum"`
	Keys, Expiring uint64              `json:",omitempty"`
	MaxDB          int                 `json:"max_db"`
	Types          map[string]uint64   `json:"types"`
	Functions      []string            `json:"functions"`
	Slots          map[string][]uint32 `json:"slots"` // keys, expiring
	Digest         rdb.Digest          `json:"digest"`
}

func goldenOf(t testing.TB, data []byte) golden {
	t.Helper()
	report, err := inspect(data, rdb.InspectOptions{Size: int64(len(data)), Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	g := golden{
		Format:   fmt.Sprintf("%s %d", report.Engine, report.Version),
		Server:   report.Aux["redis-ver"] + report.Aux["valkey-ver"],
		Checksum: !report.ChecksumDisabled,
		Keys:     report.Keys, Expiring: report.Expiring, MaxDB: report.MaxDB,
		Types: report.Types, Functions: report.Functions, Slots: map[string][]uint32{}, Digest: report.Digest,
	}
	slices.Sort(g.Functions)
	for slot, count := range report.Slots {
		if count.Keys > 0 {
			g.Slots[fmt.Sprint(slot)] = []uint32{count.Keys, count.Expiring}
		}
	}
	return g
}

// Every fixture is sound and holds exactly what its golden report says.
func TestFixtures(t *testing.T) {
	for _, file := range dumpFiles(t) {
		t.Run(filepath.Base(file.path), func(t *testing.T) {
			got := goldenOf(t, file.data)
			if got.Server != file.version {
				t.Errorf("its server calls itself %s", got.Server)
			}
			text, err := json.MarshalIndent(got, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			path := strings.TrimSuffix(file.path, ".rdb") + ".json"
			if *update {
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("%s is not what it was, got %s", path, text)
			}
		})
	}
}

// The same keys have the same digest in the dumps of every server, standalone or
// not, in small encodings and large ones: this is what a digest is for.
func TestFixturesAgree(t *testing.T) {
	type content struct {
		digest         rdb.Digest
		keys, expiring uint64
		functions      string
	}
	want, from, servers := map[string]content{}, map[string]string{}, map[string]map[string]bool{}
	for _, file := range dumpFiles(t) {
		g := goldenOf(t, file.data)
		got := content{g.Digest, g.Keys, g.Expiring, fmt.Sprint(g.Functions)}
		data := file.spec(t).data
		if servers[data] == nil {
			want[data], from[data], servers[data] = got, file.path, map[string]bool{}
		}
		if got != want[data] {
			t.Errorf("%s holds %+v, %s holds %+v", file.path, got, from[data], want[data])
		}
		servers[data][file.engine+file.version] = true
	}
	for data, least := range map[string]int{"types": 5, "cluster": 5, "small": 5, "empty": 5, "fields": 3} {
		if len(servers[data]) < least {
			t.Errorf("only %d servers wrote %q", len(servers[data]), data)
		}
	}
}

// The machine's own server, asked again, writes what has the same digests; with
// -make-fixtures it and the servers of SLOTARK_SERVERS write the files.
func TestFixturesMadeAgain(t *testing.T) {
	want := map[string]golden{}
	if !*makeFixtures {
		for _, file := range dumpFiles(t) {
			want[file.spec(t).data] = goldenOf(t, file.data)
		}
	}
	for _, server := range servertest.Servers(t) {
		engine, version := server.Engine, server.Version
		for _, spec := range fixtureSpecs {
			if spec.needs != nil && !spec.needs(engine, version) {
				continue
			}
			t.Run(fmt.Sprintf("%s-%s-%s", engine, version, spec.name), func(t *testing.T) {
				data := makeFixture(t, server.Binary, spec)
				got := goldenOf(t, data)
				if *makeFixtures {
					path := fmt.Sprintf("testdata/%s-%s-%s.rdb", engine, version, spec.name)
					if err := os.WriteFile(path, data, 0o644); err != nil {
						t.Fatal(err)
					}
				} else if w := want[spec.data]; got.Digest != w.Digest || got.Keys != w.Keys {
					t.Errorf("%d keys with digest %s, the fixtures have %d with %s", got.Keys, got.Digest, w.Keys, w.Digest)
				}
			})
		}
	}
}

// readAll reads a dump to its end and returns what stops it.
func readAll(data []byte, o rdb.Options) error {
	r := rdb.NewReader(bytes.NewReader(data), o)
	for {
		if _, err := r.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
