package rdb_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

const (
	// benchKeysVariable is how many keys the dump of BenchmarkCheckRDB has.
	benchKeysVariable = "SLOTARK_BENCH_KEYS"
	benchKeys         = 2_000_000
	// benchFolder keeps the dump from run to run. `make clean` removes it.
	benchFolder = "../../.tools/bench"
	benchRounds = 3
	// askedMiB is the most memory that checking a dump may take.
	askedMiB = 64
)

// contender is one way to check a dump.
type contender struct {
	name  string
	run   func(b *testing.B, path string)
	peak  func(b *testing.B, path string) (mib float64) // of another run; nil: not measured
	asked float64                                       // times as fast as redis-check-rdb; 0: nothing is asked
}

// contenders are what BenchmarkCheckRDB compares, redis-check-rdb first.
func contenders(program string) []contender {
	running := func(name string, asked float64, args ...string) contender {
		return contender{strings.Join(append([]string{filepath.Base(name)}, args...), " "),
			func(b *testing.B, path string) { runProgram(b, name, append(args, path)...) },
			func(b *testing.B, path string) float64 { return watchProgram(b, name, append(args, path)...) }, asked}
	}
	inspecting := func(name string, o rdb.InspectOptions) contender {
		return contender{name, func(b *testing.B, path string) { inspectFile(b, path, o) }, nil, 0}
	}
	return []contender{
		running("redis-check-rdb", 0),
		running(program, 10, "verify", "--level", "parse"),
		running(program, 4, "verify", "--level", "deep"),
		inspecting("rdb.Inspect", rdb.InspectOptions{}),
		inspecting("rdb.Inspect, Deep, Digest", rdb.InspectOptions{Deep: true, Digest: true}),
	}
}

// BenchmarkCheckRDB checks one dump of mixed keys in several ways, turn by turn
// in one run, and prints the best times beside that of redis-check-rdb, with
// what is asked of them and of the memory of slotark.
func BenchmarkCheckRDB(b *testing.B) {
	path, keys := benchDump(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(b.TempDir(), "slotark")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "../../cmd/slotark").CombinedOutput(); err != nil {
		b.Fatalf("build slotark: %v\n%s", err, out)
	}
	all := contenders(program)
	best, peak := make([]time.Duration, len(all)), make([]float64, len(all))
	for b.Loop() {
		for i := range best {
			best[i], peak[i] = math.MaxInt64, 0
		}
		// In turn, so that whatever else the machine does meets all of them;
		// the file is in the page cache from the first on.
		for range benchRounds {
			for i, c := range all {
				started := time.Now()
				c.run(b, path)
				best[i] = min(best[i], time.Since(started))
			}
		}
		// Apart: who is looked at two hundred times a second does not have both
		// processors to itself.
		for i, c := range all {
			if c.peak != nil {
				peak[i] = c.peak(b, path)
			}
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(&text, "%d keys, %d MB, best of %d; asked of slotark: under %d MiB\n", keys, info.Size()/1_000_000, benchRounds, askedMiB)
	fmt.Fprintln(w, "\tseconds\tMB/s\ttimes as fast\tasked\tpeak MiB\t")
	for i, c := range all {
		ratio := best[0].Seconds() / best[i].Seconds()
		fmt.Fprintf(w, "%s\t%.2f\t%.0f\t%.1f\t%s\t%s\t\n", c.name, best[i].Seconds(), float64(info.Size())/1e6/best[i].Seconds(), ratio, figure(c.asked), figure(peak[i]))
		b.ReportMetric(ratio, strings.ReplaceAll(c.name, " ", "-")+"-x")
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Log(text.String())
}

// figure writes a number, or a dash where there is none.
func figure(n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", n)
}

// benchDump is a dump of mixed keys, made once by a real server.
func benchDump(b *testing.B) (path string, keys int) {
	keys = benchKeys
	if text := os.Getenv(benchKeysVariable); text != "" {
		var err error
		if keys, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	path = filepath.Join(benchFolder, fmt.Sprintf("mixed-%d.rdb", keys))
	if _, err := os.Stat(path); err == nil {
		return path, keys
	}
	s := startServer(b, "--list-compress-depth", "0")
	// The loader asks a shard's address only.
	topology := &cluster.Topology{Shards: []cluster.Shard{{Slots: slot.Full(), Primary: cluster.Member{Addr: s.Options().Addr}}}}
	if _, err := dataset.Load(b.Context(), &cluster.Access{}, topology, dataset.Options{Keys: keys, Seed: 1}); err != nil {
		b.Fatal(err)
	}
	if err := s.Do(context.WithoutCancel(b.Context()), "BGSAVE").Err(); err != nil {
		b.Fatal(err)
	}
	for range time.Tick(100 * time.Millisecond) {
		if info := s.do("INFO", "persistence").(string); strings.Contains(info, "rdb_bgsave_in_progress:0") {
			break
		}
	}
	if err := os.MkdirAll(benchFolder, 0o755); err != nil {
		b.Fatal(err)
	}
	moved, err := exec.Command("mv", filepath.Join(s.dir, "dump.rdb"), path).CombinedOutput()
	if err != nil {
		b.Fatalf("keep the dump: %v\n%s", err, moved)
	}
	return path, keys
}

func inspectFile(b *testing.B, path string, o rdb.InspectOptions) {
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	o.Size = info.Size()
	if _, err := rdb.Inspect(b.Context(), file, o); err != nil {
		b.Fatal(err)
	}
}

func runProgram(b *testing.B, name string, args ...string) {
	if err := exec.Command(name, args...).Run(); err != nil {
		b.Fatalf("%s %v: %v", name, args, err)
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// watchProgram runs a program and returns the most memory it had resident, where
// /proc tells. The usage that wait reports would not do: a child begins with
// the high-water mark of the process that forked it.
func watchProgram(b *testing.B, name string, args ...string) (peakMiB float64) {
	command := exec.Command(name, args...)
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				b.Fatalf("%s %v: %v", name, args, err)
			}
			return peakMiB
		case <-ticker.C:
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
			if match := highWater.FindSubmatch(status); err == nil && match != nil {
				if kib, err := strconv.ParseFloat(string(match[1]), 64); err == nil {
					peakMiB = max(peakMiB, kib/1024)
				}
			}
		}
	}
}
