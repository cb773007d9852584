package restore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
)

const (
	// benchDumps is where the benchmark of internal/rdb, which `make bench` runs
	// before this one, keeps its dump.
	benchDumps  = "../.tools/bench/mixed-*.rdb"
	benchRounds = 3
	// benchWait bounds how long a server may take to load.
	benchWait = 5 * time.Minute
	// benchEvery is how often a server is asked whether it has loaded.
	benchEvery = 10 * time.Millisecond
)

// BenchmarkRestore restores a snapshot of one shard, compressed in a folder, beside
// what a server takes to load the same dump when it starts: seeded, from the store to
// cluster_state:ok; replayed into a running node; and one key by its name. Turn by
// turn; of each the best round.
func BenchmarkRestore(b *testing.B) {
	bench := newRestoreBench(b)
	for b.Loop() {
		rounds := map[string][]time.Duration{}
		peaks := map[string]float64{}
		note := func(name string, took time.Duration) { rounds[name] = append(rounds[name], took) }
		for range benchRounds {
			loaded, whole := bench.start(bench.dumpFolder())
			note("load", loaded)
			note("start", whole)
			took, peak := bench.seed()
			note("seed", took)
			peaks["seed"] = max(peaks["seed"], peak)
			load, all, peak := bench.replay()
			note("replay", load)
			note("replay, compared", all)
			peaks["replay"] = max(peaks["replay"], peak)
			one, peak := bench.oneKey()
			note("one key", one)
			peaks["one key"] = max(peaks["one key"], peak)
		}
		bench.print(rounds, peaks)
	}
}

// restoreBench is the snapshot that is restored, and slotark's program.
type restoreBench struct {
	*testing.B
	program, repo, dump string
	key                 string // one of the snapshot's
	megabytes           float64
}

func newRestoreBench(b *testing.B) *restoreBench {
	b.Helper()
	found, err := filepath.Glob(benchDumps)
	if err != nil || len(found) == 0 {
		b.Fatalf("no %s: run BenchmarkCheckRDB of internal/rdb first, as make bench does", benchDumps)
	}
	bench := &restoreBench{B: b, dump: found[0], program: filepath.Join(b.TempDir(), "slotark"), repo: filepath.Join(b.TempDir(), "repo")}
	info, err := os.Stat(bench.dump)
	if err != nil {
		b.Fatal(err)
	}
	bench.megabytes = float64(info.Size()) / 1e6
	bench.run("go", "build", "-trimpath", "-o", bench.program, "../cmd/slotark")
	source := bench.server(bench.dumpFolder(), 0)
	defer bench.end(source)
	node := source.Access().Open(source.Addr())
	defer node.Close()
	bench.await(node, "CLUSTER INFO", "cluster_state:ok") // a node takes the slots of the keys that it finds
	for range 100 {                                       // no argument of a program holds a zero byte, as some keys do
		if bench.key, err = node.Text(b.Context(), "RANDOMKEY"); err != nil {
			b.Fatal(err)
		}
		if !strings.Contains(bench.key, "\x00") {
			break
		}
	}
	bench.run(bench.program, "snapshot", "--node", source.Addr(), "--cluster", "bench", "--repo", bench.repo, "--collect", "bgsave")
	return bench
}

// dumpFolder is a server's folder with the dump.
func (r *restoreBench) dumpFolder() string {
	r.Helper()
	dir := r.folder()
	r.run("cp", "--reflink=auto", r.dump, filepath.Join(dir, "dump.rdb"))
	return dir
}

func (r *restoreBench) folder() string {
	r.Helper()
	dir, err := os.MkdirTemp(r.TempDir(), "")
	if err != nil {
		r.Fatal(err)
	}
	return dir
}

// server starts a node on a folder, and waits until it has loaded what is there.
func (r *restoreBench) server(dir string, port int) *redisproc.Process {
	r.Helper()
	p, err := redisproc.Start(r.Context(), redisproc.Options{Dir: dir, Port: port, Args: []string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--appendonly", "no", "--save", ""}})
	if err != nil {
		r.Fatal(err)
	}
	node := p.Access().Open(p.Addr())
	defer node.Close()
	r.await(node, "INFO persistence", "loading:0")
	return p
}

// await waits until an answer says something.
func (r *restoreBench) await(node *cluster.Node, command, says string) {
	r.Helper()
	limit := time.After(benchWait)
	tick := time.NewTicker(benchEvery)
	defer tick.Stop()
	words := bytes.Fields([]byte(command))
	for {
		text, err := node.Text(r.Context(), string(words[0]), string(words[1]))
		if err == nil && bytes.Contains([]byte(text), []byte(says)) {
			return
		}
		select {
		case <-limit:
			r.Fatalf("%s does not say %s: %s, %v", command, says, text, err)
		case <-tick.C:
		}
	}
}

func (r *restoreBench) end(p *redisproc.Process) {
	r.Helper()
	if err := p.Kill(); err != nil {
		r.Error(err)
	}
	if err := os.RemoveAll(p.Dir()); err != nil {
		r.Error(err)
	}
}

// start is a node that starts with the dump: until it has loaded it, and until it
// finds its cluster whole.
func (r *restoreBench) start(dir string) (loaded, whole time.Duration) {
	r.Helper()
	r.run("sync")
	started := clock.Now()
	p := r.server(dir, 0)
	defer r.end(p)
	loaded = clock.Since(started)
	node := p.Access().Open(p.Addr())
	defer node.Close()
	r.await(node, "CLUSTER INFO", "cluster_state:ok")
	return loaded, clock.Since(started)
}

// seed writes a node's folder and starts the node.
func (r *restoreBench) seed() (took time.Duration, peakMiB float64) {
	r.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 1)
	if err != nil {
		r.Fatal(err)
	}
	dir := filepath.Join(r.folder(), "seeded")
	r.run("sync")
	started := clock.Now()
	_, peakMiB = r.slotark("restore", "latest", "--repo", r.repo, "--to-dir", dir, "--at", fmt.Sprint("127.0.0.1:", ports[0]))
	folders, err := filepath.Glob(filepath.Join(dir, "*primary"))
	if err != nil || len(folders) != 1 {
		r.Fatalf("the folders are %v, %v", folders, err)
	}
	p := r.server(folders[0], ports[0])
	defer r.end(p)
	node := p.Access().Open(p.Addr())
	defer node.Close()
	r.await(node, "CLUSTER INFO", "cluster_state:ok")
	return clock.Since(started), peakMiB
}

// replay sends all to a node: how long the sending took, and all of it.
func (r *restoreBench) replay() (load, all time.Duration, peakMiB float64) {
	r.Helper()
	p := r.server(r.folder(), 0)
	defer r.end(p)
	r.run("sync")
	started := clock.Now()
	output, peakMiB := r.slotark("restore", "latest", "--repo", r.repo, "--to", p.Addr(), "--json")
	all = clock.Since(started)
	for line := range bytes.Lines(output) {
		var message struct {
			Type   string `json:"message_type"`
			Phases []struct {
				Name    string  `json:"name"`
				Seconds float64 `json:"elapsed_seconds"`
			} `json:"phases"`
		}
		if err := json.Unmarshal(line, &message); err != nil {
			r.Fatal(err)
		}
		for _, phase := range message.Phases {
			if phase.Name == "load" {
				load = time.Duration(phase.Seconds * float64(time.Second))
			}
		}
	}
	if load == 0 {
		r.Fatalf("no phase load in %s", output)
	}
	return load, all, peakMiB
}

// oneKey takes one key out, by its name.
func (r *restoreBench) oneKey() (took time.Duration, peakMiB float64) {
	r.Helper()
	out := filepath.Join(r.folder(), "key.rdb")
	started := clock.Now()
	_, peakMiB = r.slotark("restore", "latest", "--repo", r.repo, "--key", r.key, "--out", out)
	return clock.Since(started), peakMiB
}

func (r *restoreBench) print(rounds map[string][]time.Duration, peaks map[string]float64) {
	best := func(name string) float64 { return slices.Min(rounds[name]).Seconds() }
	fmt.Fprintf(os.Stdout, "\na snapshot of a dump of %.0f MB, compressed in a folder; ratios are to the server's own load\n", r.megabytes)
	row := func(name, what, asked string) {
		peak := ""
		if peaks[name] > 0 {
			peak = fmt.Sprintf(", %.0f MiB at its peak, asked: below 256", peaks[name])
		}
		fmt.Fprintf(os.Stdout, "%-52s %6.2f s  %.2f%s%s\n", what, best(name), best(name)/best("load"), asked, peak)
	}
	row("load", "a server starts and loads the dump", "")
	row("start", "and finds its cluster whole", "")
	row("seed", "seed, from the store to cluster_state:ok", ", asked: at most 1.50")
	row("replay", "replay: RESTORE of every key", ", asked: at most 1.80")
	row("replay, compared", "replay, from its check to its comparison", "")
	row("one key", "one key by its name", ", asked: less than 1 s")
}

// run runs a program that is to succeed.
func (r *restoreBench) run(name string, args ...string) {
	r.Helper()
	if output, err := exec.CommandContext(r.Context(), name, args...).CombinedOutput(); err != nil {
		r.Fatalf("%s %v: %v\n%s", name, args, err, output)
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// slotark runs the program and returns what it printed, and the most memory that it
// had resident.
func (r *restoreBench) slotark(args ...string) (output []byte, peakMiB float64) {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), r.program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(benchEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				r.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.Bytes())
			}
			return stdout.Bytes(), peakMiB
		case <-tick.C:
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // it may have ended
			if found := highWater.FindSubmatch(status); found != nil {
				if kib, err := strconv.ParseFloat(string(found[1]), 64); err == nil {
					peakMiB = max(peakMiB, kib/1024)
				}
			}
		}
	}
}
