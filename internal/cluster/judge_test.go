package cluster

import (
	"errors"
	"strings"
	"testing"
)

// Three primaries and a replica, as node a sees them. Real clusters show most
// troubles in discover_test.go; here are those that last for an instant only.
const healthy = `
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5460
bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 10.0.0.2:6379@16379 master - 0 0 2 connected 5461-10922
cccccccccccccccccccccccccccccccccccccccc 10.0.0.3:6379@16379 master - 0 0 3 connected 10923-16383
dddddddddddddddddddddddddddddddddddddddd 10.0.0.4:6379@16379 slave aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0 0 1 connected
`

func id(letter string) string { return strings.Repeat(letter, idDigits) }

// viewOf makes the view of one node out of the healthy one, with edits: pairs
// of old and new text.
func viewOf(t *testing.T, letter string, edits ...string) *view {
	t.Helper()
	text := strings.Replace(healthy, "myself,", "", 1)
	lines := strings.Split(text, "\n")
	role := "master"
	for i, line := range lines {
		if strings.HasPrefix(line, letter) {
			fields := strings.Split(line, " ")
			role, fields[2] = fields[2], "myself,"+fields[2]
			lines[i] = strings.Join(fields, " ")
		}
	}
	text = strings.Join(lines, "\n")
	for i := 0; i < len(edits); i += 2 {
		edited := strings.Replace(text, edits[i], edits[i+1], 1)
		if edited == text {
			t.Fatalf("%q is not in %s", edits[i], text)
		}
		text = edited
	}
	seen := &view{
		asked: "192.0.2.9:7000",
		state: Info{"cluster_state": "ok", "cluster_known_nodes": "4", "cluster_current_epoch": "3"},
		info:  Info{"role": role, "master_link_status": "up", "redis_version": "6.2.14"},
	}
	if err := seen.readNodes(text); err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestJudge(t *testing.T) {
	type views = map[string]*view
	type change = func(*testing.T, views)
	edit := func(letters string, edits ...string) change {
		return func(t *testing.T, v views) {
			for _, letter := range strings.Split(letters, "") {
				if v[id(letter)] != nil {
					v[id(letter)] = viewOf(t, letter, edits...)
				}
			}
		}
	}
	gone := func(letter string) change { return func(_ *testing.T, v views) { delete(v, id(letter)) } }
	cases := map[string]struct {
		changes       []change
		code, problem string // of the first problem; "" is none
		warning       string
	}{
		"healthy, without CLUSTER SHARDS": {},
		"a primary is suspected": {
			[]change{edit("b", "10.0.0.3:6379@16379 master", "10.0.0.3:6379@16379 master,fail?")},
			CodeSuspected, "node 10.0.0.3:6379: it answers, but 1 of 3 nodes suspect", "",
		},
		"a primary is flagged as failed, but answers": {
			[]change{edit("ab", "10.0.0.3:6379@16379 master", "10.0.0.3:6379@16379 master,fail")},
			CodeFailed, "node 10.0.0.3:6379: it answers, but 2 of 3 nodes flag", "",
		},
		"a replica is suspected, but answers": {
			[]change{edit("b", "@16379 slave", "@16379 slave,fail?")},
			"", "", "node 10.0.0.4:6379: it answers, but 1 of 3 nodes flag it",
		},
		"a replica does not answer, and not all have noticed": {
			[]change{gone("d"), edit("ab", "@16379 slave", "@16379 slave,fail")},
			CodeSuspected, "node 10.0.0.4:6379: it does not answer, and 2 of 3 nodes flag it", "",
		},
		"a replica is down": {
			[]change{gone("d"), edit("abc", "@16379 slave", "@16379 slave,fail")},
			"", "", "replica 10.0.0.4:6379: it is down: all 3 other nodes flag it",
		},
		"nobody knows where a replica is": {
			[]change{gone("d"), edit("abc", "10.0.0.4:6379@16379 slave", ":0@0 slave,noaddr")},
			CodeNoAddress, "node dddddddd", "",
		},
		"a node cannot be reached": {
			[]change{gone("c")},
			CodeUnreachable, "node 10.0.0.3:6379: the cluster counts it as up, but: connection refused", "",
		},
		"an address leads elsewhere": {
			[]change{func(t *testing.T, v views) { v[id("c")] = viewOf(t, "b") }},
			CodeWrongNode, "node 10.0.0.3:6379: another node answers there (bbbb", "",
		},
		"a primary is loading": {
			[]change{func(t *testing.T, v views) {
				v[id("c")] = &view{loading: errors.New("LOADING"), info: Info{"loading": "1"}}
			}},
			CodeLoading, "node 10.0.0.3:6379: it is still loading", "",
		},
		"a replica is loading": {
			[]change{func(t *testing.T, v views) {
				v[id("d")] = &view{loading: errors.New("LOADING"), info: Info{"loading": "1"}}
			}},
			"", "", "replica 10.0.0.4:6379: it is still loading",
		},
		"a replica has lost its primary": {
			[]change{func(t *testing.T, v views) { v[id("d")].info["master_link_status"] = "down" }},
			"", "", "replica 10.0.0.4:6379: it is not linked",
		},
		"a node is being met": {
			[]change{func(t *testing.T, v views) { v[id("b")].state["cluster_known_nodes"] = "6" }},
			CodeHandshake, "node 10.0.0.2:6379: it is meeting 2 new nodes", "",
		},
		"a node has just been met": {
			[]change{edit("a", "10.0.0.2:6379@16379 master", "10.0.0.2:6379@16379 handshake")},
			CodeHandshake, "node 10.0.0.2:6379: it is just joining", "",
		},
		"a slot has two owners": {
			[]change{edit("b", "5461-10922", "5460-10922", "0-5460", "0-5459")},
			CodeDisagree, "node 10.0.0.2:6379: it does not see the cluster as node 10.0.0.1:6379 does: whether node 10.0.0.1:6379 owns slots 5460", "",
		},
		"an epoch has not spread": {
			[]change{edit("b", "0 0 2 connected", "0 0 9 connected")},
			CodeDisagree, "node 10.0.0.2:6379 has config epoch 9, not 2", "",
		},
		"a replica's epoch lags": {
			[]change{edit("b", "0 0 1 connected\n", "0 0 0 connected\n")}, "", "", "",
		},
		"a failover has not spread": {
			[]change{edit("d", "slave "+strings.Repeat("a", 40), "master -")},
			CodeDisagree, "it replicates as a replica, but the cluster knows it as a primary", "",
		},
		"a replica of another primary": {
			[]change{edit("c", "slave "+strings.Repeat("a", 40), "slave "+strings.Repeat("b", 40))},
			CodeDisagree, "the replica 10.0.0.4:6379 follows another primary", "",
		},
		"a node more": {
			[]change{edit("c", id("d"), id("e"))},
			CodeDisagree, "only it knows node", "",
		},
		"a replica of nothing": {
			[]change{edit("abcd", "slave "+strings.Repeat("a", 40), "slave "+strings.Repeat("e", 40))},
			CodeOrphan, "node 10.0.0.4:6379: it is a replica, but", "",
		},
		"the cluster is closed": {
			[]change{func(t *testing.T, v views) { v[id("a")].state["cluster_state"] = "fail" }},
			CodeState, `node 10.0.0.1:6379: its cluster_state is "fail"`, "",
		},
		"a node refuses us": {
			[]change{gone("c"), func(_ *testing.T, v views) { v[id("a")].asked = "refuses" }},
			CodeAccess, "node 10.0.0.3:6379: access refused", "",
		},
		"slots are on their way (Redis 8.4)": {
			[]change{func(_ *testing.T, v views) { v[id("b")].state["cluster_slot_migration_active_tasks"] = "1" }},
			CodeMigration, "node 10.0.0.2:6379: 1 atomic slot migration runs on it", "",
		},
		"slots are being deleted (Redis 8.4)": {
			[]change{func(_ *testing.T, v views) { v[id("b")].state["cluster_slot_migration_active_trim_running"] = "2" }},
			CodeMigration, "node 10.0.0.2:6379: it still deletes the keys of slots that were moved away", "",
		},
		"slots are on their way (Valkey 9)": {
			[]change{func(_ *testing.T, v views) { v[id("b")].info["mem_cluster_slot_import"] = "1672" }},
			CodeMigration, "node 10.0.0.2:6379: an atomic slot migration runs on it", "",
		},
		"slots are on their way, and we see which": {
			[]change{func(_ *testing.T, v views) { v[id("b")].jobs = running(parseMigrations(recordedMigrations)) }},
			CodeMigration, "node 10.0.0.2:6379: an atomic slot migration runs: EXPORT of slots 7638-7638, snapshotting", "",
		},
		"a former primary is down": {
			[]change{gone("c"), edit("abd", "10.0.0.3:6379@16379 master", "10.0.0.3:6379@16379 master,fail", "connected 10923-16383", "connected",
				"connected 5461-10922", "connected 5461-16383")},
			"", "", "node 10.0.0.3:6379: it owns no slots and is down",
		},
		"nobody owns a slot": {
			[]change{edit("abcd", "connected 0-5460", "connected 1-5460")},
			CodeUncovered, "slots 0: no node owns them", "",
		},
		"a slot is being moved": {
			[]change{edit("a", "connected 0-5460", "connected 0-5460 [7->-"+id("b")+"]")},
			CodeOpenSlot, "slots 7: open on node 10.0.0.1:6379, migrating to node 10.0.0.2:6379", "",
		},
		"CLUSTER SHARDS knows better": {
			[]change{func(t *testing.T, v views) { v[id("b")].shards = map[string]shardNode{id("c"): {health: "failed"}} }},
			CodeSuspected, "node 10.0.0.3:6379: node 10.0.0.2:6379 finds its health failed", "",
		},
		"CLUSTER SHARDS was an instant later": {
			[]change{func(t *testing.T, v views) {
				v[id("b")].shards = map[string]shardNode{id("b"): {health: "online", slots: v[id("a")].self.Slots}}
			}},
			CodeDisagree, "node 10.0.0.2:6379: CLUSTER SHARDS and CLUSTER NODES differ", "",
		},
	}
	caused := map[string]bool{}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			seen := views{id("a"): viewOf(t, "a"), id("b"): viewOf(t, "b"), id("c"): viewOf(t, "c"), id("d"): viewOf(t, "d")}
			for _, change := range c.changes {
				change(t, seen)
			}
			s := &surveyed{first: seen[id("a")], views: seen, silent: map[string]error{id("c"): errors.New("connection refused")}}
			if s.first.asked == "refuses" {
				s.silent[id("c")] = ErrAuth
			}
			topology, problems := s.judge()
			for _, p := range append(topology.Warnings, problems...) {
				caused[p.Code] = true
			}
			switch {
			case c.code == "" && len(problems) > 0:
				t.Errorf("problems: %v", problems)
			case c.code == "" && !strings.Contains(c.warning, "owns no slots") && (len(topology.Shards) != 3 || len(topology.Shards[0].Replicas) != 1):
				t.Errorf("%+v", topology)
			case c.code != "" && (len(problems) == 0 || problems[0].Code != c.code || !strings.Contains(problems[0].String(), c.problem)):
				t.Errorf("problems: %v", problems)
			}
			if warnings := lines(topology.Warnings); !strings.Contains(warnings, c.warning) || (c.warning == "") != (warnings == "") {
				t.Errorf("warnings: %q", warnings)
			}
		})
	}
	// Whoever adds a code adds a case.
	problems, warnings := Codes()
	for _, code := range append(problems, warnings...) {
		if !caused[code] {
			t.Errorf("no case causes %q", code)
		}
	}
}

func lines(problems []Problem) string {
	text := ""
	for _, p := range problems {
		text += p.String() + "\n"
	}
	return text
}

// recordedMigrations is what Valkey 9.1.2 answered to CLUSTER
// GETSLOTMIGRATIONS: one migration runs, one was cancelled.
var recordedMigrations = []any{
	[]any{"name", "2fbf3ac3e4076022c4ada0738098d3c306e9d910", "operation", "EXPORT", "slot_ranges", "7638-7638",
		"target_node", "dcead3cbeeedd8c5563c1b027be722fea72ee881", "source_node", "0137a062482efff2a989cce87d374f56b08f0f3c",
		"create_time", int64(1795647111), "last_update_time", int64(1795647111), "last_ack_time", int64(1795647116),
		"state", "snapshotting", "message", "", "cow_size", int64(0), "remaining_repl_size", int64(0)},
	[]any{"name", "e989ce0bb4cb2382d0fd984ebb5c3a06364ea9ae", "operation", "EXPORT", "slot_ranges", "7638-7638",
		"target_node", "dcead3cbeeedd8c5563c1b027be722fea72ee881", "source_node", "0137a062482efff2a989cce87d374f56b08f0f3c",
		"state", "cancelled", "message", ""},
}

// A node that was told no address is where it was asked, unless others know.
func TestUnknownAddress(t *testing.T) {
	own := viewOf(t, "a", "10.0.0.1:6379@", ":6379@")
	s := &surveyed{first: own, views: map[string]*view{id("a"): own}}
	if addr := s.addr(id("a")); addr != "192.0.2.9:6379" {
		t.Errorf("alone: %q", addr)
	}
	own.asked = "[fe80::1]:7000"
	if addr := s.addr(id("a")); addr != "[fe80::1]:6379" {
		t.Errorf("alone, by IPv6: %q", addr)
	}
	s.views[id("b")] = viewOf(t, "b")
	if addr := s.addr(id("a")); addr != "10.0.0.1:6379" {
		t.Errorf("known to others: %q", addr)
	}
}

// Every code of a problem has advice and a rank.
func TestEveryCodeHasAdvice(t *testing.T) {
	problems, warnings := Codes()
	if len(problems)+len(warnings) != len(advice) {
		t.Errorf("%d problems, %d warnings, %d pieces of advice", len(problems), len(warnings), len(advice))
	}
	for _, code := range append(problems, warnings...) {
		if advice[code] == "" {
			t.Errorf("no advice for %q", code)
		}
	}
}

// Servers add names to CLUSTER SHARDS from version to version: Redis 7.0 on the
// left of what this holds, names nobody knows yet on the right.
func TestParseShards(t *testing.T) {
	got := parseShards([]any{
		[]any{
			"slots", []any{int64(0), int64(99), int64(200), int64(299)},
			"nodes", []any{
				[]any{"id", id("a"), "port", int64(1), "role", "master", "health", "online", "availability-zone", "x"},
				[]any{"id", id("b"), "role", "replica", "health", "loading", "tls-port"},
			},
			"id", "of the shard", "future", int64(1),
		},
		[]any{"slots", nil, "nodes", "?"}, "?", nil,
	})
	if len(got) != 2 || got[id("a")].slots.String() != "0-99,200-299" || got[id("a")].health != "online" ||
		got[id("b")].slots.Len() != 0 || got[id("b")].health != "loading" {
		t.Errorf("%+v", got)
	}
}
