package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// TestRestorePlan plans a restore onto other shards, which changes nothing and is
// refused for what the restore is refused for, and then runs it.
func TestRestorePlan(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 2_000, Seed: 9})
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
	targets := emptyNodes(t, 4)
	to := append([]string{"restore", "latest", "--to", strings.Join(targets, ","), "--shards", "3"}, repo...)
	plan := func(args ...string) outcome { return slotark(t, password, append(args, "--plan")...) }

	for range 2 { // the second finds the nodes as the first did
		plan(to...).want(t, exitDone, "0-5460 on "+targets[0], "replica "+targets[3], "2,000 keys by RESTORE, from 2 shards onto 3", "nothing was changed", "guessed at 50.0 MB/s")
	}
	var said planMessage
	if err := json.Unmarshal([]byte(plan(append(to, "--json")...).want(t, exitDone).stdout), &said); err != nil {
		t.Fatal(err)
	}
	if said.Keys != 2_000 || len(said.Shards) != 3 || said.Shards[0].Replicas[0].Address != targets[3] || said.Shards[2].Memory == 0 || len(said.Steps) != 7 || said.Fetch == 0 {
		t.Errorf("%+v", said)
	}
	if said.Expected <= 0 || said.Steps[3].Expected <= said.Steps[6].Expected {
		t.Errorf("the steps are expected to take %+v", said.Steps)
	}
	slotark(t, password, append([]string{"drill", "latest", "--runtime", "process", "--replicas", "0"}, repo...)...).want(t, exitDone)
	plan(to...).want(t, exitDone, "by the drill of "+string(said.Snapshot))
	plan(append(to, "--replicas", "0")...).want(t, exitDone, targets[3]+" was not needed")
	dir := filepath.Join(t.TempDir(), "new")
	plan(append([]string{"restore", "latest", "--to-dir", dir, "--at", "127.0.0.1:1001,127.0.0.1:1002,127.0.0.1:1003", "--shards", "3"}, repo...)...).
		want(t, exitDone, "3 dumps, cut anew by slot from the snapshot's 2", "03-shard-10923-primary")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a plan made the folder: %v", err)
	}

	slotark(t, password, to...).want(t, exitDone, "shard 5461-10922", "equal: 2,000 keys in 16384 slots")
	live := append([]string{"verify", "latest", "--live", "--node", targets[0]}, repo...)
	slotark(t, password, append(live, "--any-layout")...).want(t, exitDone, "equal: 2,000 keys")
	slotark(t, password, live...).want(t, exitFindings, "no primary owns exactly these slots")
	plan(to...).want(t, exitRefused, "holds", "belongs to a cluster already").wantOneLine(t)
	for text, args := range map[string][]string{
		"slots 5 are given to two shards":   {"--shard-slots", "0-5", "--shard-slots", "5-16383"},
		"slots 10-16383 are given to no":    {"--shard-slots", "0-9"},
		"give the addresses that the new":   {"--shards", "3"},
		"--shards -1: want 1 to 16384":      {"--shards", "-1"},
		"--shard-slots 1-x":                 {"--shard-slots", "1-x"},
		"--shards divides the slots evenly": {"--shards", "2", "--shard-slots", "0-16383"},
	} {
		out := slotark(t, password, append(append([]string{"restore", "latest", "--to-dir", dir}, args...), repo...)...)
		if (out.code != exitUsage && out.code != exitRefused) || !strings.Contains(out.stderr, text) {
			t.Errorf("%q: exit code %d: %s", args, out.code, out.stderr)
		}
	}
}
