package aof_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/servertest"
)

const (
	mutationsChecked = 300 // against each server's redis-check-aof
	mutationsLoaded  = 100 // against the machine's own server, which takes longer
	// toolLimit is how long redis-check-aof may think about a set of 10 KB.
	toolLimit = 20 * time.Second
)

type namedSet struct {
	folder
	name string // of what is inspected
}

// mutate damages one file of a set, in a place or two.
func (n namedSet) mutate(random *rand.Rand) (mutated namedSet, what string) {
	files := maps.Clone(n.folder)
	names := slices.Sorted(maps.Keys(files))
	name := names[random.IntN(len(names))]
	data := slices.Clone(files[name])
	for range 1 + random.IntN(4)/3 {
		if len(data) > 0 {
			var how string
			data, how = damaged(random, data)
			what += fmt.Sprintf(" %s %s;", name, how)
		}
	}
	files[name] = data
	return namedSet{files, n.name}, what
}

func damaged(random *rand.Rand, data []byte) (mutated []byte, what string) {
	at := random.IntN(len(data))
	end := min(len(data), at+1+random.IntN(20))
	switch random.IntN(8) {
	case 0, 1:
		return data[:at], fmt.Sprintf("cut at %d", at)
	case 2, 3:
		data[at] ^= 1 << random.IntN(8)
		return data, fmt.Sprintf("at %d flipped to %q", at, data[at])
	case 4:
		data[at] = "\r\n*$#0123456789:- \x00"[random.IntN(19)]
		return data, fmt.Sprintf("at %d set to %q", at, data[at])
	case 5:
		return slices.Delete(data, at, end), fmt.Sprintf("from %d to %d removed", at, end)
	case 6:
		return slices.Insert(data, at, data[at:end]...), fmt.Sprintf("from %d to %d doubled", at, end)
	}
	return append(data[:at], make([]byte, 1+random.IntN(20))...), fmt.Sprintf("NUL bytes from %d", at)
}

// checkTool is redis-check-aof of one server.
type checkTool struct {
	servertest.Server
	reads []fixture
}

// verdict is what a tool says of a set.
type verdict struct {
	sound bool
	why   string // where it is not: the tool's mode, and its last words
	all   string // what it printed
}

// check asks the tool about a set, in a folder of its own.
func (c checkTool) check(ctx context.Context, dir string, n namedSet) (verdict, error) {
	if err := n.tryWrite(dir); err != nil {
		return verdict{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	command := exec.CommandContext(ctx, c.Tool("check-aof"), filepath.Join(dir, n.name))
	command.WaitDelay = toolLimit
	out, err := command.CombinedOutput()
	if err := os.RemoveAll(dir); err != nil {
		return verdict{}, err
	}
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		return verdict{sound: true}, nil
	case ctx.Err() != nil:
		return verdict{why: "no answer in time"}, nil
	case !errors.As(err, &exit):
		return verdict{}, err
	}
	mode, rest, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	lines := strings.Split(rest, "\n")
	return verdict{why: fmt.Sprintf("%s: %v: %s", mode, err, strings.Join(lines[max(0, len(lines)-4):], "; ")), all: string(out)}, nil
}

// checkTools are the machine's own tool and those of SLOTARK_SERVERS, each with
// the fixtures it finds sound.
func checkTools(t *testing.T) (tools []checkTool) {
	t.Helper()
	for _, s := range servertest.Servers(t) {
		tool := checkTool{Server: s}
		for _, f := range fixtures(t) {
			v, err := tool.check(t.Context(), filepath.Join(t.TempDir(), "set"), f.namedSet)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case v.sound:
				tool.reads = append(tool.reads, f)
			case f.hasValkeyDump() && unknownMagic.MatchString(v.all):
			case !f.isReadBy(s) && laterDump.MatchString(v.all):
			default:
				t.Errorf("%s is sound, %s %s says\n%s", f.path, s.Engine, s.Version, v.all)
			}
		}
		if len(tool.reads) < 7 {
			t.Errorf("%s %s reads only %d fixtures: too few to compare anything", s.Engine, s.Version, len(tool.reads))
		}
		t.Logf("%s %s reads %d fixtures", s.Engine, s.Version, len(tool.reads))
		tools = append(tools, tool)
	}
	return tools
}

// hasValkeyDump tells whether a set has a dump that begins with VALKEY.
func (f fixture) hasValkeyDump() bool {
	return f.engine == "valkey" && f.version >= "9" && f.what != "commands"
}

// isReadBy tells whether a server reads the dumps of a set: it is of the same
// engine and not older, or the dump is of the Redis both engines come from.
func (f fixture) isReadBy(s servertest.Server) bool {
	return f.engine == s.Engine && f.version <= s.Version || f.engine == "redis" && f.version < "7.4" || f.what == "commands"
}

// Every server's redis-check-aof finds every fixture sound whose dumps it can
// read, as this package does; and of mutated sets it says the same as this
// package, or differs in a way that the table of disagreements explains.
func TestAgree(t *testing.T) {
	n, seed := servertest.Mutations(t, mutationsChecked)
	for _, tool := range checkTools(t) {
		t.Run(tool.Engine+" "+tool.Version, func(t *testing.T) {
			servertest.Agree(t, n, seed, func(random *rand.Rand, dir string) (class, detail string, err error) {
				f := tool.reads[random.IntN(len(tool.reads))]
				mutated, what := f.mutate(random)
				report, err := mutated.tryInspect(mutated.name)
				if err != nil {
					return "", "", err
				}
				theirs, err := tool.check(t.Context(), filepath.Join(dir, "set"), mutated)
				if err != nil {
					return "", "", err
				}
				class, detail = compare(refusals(report, false), theirs.why, weSee, theySee)
				return class, filepath.Base(f.path) + what + " " + detail, nil
			})
		})
	}
}

// refusals are the findings that are errors; those that a server gets over only
// if they are asked for.
func refusals(report *aof.Report, recoverable bool) (errs []string) {
	for _, d := range report.Findings {
		if d.Severity == aof.Error && (!d.Recoverable || !recoverable) {
			errs = append(errs, d.Code+": "+d.Detail)
		}
	}
	return errs
}

// compare names the class of what both sides have against a set. Where only we
// refuse it, each of our reasons must be explained.
func compare(ours []string, theirs string, weSee, theySee []servertest.Disagreement) (class, detail string) {
	switch {
	case len(ours) == 0 && theirs == "":
		return "both find it sound", ""
	case len(ours) == 0:
		return servertest.Explain(theySee, theirs), theirs
	case theirs != "":
		return "both refuse it", ""
	}
	for _, finding := range ours {
		class, detail = servertest.Explain(weSee, finding), finding
		if !slices.ContainsFunc(weSee, func(d servertest.Disagreement) bool { return d.Class == class }) {
			break
		}
	}
	return class, detail
}

// start starts a server with a set and ends it at once, and tells why it did not
// start; "" if it did.
func (n namedSet) start(ctx context.Context, binary, dir string) (refused string, err error) {
	files := filepath.Join(dir, "appendonlydir")
	if n.name == oldName {
		files = dir
	}
	if err := n.tryWrite(files); err != nil {
		return "", err
	}
	process, err := redisproc.Start(ctx, redisproc.Options{Binary: binary, Dir: dir, Args: []string{"--save", "", "--appendonly", "yes"}})
	switch {
	case errors.Is(err, redisproc.ErrNoBinary):
		return "", err
	case err != nil:
		return err.Error(), os.RemoveAll(dir)
	}
	return "", errors.Join(process.Kill(), os.RemoveAll(dir))
}

// A server starts with a mutated set if, and only if, that is said here, or the
// tables say why not.
func TestAgreeWithServer(t *testing.T) {
	n, seed := servertest.Mutations(t, mutationsLoaded)
	own := servertest.Servers(t)[0]
	var readable []fixture
	for _, f := range fixtures(t) {
		if f.isReadBy(own) {
			readable = append(readable, f)
		}
	}
	servertest.Agree(t, n, seed, func(random *rand.Rand, dir string) (class, detail string, err error) {
		f := readable[random.IntN(len(readable))]
		mutated, what := f.mutate(random)
		report, err := mutated.tryInspect(mutated.name)
		if err != nil {
			return "", "", err
		}
		refused, err := mutated.start(t.Context(), own.Binary, filepath.Join(dir, "server"))
		if err != nil {
			return "", "", err
		}
		class, detail = compare(refusals(report, true), refused, serverPasses, serverSees)
		return class, filepath.Base(f.path) + what + " " + detail, nil
	})
}

// keyCount finds the keys of a database in INFO keyspace.
var keyCount = regexp.MustCompile(`db\d+:keys=(\d+)`)

// Every server starts with every fixture whose dumps it can read, not allowed to
// drop anything, and has all the keys that were written; it takes an old file
// over as the base of a set.
func TestFixturesLoad(t *testing.T) {
	stages := map[string]int{"before": 2, "during": 3, "after": 4, "commands": 2, "cluster": 2, "cluster-databases": 1, "old": 2}
	for _, own := range servertest.Servers(t) {
		for _, f := range fixtures(t) {
			if !f.isReadBy(own) {
				continue
			}
			dir := t.TempDir()
			if f.name == oldName {
				f.write(t, dir)
			} else {
				f.write(t, filepath.Join(dir, "appendonlydir"))
			}
			s, err := tryStart(t, own.Binary, dir, "--aof-load-truncated", "no")
			if err != nil {
				t.Errorf("%s: %v", f.path, err)
				continue
			}
			databases := len(manyDatabases)
			if f.what == "cluster" {
				databases = 1
			}
			keys := 0
			for _, match := range keyCount.FindAllStringSubmatch(s.do("INFO", "keyspace").(string), -1) {
				n, err := strconv.Atoi(match[1])
				if err != nil {
					t.Fatal(err)
				}
				keys += n
			}
			if want := databases * (stages[f.what]*stageKeys + 1); keys != want {
				t.Errorf("%s: %s %s has %d keys, want %d", f.path, own.Engine, own.Version, keys, want)
			}
			if taken := s.files()[oldName]; f.name == oldName && !bytes.Equal(taken, f.folder[oldName]) {
				t.Errorf("%s: the base that was taken over has %d bytes", f.path, len(taken))
			}
			s.kill()
		}
	}
}
