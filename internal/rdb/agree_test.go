package rdb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/servertest"
)

const (
	mutations = 300
	// toolLimit is how long redis-check-rdb may think about a dump of 60 KB.
	toolLimit = 20 * time.Second
)

// oracle is a program of a server that judges dumps: redis-check-rdb, or the
// server itself when it loads one.
type oracle struct {
	path, version string // "valkey 9.1.2"
	judge         func(ctx context.Context, path, dump string) (verdict, error)
	reads         []dumpFile
	weSee         []servertest.Disagreement // what it passes and this package refuses
	theySee       []servertest.Disagreement // what it refuses and this package passes
}

// verdict is what an oracle says of a dump.
type verdict struct {
	sound bool
	keys  int64  // how many it found; -1: it does not count them
	why   string // its last words where it is not sound
}

// checkTools are the machine's own redis-check-rdb and those of SLOTARK_SERVERS.
func checkTools(t *testing.T) (tools []oracle) {
	t.Helper()
	for _, s := range servertest.Servers(t) {
		tools = append(tools, oracle{path: s.Tool("check-rdb"), version: s.Engine + " " + s.Version, judge: checkDump,
			weSee: slices.Concat(weSee, toolPasses), theySee: theySee})
	}
	return tools
}

var offsetPrefix = regexp.MustCompile(`^\[offset \d+\] `)

// checkDump asks redis-check-rdb about a dump.
func checkDump(ctx context.Context, path, dump string) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	command := exec.CommandContext(ctx, path, dump)
	command.WaitDelay = toolLimit
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
	n, seed := servertest.Mutations(t, mutations)
	agreeOnMutations(t, checkTools(t), seed, n)
}

// agreeOnMutations holds n mutations of the fixtures it reads against each
// oracle: none knows the formats of later versions.
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
		t.Run(o.version, func(t *testing.T) {
			servertest.Agree(t, n, seed, func(rng *rand.Rand, dir string) (class, detail string, err error) {
				file := o.reads[rng.IntN(len(o.reads))]
				class, detail, err = o.compare(t.Context(), filepath.Join(dir, "dump.rdb"), mutate(rng, file.data))
				return class, filepath.Base(file.path) + ": " + detail, err
			})
		})
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
		return servertest.Explain(o.theySee, theirs.why), theirs.why, nil
	case !theirs.sound:
		return "both refuse it", "", nil
	case errors.As(damaged, &ours):
		finding := ours.Code + ": " + ours.Detail
		return servertest.Explain(o.weSee, finding), finding, nil
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
