package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/storage/sealtest"
)

const (
	// benchKeysVariable is how many keys the benchmarked cluster has, as the
	// dump of internal/rdb's benchmark.
	benchKeysVariable = "SLOTARK_BENCH_KEYS"
	benchKeys         = 2_000_000
	benchShards       = 3
	clusterRounds     = 3
	// savedLimit is how long the nodes may take to save, all at once.
	savedLimit = 10 * time.Minute
	// benchFolder keeps the shards' dumps from run to run. `make clean` removes it.
	benchFolder = "../.tools/bench"
	// askedMiB is the most memory that the coordinator may take.
	askedMiB = 256
	// peakEvery is how often a program's memory is read: the kernel keeps the
	// highest, so only what it grows by right before its end can be missed.
	peakEvery = 10 * time.Millisecond
)

// The writer of the latencies.
const (
	pacedRate    = 2000 // SET a second, all shards together
	pacedKeys    = 50_000
	pacedSize    = 100 // bytes of each value
	pacedIdle    = 5 * time.Second
	pacedRounds  = 3
	pacedTimeout = time.Minute
)

// BenchmarkClusterSnapshot takes snapshots of a cluster of three shards, each
// inspected, sealed and put into two folders, beside what `redis-cli --cluster
// backup` takes to write bare files. Then it measures how long a client's writes
// take meanwhile, beside those during a bare BGSAVE. Turn by turn; of each the
// best round, and the median of the rounds' ratios.
func BenchmarkClusterSnapshot(b *testing.B) {
	bench := &clusterBench{B: b, program: buildProgram(b)}
	bench.start()
	bench.recipient = sealtest.NewKey(b).Public
	for b.Loop() {
		bench.compareTimes()
		bench.compareLatencies()
	}
}

// clusterBench is the cluster that is benchmarked, and slotark's program.
type clusterBench struct {
	*testing.B
	*clustertest.Cluster
	program   string
	recipient string
	megabytes float64 // of its dumps
}

// start starts a cluster with keys of every kind. Its shards' dumps are made
// once, by loading the keys.
func (c *clusterBench) start() {
	c.Helper()
	keys := benchKeys
	if text := os.Getenv(benchKeysVariable); text != "" {
		var err error
		if keys, err = strconv.Atoi(text); err != nil {
			c.Fatal(err)
		}
	}
	c.Cluster = clustertest.Start(c, clustertest.Options{Primaries: benchShards})
	dumps := make([]string, benchShards)
	made := true
	for i := range dumps {
		dumps[i] = filepath.Join(benchFolder, fmt.Sprintf("cluster-%d-%d.rdb", keys, i))
		_, err := os.Stat(dumps[i])
		made = made && err == nil
	}
	if made {
		c.seed(dumps)
	} else {
		c.load(keys, dumps)
	}
	for _, dump := range dumps {
		c.megabytes += fileMegabytes(c.B, dump)
	}
}

// seed has the nodes load dumps: minutes less than loading the keys.
func (c *clusterBench) seed(dumps []string) {
	c.Helper()
	c.Kill()
	for i, node := range c.Nodes {
		external(c.B, "cp", dumps[i], filepath.Join(node.Proc.Dir(), "dump.rdb"))
		c.Restart(c, node)
	}
	c.WaitHealthy(c)
}

// load loads keys, and keeps the dumps. No key expires: the dumps are kept for
// days, and are to stay as large.
func (c *clusterBench) load(keys int, dumps []string) {
	c.Helper()
	topology, err := cluster.Discover(c.Context(), c.Access(), c.Addrs())
	if err == nil {
		_, err = dataset.Load(c.Context(), c.Access(), topology, dataset.Options{Keys: keys, Seed: 1, ExpiringShare: -1})
	}
	if err == nil {
		err = os.MkdirAll(benchFolder, 0o755)
	}
	if err != nil {
		c.Fatal(err)
	}
	c.bgsave()
	for i, node := range c.Nodes {
		// A dump of half its length is none: it gets its name when it is whole.
		external(c.B, "cp", filepath.Join(node.Proc.Dir(), "dump.rdb"), dumps[i]+".part")
		if err := os.Rename(dumps[i]+".part", dumps[i]); err != nil {
			c.Fatal(err)
		}
	}
}

// bgsave has all nodes save at once, and waits until they have.
func (c *clusterBench) bgsave() {
	c.Helper()
	for _, node := range c.Nodes {
		client := c.Access().Open(node.Addr())
		_, err := client.Do(c.Context(), "BGSAVE")
		if err := errors.Join(err, client.Close()); err != nil {
			c.Fatal(err)
		}
	}
	clustertest.Eventually(c, savedLimit, func(ctx context.Context) error {
		for _, node := range c.Nodes {
			client := c.Access().Open(node.Addr())
			info, err := client.Info(ctx, "persistence")
			if err := errors.Join(err, client.Close()); err != nil {
				return err
			}
			if info.Int("rdb_bgsave_in_progress") != 0 || info["rdb_last_bgsave_status"] != "ok" {
				return fmt.Errorf("%s has not saved yet; its last save: %s", node.Addr(), info["rdb_last_bgsave_status"])
			}
		}
		return nil
	})
}

// snapshotter is a contender that runs slotark, and the most memory it took.
type snapshotter struct {
	contender
	peakMiB float64
}

// snapshotter takes snapshots by slotark, each into two folders of its own.
func (c *clusterBench) snapshotter(name string, args ...string) *snapshotter {
	s := &snapshotter{contender: contender{name: name}}
	s.do = func() cost {
		folder := c.folder()
		defer os.RemoveAll(folder)
		args := append([]string{
			"snapshot", "--node", c.Addrs()[0], "--cluster", "bench",
			"--repo", filepath.Join(folder, "one"), "--mirror", filepath.Join(folder, "two"),
		}, args...)
		took, peak := runProgram(c.B, c.program, args...)
		s.peakMiB = max(s.peakMiB, peak)
		return took
	}
	return s
}

// backup is redis-cli's own backup: bare files in one folder.
func (c *clusterBench) backup() cost {
	folder := c.folder()
	defer os.RemoveAll(folder)
	took, _ := runProgram(c.B, "redis-cli", "--cluster", "backup", c.Addrs()[0], folder)
	return took
}

func (c *clusterBench) folder() string {
	c.Helper()
	folder, err := os.MkdirTemp(c.TempDir(), "backup")
	if err != nil {
		c.Fatal(err)
	}
	return folder
}

// compareTimes prints what snapshots cost beside redis-cli's backup.
func (c *clusterBench) compareTimes() {
	backup := &contender{name: "redis-cli --cluster backup, bare files", do: c.backup}
	encrypted := []string{"--recipient", c.recipient}
	// As a cluster forks whose nodes have machines of their own. Here they share
	// one, and by default fork one after another, which is what redis-cli does.
	together := append(slices.Clone(encrypted), "--forks", "together", "--max-skew", "1m")
	all := []*snapshotter{
		c.snapshotter("snapshot, two folders", "--collect", "bgsave"),
		c.snapshotter("snapshot, encrypted, two folders", append(slices.Clone(encrypted), "--collect", "bgsave")...),
		c.snapshotter("snapshot by stream, two folders", "--collect", "stream"),
		c.snapshotter("snapshot by stream, encrypted, two folders", append(slices.Clone(encrypted), "--collect", "stream")...),
		c.snapshotter("snapshot, forks together, encrypted", append(slices.Clone(together), "--collect", "bgsave")...),
		c.snapshotter("snapshot by stream, together, encrypted", append(slices.Clone(together), "--collect", "stream")...),
	}
	turns := []*contender{backup}
	for _, s := range all {
		turns = append(turns, &s.contender)
	}
	for range clusterRounds {
		for _, contender := range turns {
			syscall.Sync() // what the one before left to the disk is not its cost
			contender.rounds = append(contender.rounds, contender.do())
		}
	}
	fmt.Fprintf(os.Stdout, "\na cluster of %d shards with dumps of %.0f MB in all, %d rounds; ratios are of elapsed and of processor time, the nodes' own left out\n",
		len(c.Nodes), c.megabytes, clusterRounds)
	backup.row(c.megabytes, backup, "")
	for _, s := range all {
		s.row(c.megabytes, backup, fmt.Sprintf(", asked: at most 1.00; %.0f MiB at its peak, asked: below %d", s.peakMiB, askedMiB))
	}
}

// compareLatencies prints how long a client's writes take while the cluster is
// left alone, saves, or is captured.
func (c *clusterBench) compareLatencies() {
	turns := []struct {
		name      string
		meanwhile func()
		took      []time.Duration
	}{
		{name: "idle", meanwhile: func() {
			timer := time.NewTimer(pacedIdle)
			defer timer.Stop()
			<-timer.C
		}},
		{name: "a bare BGSAVE of all nodes", meanwhile: c.bgsave},
		{name: "redis-cli --cluster backup", meanwhile: func() { c.backup() }},
		{name: "a snapshot", meanwhile: func() { c.snapshotter("", "--collect", "bgsave").do() }},
		{name: "a snapshot by stream", meanwhile: func() { c.snapshotter("", "--collect", "stream").do() }},
	}
	writers := c.writers()
	for range pacedRounds {
		for i := range turns {
			syscall.Sync()
			turns[i].took = append(turns[i].took, writers.during(c.B, turns[i].meanwhile)...)
		}
	}
	fmt.Fprintf(os.Stdout, "\na client's %d SET/s over %d connections, %d rounds; latency in ms\n%-34s %9s %8s %8s %8s %8s\n",
		pacedRate, len(writers), pacedRounds, "during", "writes", "p50", "p99", "p99.9", "max")
	for _, turn := range turns {
		slices.Sort(turn.took)
		fmt.Fprintf(os.Stdout, "%-34s %9d %8.2f %8.2f %8.2f %8.2f\n", turn.name, len(turn.took),
			quantile(turn.took, 0.5), quantile(turn.took, 0.99), quantile(turn.took, 0.999), quantile(turn.took, 1))
	}
}

// quantile is one of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return float64(sorted[max(0, at)].Microseconds()) / 1e3
}

// pacedWriters write to one node each.
type pacedWriters []*pacedWriter

type pacedWriter struct {
	addr   string
	access *cluster.Access
	keys   []string
	next   int
	took   []time.Duration
}

// writers are one for each node, with keys of its slots, so many that what they
// write lies in many pages, which a fork has shared.
func (c *clusterBench) writers() pacedWriters {
	all := make(pacedWriters, len(c.Nodes))
	for i, node := range c.Nodes {
		w := &pacedWriter{addr: node.Addr(), access: c.Access()}
		for n := 0; len(w.keys) < pacedKeys/len(c.Nodes); n++ {
			if key := fmt.Sprintf("paced:%d", n); node.Slots.Contains(slot.Of([]byte(key))) {
				w.keys = append(w.keys, key)
			}
		}
		all[i] = w
	}
	return all
}

// during writes while something else is done, and returns how long each write took.
func (all pacedWriters) during(b *testing.B, meanwhile func()) []time.Duration {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	pause := time.Second * time.Duration(len(all)) / pacedRate
	failures := make([]error, len(all))
	var writing sync.WaitGroup
	for i, w := range all {
		w.took = nil
		writing.Go(func() { failures[i] = w.write(ctx, pause) })
	}
	meanwhile()
	cancel()
	writing.Wait()
	if err := errors.Join(failures...); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for _, w := range all {
		took = append(took, w.took...)
	}
	return took
}

// write writes one key after another, one each pause, until ctx ends. A write
// that had to wait for the one before it counts from when it was due: a client
// that does not wait would have sent it then.
func (w *pacedWriter) write(ctx context.Context, pause time.Duration) (err error) {
	conn, replies, err := w.access.Dial(context.WithoutCancel(ctx), w.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	value := make([]byte, pacedSize)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var command []byte
	for due := clock.Now(); ; due = due.Add(pause) {
		asked := due
		if wait := due.Sub(clock.Now()); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
			asked = clock.Now() // what the timer was late is not the server's
		}
		if ctx.Err() != nil {
			return nil
		}
		command = cluster.AppendCommand(command[:0], "SET", w.keys[w.next], value)
		w.next = (w.next + 1) % len(w.keys)
		if err := conn.SetDeadline(clock.Now().Add(pacedTimeout)); err != nil {
			return err
		}
		if _, err := conn.Write(command); err != nil {
			return err
		}
		reply, err := cluster.ReadReply(replies)
		if err != nil {
			return err
		}
		if reply != "OK" {
			return fmt.Errorf("write to %s: %v", w.addr, reply)
		}
		w.took = append(w.took, clock.Since(asked))
	}
}

// buildProgram builds slotark as make build does.
func buildProgram(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "slotark")
	external(b, "go", "build", "-trimpath", "-o", program, "../cmd/slotark")
	return program
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// runProgram runs a program and returns also the most memory that it had resident.
// The usage that wait reports would not do: a child begins with the high-water
// mark of the process that forked it, and this one has sealed dumps.
func runProgram(b *testing.B, name string, args ...string) (took cost, peakMiB float64) {
	b.Helper()
	cmd := exec.Command(name, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	started := clock.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ticker := time.NewTicker(peakEvery)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			wall := clock.Since(started)
			if err != nil {
				b.Fatalf("%v: %v\n%s", cmd.Args, err, output.Bytes())
			}
			return cost{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, peakMiB
		case <-ticker.C:
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if match := highWater.FindSubmatch(status); err == nil && match != nil {
				if kib, err := strconv.ParseFloat(string(match[1]), 64); err == nil {
					peakMiB = max(peakMiB, kib/1024)
				}
			}
		}
	}
}
