package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// TestRestorePart takes keys out of a sealed snapshot, into the cluster that has
// lost them and into files, as a person does it.
func TestRestorePart(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 300, Seed: 8})
	node := c.Addrs()[0]
	for i := range 12 {
		do(t, node, "SET", fmt.Sprintf("user:%d", i), i)
	}
	recipient, identity := newIdentity(t)
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", node, "--recipient", recipient}, repo...)...).want(t, exitDone)
	restore := func(args ...string) outcome {
		t.Helper()
		return slotark(t, password, append(append([]string{"restore", "latest"}, args...), repo...)...).wantNoSecret(t)
	}
	key := []string{"--identity", identity}
	into := append(key, "--into", node, "--match", "user:*")
	do(t, node, "DEL", "user:3")
	do(t, node, "SET", "user:4", "other")

	restore(append(into, "--diff")...).want(t, exitDone, "12 keys of snapshot", "missing", `would be written: "user:3"`, "different", `in the way (see --existing): "user:4"`, "equal      10 keys  left alone\n", "nothing was written")
	restore(into...).wantFailure(t, exitRefused, "keys are there already, and differ: 1 key, such as", "user:4", "--existing")
	restore(append(into, "--existing", "skip")...).want(t, exitDone, `written: "user:3"`, `left as they are: "user:4"`, "restored 1 key")
	o := restore(append(into, "--existing", "replace", "--json")...).want(t, exitDone)
	var m partMessage
	if err := json.Unmarshal([]byte(o.stdout), &m); err != nil || m.Type != "restore_part" || m.Selected != 12 || m.Equal != 11 || m.Differ.Keys != 1 || m.Written != 1 || len(m.Findings) != 0 {
		t.Errorf("%v: %+v", err, m)
	}
	if got := fmt.Sprint(do(t, node, "GET", "user:3"), do(t, node, "GET", "user:4")); got != "34" {
		t.Errorf("the cluster has %s", got)
	}

	file := filepath.Join(t.TempDir(), "users.rdb")
	restore(append(key, "--match", "user:*", "--out", file)...).want(t, exitDone, "wrote 12 keys to "+file)
	slotark(t, "", "verify", file).want(t, exitDone, "sound at level deep", "12")
	restore(append(key, "--match", "user:*", "--out", file)...).wantFailure(t, exitFailed, "write "+file, "exists")
	if o = restore(append(key, "--key", "user:7", "--out", "-", "--format", "resp")...).want(t, exitDone); !strings.HasPrefix(o.stdout, "*5\r\n$7\r\nRESTORE\r\n$6\r\nuser:7\r\n") || !strings.Contains(o.stderr, "wrote 1 key") {
		t.Errorf("stdout %q, stderr %s", o.stdout, o.stderr)
	}

	// Without the key, into nothing, of nothing, and what contradicts itself.
	restore("--into", node, "--match", "user:*").wantFailure(t, exitNoIdentity)
	missing := filepath.Join(t.TempDir(), "none.rdb")
	restore(append(key, "--key", "nobody", "--out", missing)...).wantFailure(t, exitFailed, "no key of snapshot")
	if _, err := os.Stat(missing); err == nil {
		t.Error("a file without keys was made")
	}
	for says, args := range map[string][]string{
		"say which keys":             {"--into", node},
		"say where to":               {"--key", "a"},
		"rebuild a whole cluster":    {"--to", node, "--key", "a"},
		"go with --to or --to-dir":   {"--into", node, "--key", "a", "--shards", "2"},
		"--existing maybe":           {"--into", node, "--key", "a", "--existing", "maybe"},
		"--diff goes with --into":    {"--out", file, "--key", "a", "--diff"},
		"--format goes with --out":   {"--into", node, "--key", "a", "--format", "rdb"},
		"say what kind of file":      {"--out", "file", "--key", "a"},
		`"text" is no type of a key`: {"--into", node, "--type", "text"},
		"--slots 99999":              {"--into", node, "--slots", "99999"},
	} {
		restore(args...).want(t, exitUsage, says).wantOneLine(t)
	}
}
