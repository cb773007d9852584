package aof_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/internal/slot"
)

var (
	update       = flag.Bool("update", false, "rewrite the golden reports of the fixtures")
	makeFixtures = flag.Bool("make-fixtures", false, "let the servers of SLOTARK_SERVERS write the fixtures anew")
)

const oldName = "appendonly.aof"

// fixture is one committed set of a real server.
type fixture struct {
	engine, version, what string // "valkey", "9.1.2", "after"
	path                  string
	namedSet
}

// fixtures reads all committed sets.
func fixtures(t testing.TB) (all []fixture) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	for _, path := range paths {
		path = strings.TrimSuffix(path, ".json")
		parts := strings.SplitN(filepath.Base(path), "-", 3)
		if len(parts) != 3 {
			t.Fatalf("%s is not named <engine>-<version>-<what>", path)
		}
		f := fixture{parts[0], parts[1], parts[2], path, namedSet{readFolder(t, path), manifestName}}
		if f.folder[manifestName] == nil {
			f.name = oldName
		}
		all = append(all, f)
	}
	return all
}

// last is the name of the file that is loaded last.
func (f fixture) last(t testing.TB) string {
	t.Helper()
	report := f.inspect(t, f.name)
	return report.Files[len(report.Files)-1].Name
}

// golden is what is kept of a report.
type golden struct {
	Manifest    []string     `json:"manifest,omitempty"` // the lines a server would write
	First, Last *time.Time   `json:",omitempty"`
	Slots       slot.Set     `json:"slots"`
	Files       []goldenFile `json:"files"`
}

type goldenFile struct {
	Name, Type                   string
	Bytes                        int64
	Dump                         *goldenDump       `json:",omitempty"`
	Commands, Transactions       uint64            `json:",omitempty"`
	Names                        map[string]uint64 `json:",omitempty"`
	Annotations                  uint64            `json:",omitempty"`
	MaxDB                        int
	Slots                        slot.Set
	Unplaced                     uint64 `json:",omitempty"`
	DumpBytes, WholeEnd, SafeEnd int64
}

type goldenDump struct {
	Format string
	Keys   uint64
	Digest rdb.Digest
}

func goldenOf(t testing.TB, n namedSet) golden {
	t.Helper()
	report, err := n.tryInspect(n.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Findings {
		t.Errorf("%s: %v", d.Severity, d)
	}
	g := golden{Slots: report.Slots()}
	if report.Manifest != nil {
		for _, e := range report.Manifest.Entries {
			line, err := e.AppendText(nil)
			if err != nil {
				t.Fatal(err)
			}
			g.Manifest = append(g.Manifest, strings.TrimSpace(string(line)))
		}
	}
	if first, last := report.Range(); !first.IsZero() {
		g.First, g.Last = &first, &last
	}
	for _, f := range report.Files {
		kept := goldenFile{
			Name: f.Name, Type: f.Type.String(), Bytes: f.Bytes, Commands: f.Commands, Transactions: f.Transactions, Names: f.Names,
			Annotations: f.Annotations, MaxDB: f.MaxDB, Slots: f.Slots, Unplaced: f.Unplaced,
			DumpBytes: f.DumpBytes, WholeEnd: f.WholeEnd, SafeEnd: f.SafeEnd,
		}
		if d := f.Dump; d != nil {
			kept.Dump = &goldenDump{fmt.Sprintf("%s %d", d.Engine, d.Version), d.Keys, d.Digest}
		}
		g.Files = append(g.Files, kept)
	}
	return g
}

// Every fixture is sound and holds exactly what its golden report says.
func TestFixtures(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			text, err := json.MarshalIndent(goldenOf(t, f.namedSet), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			if *update {
				if err := os.WriteFile(f.path+".json", text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(f.path + ".json")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(text)); diff != "" {
				t.Errorf("%s is not what it was: %s", f.path, diff)
			}
		})
	}
}

// contents is what a set holds, whatever server wrote it: of each file that is
// loaded its kind, the slots of its commands, how many transactions, and the
// dump's keys.
func contents(t testing.TB, n namedSet) (kinds, facts []string) {
	t.Helper()
	for _, f := range goldenOf(t, n).Files {
		kind := f.Type
		if f.Dump != nil {
			kind = "dump"
			facts = append(facts, fmt.Sprint(f.Dump.Keys, " ", f.Dump.Digest))
		}
		if f.Commands > 0 {
			facts = append(facts, fmt.Sprint(f.Slots, " to database ", f.MaxDB))
		}
		kinds = append(kinds, kind)
	}
	return kinds, facts
}

// Each set holds what was written to it, and the same whatever server wrote it.
func TestFixturesHoldWhatWasWritten(t *testing.T) {
	first, servers := map[string]fixture{}, map[string]int{}
	for _, f := range fixtures(t) {
		kinds, facts := contents(t, f.namedSet)
		want := map[string]string{
			"before": "[dump incr]", "during": "[dump incr incr]", "after": "[dump incr]", "commands": "[base incr]",
			"cluster": "[dump incr]", "cluster-databases": "[dump incr]", "old": "[dump]",
		}
		if got := fmt.Sprint(kinds); got != want[f.what] {
			t.Errorf("%s has files %s, want %s", f.path, got, want[f.what])
		}
		if servers[f.what]++; servers[f.what] == 1 {
			first[f.what] = f
		} else if _, others := contents(t, first[f.what].namedSet); f.what != "old" && !cmp.Equal(facts, others) {
			t.Errorf("%s holds %v, %s holds %v", f.path, facts, first[f.what].path, others)
		}

		g := goldenOf(t, f.namedSet)
		increment := g.Files[len(g.Files)-1]
		stages := map[string][]string{
			"before": {"one", "two"}, "during": {"three"}, "after": {"three", "four"}, "commands": {"two"},
			"cluster": {"two"}, "cluster-databases": {"one"}, "old": {"two"},
		}[f.what]
		if slots := stageSlots(stages...); increment.Slots != slots {
			t.Errorf("%s: slots %s, want %s", f.path, increment.Slots, slots)
		}
		databases := map[string]int{"cluster": 1}[f.what]
		if databases == 0 {
			databases = len(manyDatabases)
		}
		if want := (databases - 1) * 9; increment.MaxDB != want {
			t.Errorf("%s: databases to %d, want %d", f.path, increment.MaxDB, want)
		}
		if want := uint64(databases * len(stages)); increment.Transactions != want {
			t.Errorf("%s: %d transactions, want %d", f.path, increment.Transactions, want)
		}
		if hasTime := g.First != nil; hasTime == (f.what == "old") {
			t.Errorf("%s: time from %v to %v", f.path, g.First, g.Last)
		}
		if f.what == "before" && !g.Last.After(*g.First) {
			t.Errorf("%s: no time between %v and %v", f.path, g.First, g.Last)
		}
		if history := strings.Contains(fmt.Sprint(g.Manifest), "type h"); history != (f.what == "commands") {
			t.Errorf("%s: manifest %v", f.path, g.Manifest)
		}
	}
	for what, n := range servers {
		if n < 6 && what != "cluster-databases" {
			t.Errorf("only %d servers wrote %q", n, what)
		}
	}
}

// The machine's own server, asked again, writes sets of the same contents; with
// -make-fixtures it and the servers of SLOTARK_SERVERS write the files.
func TestFixturesMadeAgain(t *testing.T) {
	want := map[string]namedSet{}
	if !*makeFixtures {
		for _, f := range fixtures(t) {
			want[f.what] = f.namedSet
		}
	}
	for _, server := range servertest.Servers(t) {
		for _, maker := range fixtureMakers {
			if maker.needs != nil && !maker.needs(server) {
				continue
			}
			for what, files := range maker.make(t, server.Binary) {
				made := namedSet{files, manifestName}
				if what == "old" {
					made.name = oldName
				}
				if *makeFixtures {
					path := fmt.Sprintf("testdata/%s-%s-%s", server.Engine, server.Version, what)
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
					files.write(t, path)
					folder{filepath.Base(path) + ".json": nil}.write(t, "testdata")
					continue
				}
				kinds, facts := contents(t, made)
				wantKinds, wantFacts := contents(t, want[what])
				if !cmp.Equal(kinds, wantKinds) || !cmp.Equal(facts, wantFacts) {
					t.Errorf("%s of %s %s holds %v %v, the fixture %v %v", what, server.Engine, server.Version, kinds, facts, wantKinds, wantFacts)
				}
			}
		}
	}
}

// Every strict prefix of the last file is found to be cut, or ends where a
// command does: then it is a sound shorter file, for the format has no checksum,
// and what it says of itself is less. The set is loadable all the same.
func TestFixturePrefixes(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			t.Parallel()
			name := f.last(t)
			report := f.inspect(t, f.name)
			file := report.Files[len(report.Files)-1]
			data := f.folder[name][file.DumpBytes:]
			clean, lastClean := 0, int64(-1)
			for end := range int64(len(data)) {
				_, r, err := readAll(bytes.NewReader(data[:end]), 0)
				var d *aof.Damage
				switch {
				case err == io.EOF && r.SafeEnd() == end && end > lastClean:
					clean, lastClean = clean+1, end
				case errors.As(err, &d) && d.Recoverable && (d.Code == aof.CodeTruncated || d.Code == aof.CodeUnfinished) && r.SafeEnd() == max(lastClean, 0):
				default:
					t.Fatalf("the first %d of %d bytes: %v, safe to %d", end, len(data), err, r.SafeEnd())
				}
			}
			// As many as there are records outside of transactions, and the empty one.
			if most := int(file.Commands+file.Annotations) + 1; clean < 10 || clean >= most {
				t.Errorf("%d prefixes are whole, of %d records", clean, most)
			}
		})
	}
}
