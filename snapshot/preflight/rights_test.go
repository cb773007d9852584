package preflight

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// grant makes the user anew on some nodes.
func (f *fixture) grant(t *testing.T, nodes []*clustertest.Node, rules []string) {
	t.Helper()
	for _, n := range nodes {
		args := []any{"ACL", "SETUSER", "least", "reset", "on", ">least-password", "resetchannels", "-@all"}
		for _, rule := range rules {
			args = append(args, rule)
		}
		f.do(t, n, args...)
	}
}

// as are the options of the least user, who collects in one way.
func (f *fixture) as(way Way) Options {
	o := f.options
	access := *o.Access
	access.Username, access.Password = "least", "least-password"
	o.Access, o.Way = &access, way
	o.Sources = func(_ context.Context, topology *cluster.Topology) ([]Source, error) {
		return primaries(topology, way), nil
	}
	return o
}

// rightRows takes one right after the other away. Each is missed, by name, and
// the line that is printed gives it back.
func (f *fixture) rightRows(t *testing.T) {
	for _, way := range []Way{Folder, Stream} {
		rules := Rules(way)
		f.grant(t, f.Nodes, rules)
		unseen := []string{"unseen"}
		if way == Folder {
			unseen = nil
		}
		before := f.children(t)
		check(t, run(t, f.as(way)).Findings, unseen...)
		quick := f.as(way)
		quick.Advice = false
		check(t, run(t, quick).Findings)
		for i, rule := range rules {
			if rule == "+sync" { // goes with +psync
				continue
			}
			f.grant(t, f.Nodes, slices.Delete(slices.Clone(rules), i, i+1))
			for _, o := range []Options{f.as(way), quick} {
				report := run(t, o)
				got := found(t, report, "rights")
				caused[got.Code] = true
				want := "ACL SETUSER least " + strings.Join(rules, " ")
				if !strings.Contains(got.Detail, "user least lacks "+rule) || !strings.HasSuffix(got.Advice, want) || len(report.Of(Error)) != 1 {
					t.Errorf("without %s: %+v", rule, report.Findings)
				}
				if err := report.Refusal(); !errors.Is(err, hint.ErrRefused) || !errors.Is(err, cluster.ErrAuth) || !slices.Equal(hint.Of(err), []string{got.Advice}) {
					t.Errorf("without %s: %v, %q", rule, err, hint.Of(err))
				}
			}
		}
		// Only where a failover would make it matter, and only on one node.
		f.grant(t, f.Nodes, rules)
		f.grant(t, f.Replicas()[:1], Rules("")) // looking alone
		report := run(t, f.as(way))
		if got := found(t, report, "rights-elsewhere"); got.Severity != Warning || !slices.Equal(got.Nodes, []string{f.Replicas()[0].Addr()}) || report.Refusal() != nil {
			t.Errorf("%+v", report.Findings)
		}
		caused["rights-elsewhere"] = true
		f.grant(t, f.Replicas()[:1], []string{"+info"})
		report = run(t, f.as(way))
		if got := found(t, report, "rights"); !slices.Equal(got.Nodes, []string{f.Replicas()[0].Addr()}) || !strings.Contains(got.Detail, "+cluster|nodes") {
			t.Errorf("%+v", report.Findings)
		}
		if after := f.children(t); !slices.Equal(before, after) {
			t.Errorf("asking made nodes fork: %d, then %d", before, after)
		}
	}
	// What append-only files take, of who collects and of a coordinator of agents.
	for _, way := range []Way{Folder, Agent} {
		o := f.as(way)
		o.AOF, o.Advice = true, false
		before := f.children(t)
		f.grant(t, f.Nodes, o.rules(way))
		check(t, run(t, o).Findings)
		f.grant(t, f.Nodes, slices.DeleteFunc(o.rules(way), func(rule string) bool { return rule == "+config|set" }))
		if got := found(t, run(t, o), "rights"); got.Detail != "user least lacks +config|set" || !strings.HasSuffix(got.Advice, strings.Join(o.rules(way), " ")) {
			t.Errorf("%+v", got)
		}
		if after := f.children(t); !slices.Equal(before, after) {
			t.Errorf("asking made nodes fork: %d, then %d", before, after)
		}
	}
	// What keeping the settings takes, where they are to be kept.
	f.keepingRows(t)
	// Another password on one node only.
	f.grant(t, f.Nodes, Rules(Folder))
	f.do(t, f.Primaries()[1], "ACL", "SETUSER", "least", "resetpass", ">another")
	report := run(t, f.as(Folder))
	if got := found(t, report, "access"); !slices.Equal(got.Nodes, []string{f.Primaries()[1].Addr()}) || !errors.Is(report.Refusal(), cluster.ErrAuth) {
		t.Errorf("%+v", got)
	}
	// A wrong one on all is no finding about the cluster.
	f.all(t, "ACL", "SETUSER", "least", "resetpass", ">another")
	if _, err := Run(t.Context(), f.as(Folder)); !errors.Is(err, cluster.ErrAuth) || errors.Is(err, hint.ErrRefused) {
		t.Errorf("a wrong password: %v", err)
	}
	f.all(t, "ACL", "DELUSER", "least")
}

// keepingRows takes each right away that keeping the settings takes.
func (f *fixture) keepingRows(t *testing.T) {
	t.Helper()
	var rules []string
	for _, r := range keeping {
		rules = append(rules, r.rule)
	}
	o := f.as(Stream)
	o.Settings = true
	f.grant(t, f.Nodes, append(Rules(Stream), rules...))
	check(t, run(t, o).Findings)
	for i, rule := range rules {
		f.grant(t, f.Nodes, append(Rules(Stream), slices.Delete(slices.Clone(rules), i, i+1)...))
		got := found(t, run(t, o), "settings-rights")
		if !strings.HasSuffix(got.Detail, ": "+rule) || !strings.HasSuffix(got.Advice, "ACL SETUSER least "+rule) || got.Severity != Warning || len(got.Nodes) != len(f.Nodes) {
			t.Errorf("without %s: %+v", rule, got)
		}
	}
	caused["settings-rights"] = true
	quick := o
	quick.Advice = false // a snapshot says it when it has read them
	check(t, run(t, quick).Findings)
}

// children is how often each node has forked.
func (f *fixture) children(t *testing.T) []int64 {
	t.Helper()
	var forks []int64
	for _, n := range f.Nodes {
		client := f.Access().Open(n.Addr())
		info, err := client.Info(t.Context(), "stats")
		if err = errors.Join(err, client.Close()); err != nil {
			t.Fatal(err)
		}
		forks = append(forks, info.Int("total_forks"))
	}
	return forks
}

// clusterRows lets the cluster itself be unwell.
func (f *fixture) clusterRows(t *testing.T) {
	a, b := f.Primaries()[0], f.Primaries()[1]
	f.do(t, a, "CLUSTER", "SETSLOT", 7, "MIGRATING", b.ID)
	report := run(t, f.options)
	check(t, report.Findings, "open-slot")
	if err := report.Refusal(); !errors.Is(err, hint.ErrRefused) || !strings.Contains(err.Error(), "slots 7: open on node "+a.Addr()) {
		t.Error(err)
	}
	f.do(t, b, "CLUSTER", "SETSLOT", 7, "IMPORTING", a.ID)
	if err := run(t, f.options).Refusal(); !strings.Contains(err.Error(), "migrating to") || !strings.Contains(err.Error(), "importing from") || len(hint.Of(err)) != 1 {
		t.Errorf("not all of it is told, or twice: %v, %q", err, hint.Of(err))
	}
	for _, n := range []*clustertest.Node{a, b} {
		f.do(t, n, "CLUSTER", "SETSLOT", 7, "STABLE")
	}
	check(t, run(t, f.options).Findings)

	// No node that may give a dump.
	none := f.options
	none.Sources = func(context.Context, *cluster.Topology) ([]Source, error) {
		return nil, hint.Refuse(errors.New("shard 0-1: no replica can give its dump"), "mend the replica")
	}
	report = run(t, none)
	check(t, report.Findings, "no-source")
	if err := report.Refusal(); !errors.Is(err, hint.ErrRefused) || !slices.Equal(hint.Of(err), []string{"mend the replica"}) {
		t.Errorf("%v, %q", err, hint.Of(err))
	}

	// A replica that hangs, which the others have not noticed yet.
	paused := f.Replicas()[2]
	access := *f.options.Access
	access.Timeout = 2 * time.Second
	o := f.options
	o.Access = &access
	if err := syscall.Kill(paused.Proc.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	report = run(t, o)
	if err := syscall.Kill(paused.Proc.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := report.Of(Error); len(got) == 0 || !slices.Contains(got[0].Nodes, paused.Addr()) || report.Refusal() == nil {
		t.Errorf("%+v", report.Findings)
	}
	f.WaitHealthy(t)

	// A primary with another password than its replica knows.
	f.do(t, f.Replicas()[1], "CONFIG", "SET", "masterauth", "wrong")
	f.do(t, b, "CLIENT", "KILL", "TYPE", "replica")
	clustertest.Eventually(t, waitLimit, func(context.Context) error {
		report = run(t, f.options)
		if len(report.Of(Warning)) == 0 {
			return errors.New("not seen")
		}
		return nil
	})
	check(t, report.Findings, "replica-unlinked")
}

// testStores looks at stores that answer, hold nothing, and are not there.
func testStores(t *testing.T) {
	newer := t.TempDir()
	(&machine{root: newer}).put(t, "slotark.json", `{"format_version": 99}`)
	good, bad := storage.Named{Name: "good", Store: fs.Open(t.TempDir())}, storage.Named{Name: "bad", Store: fs.Open(newer)}
	check(t, Stores(t.Context(), []storage.Named{good}, 1), "no-repository")
	check(t, Stores(t.Context(), []storage.Named{good, bad}, 1), "mirror-down")
	check(t, Stores(t.Context(), []storage.Named{good, bad}, 2), "store-down")
	check(t, Stores(t.Context(), []storage.Named{bad, good}, 1), "store-down")
	check(t, []Finding{NoAgent("10.0.0.1:6379", "no agent is named for it", true)}, "no-agent")
	check(t, []Finding{NoAgent("10.0.0.1:6379", "it does not answer", false)}, "agent-down")
	r := &Report{Findings: []Finding{{Code: "overcommit", Severity: Info, Subject: "host 10.0.0.1"}}}
	r.Add(Stores(t.Context(), []storage.Named{bad}, 1))
	if len(r.Findings) != 2 || r.Findings[0].Code != "store-down" || r.Refusal() == nil {
		t.Errorf("%+v", r.Findings)
	}
}

// testAlone is a single primary without a password and without BGSAVE.
func testAlone(t *testing.T) {
	f := start(t, clustertest.Options{Primaries: 1, Config: []string{`rename-command BGSAVE ""`}})
	f.processes(t, f.options.machine)
	check(t, run(t, f.options).Findings, "command-off", "no-replica", "few-primaries", "no-password")

	// As an agent beside it sees it, which has been given another folder.
	source := Source{Addr: f.Addrs()[0], Way: Folder, Folder: filepath.Join(t.TempDir(), "gone")}
	findings, err := f.options.beside(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	check(t, findings, "command-off", "no-folder")
	if _, err := f.options.beside(t.Context(), Source{Addr: "127.0.0.1:1", Way: Stream}); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("of nobody: %v", err)
	}
}

// Nodes that were looked at from beside them are not elsewhere any more.
func TestSeen(t *testing.T) {
	r := &Report{Findings: []Finding{{Code: "eviction"}, {Code: "elsewhere", Subject: "3 nodes", Nodes: []string{"a", "b", "c"}}}}
	r.Seen([]string{"b", "d"})
	if got := r.Findings[1]; got.Subject != "2 nodes" || !slices.Equal(got.Nodes, []string{"a", "c"}) {
		t.Errorf("%+v", got)
	}
	if r.Seen([]string{"c", "a"}); len(r.Findings) != 1 || r.Findings[0].Code != "eviction" {
		t.Errorf("%+v", r.Findings)
	}
}

// testTableIsComplete wants every code to have been caused by the rows above:
// whoever adds a check adds a row. Those of internal/cluster have their own
// table there, TestJudge.
func testTableIsComplete(t *testing.T) {
	for code, r := range rules {
		if !caused[code] {
			t.Errorf("no row causes %q", code)
		}
		if r.advice == "" && !slices.Contains([]string{"rights", "rights-elsewhere", "settings-rights", "unseen", "no-source"}, code) {
			t.Errorf("%q has no advice", code)
		}
	}
	for code := range caused {
		if _, own := rules[code]; !own && !slices.Contains(slices.Concat(Codes()[Error], Codes()[Warning]), code) {
			t.Errorf("%q is in no list of codes", code)
		}
	}
}
