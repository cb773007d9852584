package aof_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/aof"
)

// How many mutated sets the verdicts are compared over. With 6,000 and 1,200 the
// explanations below held, too.
const (
	mutationsChecked = 400 // against redis-check-aof
	mutationsLoaded  = 100 // against redis-server, which takes longer
)

// sets are small sets of a real server, with the name of what is inspected.
func sets(t *testing.T) []namedSet {
	t.Helper()
	fill := func(s *server) {
		s.do("MSET", "a", 1, "b", "two")
		s.do("RPUSH", "list", "x", "y", "z")
		s.do("EVAL", "redis.call('SET', KEYS[1], 1) redis.call('INCR', KEYS[1])", 1, "script")
		s.do("HSET", "hash", "field", strings.Repeat("v", 40))
	}
	rewritten := func(settings ...string) folder {
		s := startServer(t, t.TempDir(), append(settings, "--aof-timestamp-enabled", "yes")...)
		fill(s)
		s.do("BGREWRITEAOF")
		s.await("aof_rewrite_in_progress", "0")
		fill(s)
		files := s.files()
		s.kill()
		return files
	}
	dump, commands := rewritten(), rewritten("--aof-use-rdb-preamble", "no")
	old := slices.Concat(dump["appendonly.aof.2.base.rdb"], dump["appendonly.aof.2.incr.aof"])
	return []namedSet{
		{dump, manifestName},
		{commands, manifestName},
		{folder{"appendonly.aof": old}, "appendonly.aof"},
		{folder{"appendonly.aof": commands["appendonly.aof.2.incr.aof"]}, "appendonly.aof"},
	}
}

type namedSet struct {
	folder
	name string
}

// mutate damages one file of a set.
func (n namedSet) mutate(random *rand.Rand) (mutated namedSet, what string) {
	files := maps.Clone(n.folder)
	names := slices.Sorted(maps.Keys(files))
	name := names[random.IntN(len(names))]
	data := slices.Clone(files[name])
	at := random.IntN(len(data))
	end := min(len(data), at+1+random.IntN(20))
	switch kind := random.IntN(8); kind {
	case 0, 1:
		data = data[:at]
		what = "cut"
	case 2, 3:
		data[at] ^= 1 << random.IntN(8)
		what = fmt.Sprintf("flipped to %q", data[at])
	case 4:
		data[at] = "\r\n*$#0123456789:- \x00"[random.IntN(19)]
		what = fmt.Sprintf("set to %q", data[at])
	case 5:
		data = slices.Delete(data, at, end)
		what = fmt.Sprintf("removed to %d", end)
	case 6:
		data = slices.Insert(data, at, data[at:end]...)
		what = fmt.Sprintf("doubled to %d", end)
	case 7:
		data = append(data[:at], make([]byte, 1+random.IntN(20))...)
		what = "NUL bytes from here"
	}
	files[name] = data
	return namedSet{files, n.name}, fmt.Sprintf("%s at %d %s", name, at, what)
}

// disagreement is a known reason why redis-check-aof or redis-server sees a set
// otherwise than this package.
type disagreement struct {
	why   string
	check func(n namedSet, report *aof.Report) bool
}

func found(report *aof.Report, code, pattern string) bool {
	return slices.ContainsFunc(report.Findings, func(d *aof.Damage) bool {
		return d.Code == code && regexp.MustCompile(pattern).MatchString(d.Detail)
	})
}

// laxCheck are the reasons why redis-check-aof finds nothing.
var laxCheck = []disagreement{
	{"it passes over an annotation that the file's end cuts off; a server goes on writing in that line", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeTruncated, "inside the annotation")
	}},
	{"it takes signs, blanks or nothing for a number", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeFormat, `^"[*$]([-+ \\tnvfr]|\\x0[bc])`)
	}},
	{"it takes a command of no arguments, which no server loads", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeLength, "of 0 arguments")
	}},
	{"it does not look at the database of a SELECT", func(_ namedSet, r *aof.Report) bool { return found(r, aof.CodeDB, "") }},
	{"it passes over an empty base", func(_ namedSet, r *aof.Report) bool { return found(r, aof.CodeEmpty, "") }},
	{"it takes an empty manifest for an empty file of commands", func(n namedSet, r *aof.Report) bool {
		return len(n.folder[n.name]) == 0 && found(r, aof.CodeManifestEmpty, "")
	}},
	{"it has nothing to check where a manifest names only history", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeManifestEmpty, "none of its")
	}},
}

// strictCheck are the reasons why redis-check-aof finds something more.
var strictCheck = []disagreement{
	{"it knows a manifest only by a line that begins with file, in small letters and without quotes", func(n namedSet, _ *aof.Report) bool {
		return n.name == manifestName && !slices.ContainsFunc(strings.Split(string(n.folder[n.name]), "\n"), func(line string) bool {
			return strings.HasPrefix(line, "file")
		})
	}},
}

// strictServer are the reasons why a server does not load what is loadable here.
var strictServer = []disagreement{
	{"a command it does not know; here that is a warning, for a newer server may", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeUnknown, "")
	}},
}

// laxServer are the reasons why a server loads what is an error here.
var laxServer = []disagreement{
	{"it does not look at what follows a number, or an argument", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeFormat, "should (stand|end)")
	}},
	{"it passes over an annotation that the file's end cuts off, in any file", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeTruncated, "inside the annotation")
	}},
	{"it does as if EXEC were not there", func(_ namedSet, r *aof.Report) bool { return found(r, aof.CodeTransaction, "") }},
	{"it goes on in the database before, where SELECT fails", func(_ namedSet, r *aof.Report) bool { return found(r, aof.CodeDB, "") }},
	{"it takes a lying length for a file cut short, even if it must make room for it", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeLength, "")
	}},
	{"it starts without an empty base", func(_ namedSet, r *aof.Report) bool { return found(r, aof.CodeEmpty, "") }},
	{"it starts with no data where a manifest names only history", func(_ namedSet, r *aof.Report) bool {
		return found(r, aof.CodeManifestEmpty, "none of its")
	}},
}

func explained(reasons []disagreement, n namedSet, report *aof.Report) string {
	for _, d := range reasons {
		if d.check(n, report) {
			return d.why
		}
	}
	return ""
}

// redis-check-aof and this package agree on mutated sets, or it is known why not.
func TestVerdicts(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	fixtures := sets(t)
	sound, damaged, reasons := 0, 0, map[string]int{}
	for range mutationsChecked {
		n, what := fixtures[random.IntN(len(fixtures))].mutate(random)
		report, err := n.tryInspect(n.name)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		ours := report.Err() == nil
		theirs, out := n.check(t, n.name)
		switch {
		case ours && theirs:
			sound++
		case !ours && !theirs:
			damaged++
		default:
			known := laxCheck
			if ours {
				known = strictCheck
			}
			why := explained(known, n, report)
			if why == "" {
				t.Errorf("%s: here %v, redis-check-aof says %t\n%s\n%.300q", what, report.Err(), theirs, out, n.folder[n.name])
			}
			reasons[why]++
		}
	}
	t.Logf("both sound %d, both damaged %d, explained %v", sound, damaged, reasons)
}

// A server starts with a mutated set if, and only if, that is said here, or it
// is known why not.
func TestServerVerdicts(t *testing.T) {
	const seed = 8
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	fixtures := sets(t)
	starts, refuses, reasons := 0, 0, map[string]int{}
	for range mutationsLoaded {
		n, what := fixtures[random.IntN(2)].mutate(random)
		report, err := n.tryInspect(n.name)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		_, err = n.loads(t)
		switch ours, theirs := report.Loadable(), err == nil; {
		case ours && theirs:
			starts++
		case !ours && !theirs:
			refuses++
		default:
			known := laxServer
			if ours {
				known = strictServer
			}
			why := explained(known, n, report)
			if why == "" {
				t.Errorf("%s: here %v, the server says %v", what, report.Findings, err)
			}
			reasons[why]++
		}
	}
	t.Logf("both start %d, both refuse %d, explained %v", starts, refuses, reasons)
}

// The verdicts on what a server left need no explanation.
func TestFixturesAreSound(t *testing.T) {
	for _, n := range sets(t) {
		report := sound(t, n.folder, n.name)
		if n.name == manifestName {
			if _, err := n.loads(t); err != nil {
				t.Error(err)
			}
		} else {
			dir := t.TempDir()
			n.write(t, dir)
			if files := startServer(t, dir).files(); len(files[filepath.Base(n.name)]) != len(n.folder[n.name]) {
				t.Errorf("the server took %d of %d bytes over", len(files[n.name]), report.Files[0].Bytes)
			}
		}
	}
}
