package rdb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/redisproc"
)

const (
	// mutationsVariable is how many mutated dumps TestAgreeOnMutations tries.
	mutationsVariable = "SLOTARK_MUTATIONS"
	// seedVariable repeats a run: the i-th mutation depends on it and i alone.
	seedVariable = "SLOTARK_SEED"

	// Without these variables every run is the same: the search for classes of
	// disagreement nobody has seen is not the business of every `make test`.
	mutations    = 300
	mutationSeed = 1
	// toolLimit is how long redis-check-rdb may think about a dump of 60 KB.
	toolLimit = 20 * time.Second
)

// oracle is a program of a server that judges dumps: redis-check-rdb, or the
// server itself when it loads one.
type oracle struct {
	path, version string // "valkey 9.1.2"
	judge         func(ctx context.Context, path, dump string) (verdict, error)
	reads         []dumpFile
	weSee         []disagreement // what it passes and this package refuses
	theySee       []disagreement // what it refuses and this package passes
}

// verdict is what an oracle says of a dump.
type verdict struct {
	sound bool
	keys  int64  // how many it found; -1: it does not count them
	why   string // its last words where it is not sound
}

// checkTools are the machine's own tool and those of SLOTARK_SERVERS, each with
// the fixtures it can read: none knows the formats of later versions.
func checkTools(t *testing.T) []oracle {
	t.Helper()
	own, err := exec.LookPath("redis-check-rdb")
	if err != nil {
		if own, err = exec.LookPath("valkey-check-rdb"); err != nil {
			t.Fatalf("find redis-check-rdb (make deps installs it): %v", err)
		}
	}
	var tools []oracle
	for _, path := range append([]string{own}, inServers("redis-check-rdb", "valkey-check-rdb")...) {
		// Not every tool tells its version; the server beside it does.
		engine, number, err := redisproc.Version(strings.TrimSuffix(path, "-check-rdb") + "-server")
		if err != nil {
			t.Fatal(err)
		}
		version := engine + " " + number
		if !slices.ContainsFunc(tools, func(o oracle) bool { return o.version == version }) {
			tools = append(tools, oracle{path: path, version: version, judge: checkDump,
				weSee: slices.Concat(weSee, toolPasses), theySee: theySee})
		}
	}
	return tools
}

var offsetPrefix = regexp.MustCompile(`^\[offset \d+\] `)

// checkDump asks redis-check-rdb about a dump.
func checkDump(ctx context.Context, path, dump string) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	command := exec.CommandContext(ctx, path, dump)
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	if err == nil {
		return verdict{sound: true, keys: -1}, nil
	}
	var ended *exec.ExitError
	if ctx.Err() != nil {
		return verdict{why: "no answer in time"}, nil
	} else if !errors.As(err, &ended) {
		return verdict{}, err
	}
	lines := strings.Split(string(out), "\n")
	for i, line := range lines {
		if line == "--- RDB ERROR DETECTED ---" && i+1 < len(lines) {
			return verdict{why: offsetPrefix.ReplaceAllString(lines[i+1], "")}, nil
		}
	}
	return verdict{why: fmt.Sprintf("%v: %s", ended, lines[max(0, len(lines)-2)])}, nil
}

// expected is what a tool cannot read by its nature, and says so at once.
var expected = regexp.MustCompile(`^(Can't handle RDB format version|Wrong signature|Unknown object type|Invalid object type)`)

// Every server's redis-check-rdb finds every fixture sound that is of its own
// version or an older one of its family, as this package does.
func TestAgreeOnFixtures(t *testing.T) {
	for _, tool := range checkTools(t) {
		t.Run(tool.version, func(t *testing.T) {
			engine, version, _ := strings.Cut(tool.version, " ")
			read := 0
			for _, file := range dumpFiles(t) {
				v, err := tool.judge(t.Context(), tool.path, file.path)
				switch {
				case err != nil:
					t.Fatal(err)
				case v.sound:
					read++
				case file.engine == engine && file.version <= version || !expected.MatchString(v.why):
					t.Errorf("%s is sound, the tool says %q", file.path, v.why)
				}
			}
			t.Logf("%d fixtures read", read)
			if read < 7 {
				t.Error("too few fixtures were read to compare anything")
			}
		})
	}
}

// A mutated dump gets a true checksum, so that structure decides and not the
// CRC: this package and redis-check-rdb then say the same of it, or differ in a
// way that the table of disagreements explains.
func TestAgreeOnMutations(t *testing.T) {
	n, seed := envNumber(t, mutationsVariable, 0), uint64(mutationSeed)
	if n == 0 {
		n = mutations
	} else {
		seed = rand.Uint64()
	}
	seed = envNumber(t, seedVariable, seed)
	t.Logf("seed %d", seed)
	agreeOnMutations(t, checkTools(t), seed, n)
}

// agreeOnMutations holds n mutations of the fixtures it reads against each oracle.
func agreeOnMutations(t *testing.T, oracles []oracle, seed, n uint64) {
	files := dumpFiles(t)
	for _, o := range oracles {
		for _, file := range files {
			v, err := o.judge(t.Context(), o.path, file.path)
			if err != nil {
				t.Fatal(err)
			}
			if v.sound {
				o.reads = append(o.reads, file)
			}
		}
		t.Run(o.version, func(t *testing.T) { agreeWith(t, o, seed, n) })
	}
}

func envNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return otherwise
}

func agreeWith(t *testing.T, o oracle, seed, n uint64) {
	var mu sync.Mutex
	classes, examples := map[string]int{}, map[string]string{}
	next := make(chan uint64)
	var workers sync.WaitGroup
	for worker := range runtime.GOMAXPROCS(0) {
		path := filepath.Join(t.TempDir(), fmt.Sprint(worker, ".rdb"))
		workers.Go(func() {
			for i := range next {
				rng := rand.New(rand.NewPCG(seed, i))
				file := o.reads[rng.IntN(len(o.reads))]
				data := mutate(rng, file.data)
				class, detail, err := o.compare(t.Context(), path, data)
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				if classes[class]++; classes[class] == 1 {
					examples[class] = fmt.Sprintf("%s=%d, mutation %d of %s: %s", seedVariable, seed, i, filepath.Base(file.path), detail)
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		switch {
		case strings.HasPrefix(class, "unexplained"):
			t.Errorf("%d times %s: %s", classes[class], class, examples[class])
		default:
			t.Logf("%6d %s  %s", classes[class], class, examples[class])
		}
	}
}

// compare asks both about a dump and names the class of what they say.
func (o oracle) compare(ctx context.Context, path string, data []byte) (class, detail string, err error) {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", "", err
	}
	theirs, err := o.judge(ctx, o.path, path)
	if err != nil {
		return "", "", err
	}
	report, damaged, err := judge(data)
	if err != nil {
		return "", "", err
	}
	switch ours := (*rdb.Damage)(nil); {
	case damaged == nil && theirs.sound && theirs.keys >= 0 && theirs.keys != int64(report.Keys):
		return "unexplained: other numbers of keys", fmt.Sprintf("%d, and %d by this package", theirs.keys, report.Keys), nil
	case damaged == nil && theirs.sound:
		return "both find it sound", "", nil
	case damaged == nil:
		return explain(o.theySee, theirs.why)
	case !theirs.sound:
		return "both refuse it", "", nil
	case errors.As(damaged, &ours):
		return explain(o.weSee, ours.Code+": "+ours.Detail)
	}
	return "", "", damaged
}

// judge is what this package says of a dump with every check it has. Looking for
// names that come twice finds those and changes no other judgement.
func judge(data []byte) (report *rdb.Report, damaged, err error) {
	o := rdb.InspectOptions{Size: int64(len(data)), Deep: true, Digest: true}
	_, without := inspect(data, o)
	o.Duplicates = true
	report, damaged = inspect(data, o)
	if code(damaged) != rdb.CodeDuplicate && fmt.Sprint(damaged) != fmt.Sprint(without) {
		return nil, nil, fmt.Errorf("with names that come twice: %v; without: %v", damaged, without)
	}
	return report, damaged, nil
}

// explain finds what a disagreement is.
func explain(table []disagreement, finding string) (class, detail string, err error) {
	for _, d := range table {
		if d.finding.MatchString(finding) {
			return d.class, finding, nil
		}
	}
	general := digitRuns.ReplaceAllString(quoted.ReplaceAllString(finding, "…"), "#")
	return "unexplained: " + general, finding, nil
}

var (
	quoted    = regexp.MustCompile(`"([^"\\]|\\.)*"`)
	digitRuns = regexp.MustCompile(`[0-9]+`)
)

// interesting are bytes that begin something in a dump: lengths and encodings
// at their limits, types, opcodes.
var interesting = []byte{0, 1, 2, 3, 7, 0x0e, 0x12, 0x13, 0x16, 0x18, 0x19, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xdf,
	0xe0, 0xef, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff}

// mutate changes a dump in one to three places between header and footer, and
// makes its checksum true again.
func mutate(rng *rand.Rand, dump []byte) []byte {
	const header, footer = 9, 8
	checksum := binary.LittleEndian.Uint64(dump[len(dump)-footer:]) != 0
	data := slices.Clone(dump[:len(dump)-footer])
	for range 1 + rng.IntN(3) {
		if len(data) <= header+1 {
			break
		}
		at := header + rng.IntN(len(data)-header)
		run := min(1+rng.IntN(8), len(data)-at)
		from := header + rng.IntN(len(data)-run-header+1)
		switch rng.IntN(9) {
		case 0, 1:
			data[at] ^= 1 << rng.IntN(8)
		case 2:
			data[at] = interesting[rng.IntN(len(interesting))]
		case 3:
			data[at] += byte(rng.IntN(5) - 2)
		case 4:
			data = slices.Insert(data, at, interesting[rng.IntN(len(interesting))])
		case 5:
			data = slices.Delete(data, at, at+run)
		case 6:
			copy(data[at:at+run], slices.Clone(data[from:from+run]))
		case 7:
			length := min(rng.IntN(400), len(data)-from)
			data = slices.Insert(data, at, slices.Clone(data[from:from+length])...)
		case 8:
			clear(data[at : at+run])
		}
	}
	sum := uint64(0)
	if checksum {
		sum = rdb.UpdateCRC64(0, data)
	}
	return binary.LittleEndian.AppendUint64(data, sum)
}
