package aof_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/internal/slot"
)

// fixtureMakers make the sets of a server: each some of them, by name.
var fixtureMakers = []struct {
	make  func(t *testing.T, binary string) map[string]folder
	needs func(s servertest.Server) bool // nil: every server
}{
	{make: makeRewritten},
	{make: makeOfCommands},
	{make: makeOld},
	{make: makeCluster},
	{make: makeClusterDatabases, needs: func(s servertest.Server) bool { return s.Engine == "valkey" && s.Version >= "9" }},
}

var (
	manyDatabases = []int{0, 9}
	timestamps    = []string{"--aof-timestamp-enabled", "yes"}
)

// makeRewritten makes a set before, during and after a rewrite.
func makeRewritten(t *testing.T, binary string) map[string]folder {
	s := startBinary(t, binary, timestamps...)
	s.stage("one", manyDatabases...)
	s.awaitNextSecond()
	s.stage("two", manyDatabases...)
	sets := map[string]folder{"before": s.files()}
	// The child writes for 20 ms a key: more than a second.
	s.do("CONFIG", "SET", "rdb-key-save-delay", 20_000)
	s.do("BGREWRITEAOF")
	s.await("aof_rewrite_in_progress", "1")
	s.stage("three", manyDatabases...)
	sets["during"] = s.files()
	info, err := s.InfoMap(context.Background(), "persistence").Result()
	if err != nil || info["Persistence"]["aof_rewrite_in_progress"] != "1" {
		t.Fatalf("the rewrite was over before the set was copied: %v", err)
	}
	s.awaitRewrite()
	s.stage("four", manyDatabases...)
	sets["after"] = s.files()
	return sets
}

// makeOfCommands makes a set whose base is commands, with the files that a
// rewrite has replaced still in it.
func makeOfCommands(t *testing.T, binary string) map[string]folder {
	s := startBinary(t, binary, append([]string{"--aof-use-rdb-preamble", "no", "--aof-disable-auto-gc", "yes"}, timestamps...)...)
	s.stage("one", manyDatabases...)
	s.do("BGREWRITEAOF")
	s.await("aof_rewrite_in_progress", "0")
	s.awaitNextSecond()
	s.stage("two", manyDatabases...)
	return map[string]folder{"commands": s.files()}
}

// makeOld makes the one file that a server up to Redis 6.2 would have: the base
// of a set and its increment, one behind the other, without timestamps.
func makeOld(t *testing.T, binary string) map[string]folder {
	s := startBinary(t, binary)
	s.stage("one", manyDatabases...)
	s.do("BGREWRITEAOF")
	s.awaitRewrite()
	s.stage("two", manyDatabases...)
	files := s.files()
	old := slices.Concat(files["appendonly.aof.2.base.rdb"], files["appendonly.aof.2.incr.aof"])
	return map[string]folder{"old": {oldName: old}}
}

// makeCluster makes a set of a cluster's node that was shut down in order.
func makeCluster(t *testing.T, binary string) map[string]folder {
	s := startBinary(t, binary, append([]string{"--cluster-enabled", "yes"}, timestamps...)...)
	servertest.BecomeCluster(t, s.Client)
	s.stage("one", 0)
	s.do("BGREWRITEAOF")
	s.awaitRewrite()
	s.awaitNextSecond()
	s.stage("two", 0)
	if err := s.process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return map[string]folder{"cluster": s.files()}
}

// makeClusterDatabases makes a set of a cluster's node with several databases.
func makeClusterDatabases(t *testing.T, binary string) map[string]folder {
	s := startBinary(t, binary, append([]string{"--cluster-enabled", "yes", "--cluster-databases", "16"}, timestamps...)...)
	servertest.BecomeCluster(t, s.Client)
	s.stage("one", manyDatabases...)
	return map[string]folder{"cluster-databases": s.files()}
}

func startBinary(t *testing.T, binary string, settings ...string) *server {
	t.Helper()
	s, err := tryStart(t, binary, t.TempDir(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// awaitRewrite waits for the end of a rewrite and of what it deletes.
func (s *server) awaitRewrite() {
	s.t.Helper()
	s.await("aof_rewrite_in_progress", "0")
	s.until("the files before the rewrite are deleted", func() bool { return len(s.files()) == 3 })
}

// awaitNextSecond waits until the server's clock shows another second, so that
// an annotation stands before the next command.
func (s *server) awaitNextSecond() {
	s.t.Helper()
	begun, err := s.Time(context.Background()).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("a second has passed", func() bool {
		now, err := s.Time(context.Background()).Result()
		return err == nil && now.Unix() > begun.Unix()+1
	})
}

// stage writes to each database what a stage of a set holds.
func (s *server) stage(name string, databases ...int) {
	s.t.Helper()
	// SELECT and MULTI belong to a connection.
	conn := s.Conn()
	defer conn.Close()
	for _, db := range databases {
		commands := stageCommands(name)
		if len(databases) > 1 {
			commands = append([][]any{{"SELECT", db}}, commands...)
		}
		transaction := append(append([][]any{{"MULTI"}}, stageTransaction(name)...), []any{"EXEC"})
		for _, command := range append(commands, transaction...) {
			if err := conn.Do(context.Background(), command...).Err(); err != nil {
				s.t.Fatalf("%v: %v", command, err)
			}
		}
	}
}

// stageKeys is how many keys of its own a stage leaves. All have one more.
const stageKeys = 13

// stageCommands are those outside a transaction. Each changes data, and its
// second argument is a key; further keys have that key's slot.
func stageCommands(stage string) [][]any {
	key := func(name string) string { return "{" + stage + "}" + name }
	return [][]any{
		{"MSET", key("a"), 1, key("b"), "two"},
		{"SET", key("binary"), string(noise(40))},
		{"SET", string(noise(12)) + stage, "a key with a binary name"},
		{"SET", "", "a key without a name, " + stage},
		{"SET", key("empty"), ""},
		{"SET", "deceit " + stage, "\r\n*1\r\n$4\r\nEXEC\r\n#TS:1\r\n", "PXAT", 4102444800123},
		{"HSET", "hash " + stage, "field", "value", "\x00\r\n", -7},
		{"RPUSH", key("list"), "x", "y", 70_000},
		{"RPOPLPUSH", key("list"), key("other list")},
		{"ZADD", "zset " + stage, "1.5", "m", "-inf", "n"},
		{"SADD", "set " + stage, 1, "two", ""},
		{"XADD", "stream " + stage, "1-1", "f", strings.Repeat("v", 120)},
		{"RENAME", key("b"), key("c")},
		{"INCRBY", "counter " + stage, 17},
	}
}

func stageTransaction(stage string) [][]any {
	key := func(name string) string { return "{" + stage + "}" + name }
	return [][]any{{"INCR", key("in")}, {"UNLINK", key("empty"), key("binary")}, {"SET", key("last"), 1}}
}

// stageSlots are those of a stage's keys.
func stageSlots(stages ...string) (slots slot.Set) {
	for _, stage := range stages {
		for _, command := range append(stageCommands(stage), stageTransaction(stage)...) {
			slots.Add(slot.Of([]byte(fmt.Sprint(command[1]))))
		}
	}
	return slots
}
