package preflight

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/slot"
)

// waitLimit is for what takes a moment.
const waitLimit = 60 * time.Second

// fixture is a cluster that is as it should be, as far as one machine and a
// quick test allow.
type fixture struct {
	*clustertest.Cluster
	options Options // of an examination
}

// calm are settings after which only a few pieces of advice are left.
var calm = []string{
	"--save", "3600 1", "--cluster-node-timeout", "15000", "--cluster-require-full-coverage", "no", "--maxmemory", "100mb", "--enable-debug-command", "yes",
}

// ofThisTest is what every examination of the fixture says: it stands on one
// machine, and its save points go with stop-writes-on-bgsave-error yes.
var ofThisTest = []string{"one-host", "stop-writes"}

func start(t *testing.T, o clustertest.Options) *fixture {
	t.Helper()
	o.ExtraArgs = append(slices.Clone(calm), o.ExtraArgs...)
	f := &fixture{Cluster: clustertest.Start(t, o)}
	f.options = Options{
		Access: f.Access(), Seeds: f.Addrs()[:1], Way: Folder, MaxLag: 1 << 20, Advice: true,
		Sources: func(_ context.Context, topology *cluster.Topology) ([]Source, error) {
			return primaries(topology, Folder), nil
		},
		machine: quiet(t),
	}
	return f
}

func primaries(topology *cluster.Topology, way Way) []Source {
	var sources []Source
	for _, shard := range topology.Shards {
		sources = append(sources, Source{Addr: shard.Primary.Addr, Way: way})
	}
	return sources
}

// quiet is this machine with kernel settings as they should be, and the real
// processes and disks.
func quiet(t *testing.T) *machine {
	t.Helper()
	root := t.TempDir()
	m := &machine{root: root, free: FreeBytes}
	if err := os.Symlink("/proc", filepath.Join(root, "real")); err != nil {
		t.Fatal(err)
	}
	m.put(t, "proc/sys/vm/overcommit_memory", "1\n")
	m.put(t, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
	m.put(t, "proc/meminfo", "MemTotal: 67108864 kB\nMemAvailable:   33554432 kB\n")
	return m
}

func (m *machine) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// processes shows the machine the real processes of the fixture's nodes.
func (f *fixture) processes(t *testing.T, m *machine) {
	t.Helper()
	for _, n := range f.Nodes {
		name := fmt.Sprintf("proc/%d/cmdline", n.Proc.PID())
		title, err := os.ReadFile("/" + name)
		if err != nil {
			t.Fatal(err)
		}
		m.put(t, name, string(title))
	}
}

// do gives a node a command.
func (f *fixture) do(t *testing.T, n *clustertest.Node, args ...any) {
	t.Helper()
	client := f.Access().Open(n.Addr())
	defer func() { _ = client.Close() }()
	if _, err := client.Do(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// all gives every node a command.
func (f *fixture) all(t *testing.T, args ...any) {
	t.Helper()
	for _, n := range f.Nodes {
		f.do(t, n, args...)
	}
}

func run(t *testing.T, o Options) *Report {
	t.Helper()
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// codes are the codes that were found, those of this test apart.
func codes(findings []Finding) []string {
	var found []string
	for _, f := range findings {
		if !slices.Contains(ofThisTest, f.Code) {
			found = append(found, f.Code)
		}
	}
	return found
}

// caused collects the codes that the tests of this package have caused.
var caused = map[string]bool{}

// check wants certain findings and no others, each with what it needs.
func check(t *testing.T, findings []Finding, want ...string) {
	t.Helper()
	if found := codes(findings); !slices.Equal(found, want) {
		t.Errorf("found %q, want %q: %+v", found, want, findings)
	}
	for _, f := range findings {
		caused[f.Code] = true
		if f.Advice == "" || f.Detail == "" || f.Subject == "" || f.Severity == "" || strings.Contains(f.String()+f.Advice, "\n") {
			t.Errorf("%+v", f)
		}
	}
}

// found is a finding by its code.
func found(t *testing.T, r *Report, code string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Code == code {
			return f
		}
	}
	t.Fatalf("no %s among %+v", code, r.Findings)
	return Finding{}
}

// TestFindings goes from one defect of a real cluster to the next, the mending
// in between included; the ones of an instant, of hardware or of other versions
// are put into what a real node answered. TestTableIsComplete wants every code.
func TestFindings(t *testing.T) {
	f := start(t, clustertest.Options{Replicas: 3, Password: "a long password"})
	f.processes(t, f.options.machine)
	check(t, run(t, f.options).Findings)
	t.Run("settings", f.settingsRows)
	t.Run("saves", f.saveRows)
	t.Run("machine", f.machineRows)
	t.Run("answers", f.answerRows)
	t.Run("rights", f.rightRows)
	t.Run("cluster", f.clusterRows)
	t.Run("stores", testStores)
	t.Run("alone", testAlone)
	t.Run("complete", testTableIsComplete)
}

// settingsRows changes a setting of one node, for real.
func (f *fixture) settingsRows(t *testing.T) {
	for _, row := range []struct{ name, good, bad, code string }{
		{"cluster-node-timeout", "15000", "1000", "node-timeout"},
		{"cluster-require-full-coverage", "no", "yes", "full-coverage"},
		{"protected-mode", "yes", "no", "unprotected"},
		{"save", "3600 1", "", "no-persistence"},
		{"maxmemory", "100mb", "0", "no-maxmemory"},
		{"maxmemory-policy", "noeviction", "allkeys-lru", "eviction"},
		{"maxmemory", "100mb", "900gb", "maxmemory-room"},
		{"client-output-buffer-limit", "replica 256mb 64mb 60", "replica 1kb 1kb 60", "replica-buffer"},
	} {
		node := f.Primaries()[1]
		f.do(t, node, "CONFIG", "SET", row.name, row.bad)
		report := run(t, f.options)
		check(t, report.Findings, row.code)
		if got := found(t, report, row.code); got.Severity != Info || report.Refusal() != nil {
			t.Errorf("%s: %+v", row.name, got)
		}
		// Of a snapshot it is none of the business.
		quick := f.options
		quick.Advice = false
		check(t, run(t, quick).Findings)
		f.do(t, node, "CONFIG", "SET", row.name, row.good)
	}
	// The same of several nodes is told once, with all of them.
	f.all(t, "CONFIG", "SET", "protected-mode", "no")
	if got := found(t, run(t, f.options), "unprotected"); len(got.Nodes) != 6 || got.Subject != "all 6 nodes" {
		t.Errorf("%+v", got)
	}
	f.all(t, "CONFIG", "SET", "protected-mode", "yes")
}

// saveRows lets saves and rewrites of a node go on, and fail.
func (f *fixture) saveRows(t *testing.T) {
	node := f.Primaries()[2]
	client := f.Access().Open(node.Addr())
	defer func() { _ = client.Close() }()
	persistence := func(field, value string) {
		t.Helper()
		clustertest.Eventually(t, waitLimit, func(ctx context.Context) error {
			info, err := client.Info(ctx, "persistence")
			if err == nil && info.Text(field) != value {
				err = fmt.Errorf("%s is %q", field, info.Text(field))
			}
			return err
		})
	}
	f.do(t, node, "DEBUG", "POPULATE", 3000)
	f.do(t, node, "CONFIG", "SET", "rdb-key-save-delay", 1_000_000) // microseconds: it ends when its child is killed
	f.do(t, node, "BGSAVE")
	check(t, run(t, f.options).Findings, "saving")
	f.do(t, node, "CONFIG", "SET", "rdb-key-save-delay", 0)
	f.do(t, node, "FLUSHALL") // kills the child
	persistence("rdb_bgsave_in_progress", "0")

	// A folder in the way of the dump: the save fails as on a full disk.
	dump := filepath.Join(node.Proc.Dir(), "dump.rdb")
	_ = os.Remove(dump)
	if err := os.Mkdir(dump, 0o700); err != nil {
		t.Fatal(err)
	}
	f.do(t, node, "BGSAVE")
	persistence("rdb_last_bgsave_status", "err")
	check(t, run(t, f.options).Findings, "writes-refused")
	quick := f.options
	quick.Advice = false
	check(t, run(t, quick).Findings, "writes-refused") // a snapshot says it, too
	wire := quick
	wire.Sources = func(_ context.Context, topology *cluster.Topology) ([]Source, error) {
		return primaries(topology, Stream), nil
	}
	check(t, run(t, wire).Findings, "writes-refused") // however it is taken
	f.do(t, node, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
	check(t, run(t, f.options).Findings, "save-failed")
	check(t, run(t, quick).Findings, "save-failed") // it concerns a snapshot from its folder
	check(t, run(t, wire).Findings)                 // and not one over the wire
	f.do(t, node, "CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
	if err := os.Remove(dump); err != nil {
		t.Fatal(err)
	}
	f.do(t, node, "SAVE")

	// A rewrite that does not end, and one that fails.
	f.do(t, node, "DEBUG", "POPULATE", 3000)
	f.do(t, node, "CONFIG", "SET", "rdb-key-save-delay", 1_000_000)
	f.do(t, node, "CONFIG", "SET", "appendonly", "yes")
	persistence("aof_rewrite_in_progress", "1")
	check(t, run(t, f.options).Findings, "rewriting")
	f.do(t, node, "CONFIG", "SET", "appendonly", "no")
	f.do(t, node, "CONFIG", "SET", "rdb-key-save-delay", 0)
	persistence("aof_rewrite_in_progress", "0")
	f.do(t, node, "FLUSHALL")
	check(t, run(t, f.options).Findings)
}

// machineRows changes what is seen of the machine.
func (f *fixture) machineRows(t *testing.T) {
	for name, row := range map[string]struct {
		file, text string
		code       string
		said       bool // by a snapshot, too
	}{
		"overcommit by guess": {"proc/sys/vm/overcommit_memory", "0", "overcommit", false},
		"no overcommit":       {"proc/sys/vm/overcommit_memory", "2", "overcommit-none", true},
		"huge pages":          {"sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "huge-pages", false},
		"no memory":           {"proc/meminfo", "MemAvailable: 1 kB", "fork-memory", true},
		"little memory":       {"proc/meminfo", "MemAvailable: 1024 kB", "fork-room", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := f.options
			o.machine = quiet(t)
			f.processes(t, o.machine)
			o.machine.put(t, row.file, row.text)
			check(t, run(t, o).Findings, row.code)
			o.Advice = false
			check(t, run(t, o).Findings, onlyIf(row.said, row.code)...)
		})
	}
	// Nothing is told of a machine on which the nodes are not, by its processes.
	o := f.options
	o.machine = quiet(t)
	o.machine.put(t, "proc/sys/vm/overcommit_memory", "2")
	check(t, run(t, o).Findings, "elsewhere")

	// Room for dumps, of nodes that have one and of nodes that have not.
	o = f.options
	full := *o.machine
	o.machine = &full
	full.free = func(path string) (int64, bool) { return 1, path == f.Primaries()[0].Proc.Dir() }
	f.do(t, f.Primaries()[0], "SAVE")
	report := run(t, o)
	check(t, report.Findings, "disk-full")
	// Another node of the shard may give the dump.
	if got := found(t, report, "disk-full"); !slices.Equal(got.Nodes, []string{f.Primaries()[0].Addr()}) || report.Refusal() != nil {
		t.Errorf("%+v", got)
	}
	full.free = func(path string) (int64, bool) { return 1 << 10, path == f.Primaries()[0].Proc.Dir() }
	check(t, run(t, o).Findings, "disk-room")
}

// onlyIf are the codes, or none.
func onlyIf(is bool, codes ...string) []string {
	if !is {
		return nil
	}
	return codes
}

// judged is what is found of changed answers, of all nodes or for a snapshot.
func (f *fixture) judged(t *testing.T, advice bool, change func([]*node, *cluster.Topology)) []Finding {
	t.Helper()
	o := f.options
	o.Advice = advice
	topology := run(t, o).Topology
	nodes, err := o.gather(t.Context(), topology, primaries(topology, Folder))
	if err != nil {
		t.Fatal(err)
	}
	change(nodes, topology)
	j := &judgement{nodes: len(nodes), advice: advice}
	j.all(topology, nodes, o, true)
	return slices.DeleteFunc(j.findings(), func(f Finding) bool { return !advice && !f.snapshot })
}

// answerRows changes what a node answered.
func (f *fixture) answerRows(t *testing.T) {
	const said = true // by a snapshot, too
	for code, row := range map[string]struct {
		said   bool
		change func(n *node) // which gives a dump
	}{
		"mixed-versions": {said, func(n *node) { n.Version = "7.0.9" }},
		"old-version":    {said, func(n *node) { n.Version = "6.2.14" }},
		"new-version":    {said, func(n *node) { n.Version = "9.0.1" }},
		"modules":        {!said, func(n *node) { n.modules = []string{"search"} }},
		"databases":      {!said, func(n *node) { n.info["db3"] = "keys=1,expires=0,avg_ttl=0" }},
		"fragmentation": {!said, func(n *node) {
			n.info["mem_fragmentation_ratio"], n.info["used_memory"] = "1.71", fmt.Sprint(fragmentedBytes)
		}},
		"backlog":        {!said, func(n *node) { n.info["instantaneous_output_repl_kbps"] = "900.10" }},
		"rewrite-failed": {said, func(n *node) { n.info["aof_last_bgrewrite_status"] = "err" }},
		"aof-failed":     {said, func(n *node) { n.info["aof_last_write_status"] = "err" }},
		"no-checksum":    {!said, func(n *node) { n.settings["rdbchecksum"] = "no" }},
		// There is memory enough, but for what the last save copied.
		"fork-memory": {said, func(n *node) { n.info["rdb_last_cow_size"] = fmt.Sprint(int64(64 << 30)) }},
	} {
		t.Run(code, func(t *testing.T) {
			want := []string{code}
			if code == "old-version" || code == "new-version" {
				want = []string{code, "mixed-versions"} // of the others it is another
			}
			change := func(nodes []*node, _ *cluster.Topology) {
				row.change(nodes[slices.IndexFunc(nodes, func(n *node) bool { return n.source != nil })])
			}
			check(t, f.judged(t, true, change), want...)
			check(t, f.judged(t, false, change), onlyIf(row.said, want...)...)
		})
	}
	// What stands where, and how far behind, in a topology that was not there.
	for code, row := range map[string]struct {
		said   bool
		change func(*cluster.Topology)
	}{
		"same-host": {!said, func(t *cluster.Topology) {
			t.Shards[1].Replicas[0].Addr = "10.0.0.1:1"
			t.Shards[1].Primary.Addr = "10.0.0.1:2"
		}},
		"replica-lag": {said, func(t *cluster.Topology) {
			t.Shards[1].Replicas[0].Offset, t.Shards[1].Primary.Offset = 0, 2<<20
		}},
		"no-replica":    {!said, func(t *cluster.Topology) { t.Shards[1].Replicas[0].Reachable = false }},
		"few-primaries": {!said, func(t *cluster.Topology) { t.Shards[0].Slots = slot.Set{} }},
	} {
		t.Run(code, func(t *testing.T) {
			change := func(_ []*node, topology *cluster.Topology) { row.change(topology) }
			judged := f.judged(t, true, change)
			check(t, judged, code)
			if code == "same-host" && !slices.ContainsFunc(judged, func(f Finding) bool { return slices.Contains(f.Nodes, "10.0.0.1:1") }) {
				t.Errorf("the replica that was moved is not named: %+v", judged)
			}
			check(t, f.judged(t, false, change), onlyIf(row.said, code)...)
		})
	}
	if got := modules("# Modules\r\nmodule:name=search,ver=20810\r\nmodule:name=lua,ver=1\r\nmodule:name=bf\r\n"); !slices.Equal(got, []string{"bf", "search"}) {
		t.Errorf("modules: %q", got)
	}
}

// TestSaidBySnapshots has docs/doctor.md mark those warnings, and no others, that
// a snapshot says.
func TestSaidBySnapshots(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	for code, r := range rules {
		if r.severity == Warning && strings.Contains(string(text), "\n| `"+code+"` * |") != r.snapshot {
			t.Errorf("%s: that a snapshot says it is %t, and the document has it otherwise", code, r.snapshot)
		}
	}
}
