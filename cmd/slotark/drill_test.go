package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/snapshot/manifest"
)

// TestDrillCommand rotates over two snapshots, onto other shards and from one
// store, and lists what was proved.
func TestDrillCommand(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 200, Seed: 9})
	root := t.TempDir()
	repo := []string{"--repo", filepath.Join(root, "here"), "--mirror", filepath.Join(root, "there")}
	for range 2 {
		slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
	}
	ids := idsOf(t, repo...)
	drill := func(args ...string) outcome {
		t.Helper()
		return slotark(t, "", append(append([]string{"drill"}, args...), repo...)...)
	}
	drill("list").want(t, exitDone, "no drills in")
	drill("latest", "--rotate").want(t, exitUsage, "--rotate chooses the snapshot").wantOneLine(t)
	drill("--shards", "-1").want(t, exitUsage, "--shards: -1: want 1 to 16384").wantOneLine(t)
	drill("--runtime", "process", "--from", "nowhere").wantFailure(t, exitFailed, `store "nowhere" does not have snapshot`)
	// The newest has had none yet; then the older one has not.
	reshaped := []string{"--rotate", "--runtime", "process", "--shards", "2", "--replicas", "1", "--from", "there"}
	drill(reshaped...).want(t, exitDone, "Proved. "+ids[0], "2 + 1 ", "from there alone", "every one of 200 keys is equal")
	drill("--rotate", "--runtime", "process").want(t, exitDone, "Proved. "+ids[1])
	o := drill("list").want(t, exitDone, "PROVED", ids[0], ids[1], "2 + 1 ", ", from there alone")
	if strings.Count(o.stdout, "  yes  ") != 2 || strings.Index(o.stdout, ids[1]) > strings.Index(o.stdout, ids[0]) {
		t.Errorf("the newest drill does not come first:\n%s", o.stdout)
	}
	report := drill("report", "latest").want(t, exitDone, "# Restore drill ", "**Proved.** Every one of 200 keys in 16384 slots is equal", "| snapshot | "+ids[1], "| compare | ", "any store that had it whole").stdout
	digest := fingerprint(t, ids[1], repo...)
	if !strings.Contains(report, "`"+digest+"`") || strings.Contains(report, "## Findings") {
		t.Errorf("want the fingerprint %s in\n%s", digest, report)
	}
	older := strings.Fields(strings.Split(o.stdout, "\n")[2])[0]
	drill("report", older).want(t, exitDone, "# Restore drill "+older, "there alone, as if the other stores were lost", "divided anew over 2 shards")
	drill("report", "nothing").wantFailure(t, exitFailed, "no such drill: nothing")
	drill("report").want(t, exitUsage, "takes one drill").wantOneLine(t)
	var newest drillMessage
	if err := json.Unmarshal([]byte(strings.SplitAfter(drill("list", "--json").want(t, exitDone).stdout, "\n")[0]), &newest); err != nil || string(newest.Snapshot) != ids[1] || !newest.Proved || len(newest.Phases) < 5 {
		t.Errorf("%v: %+v", err, newest)
	}
}

// TestShardMissingFromManifest takes a whole shard out of a stored manifest, and has
// all else of it agree, the checksum too.
func TestShardMissingFromManifest(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2, Replicas: 2}, dataset.Options{Keys: 100, Seed: 14})
	root := t.TempDir()
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", root).want(t, exitDone)
	at := slices.IndexFunc(objects(t, root), func(name string) bool { return strings.HasSuffix(name, "/manifest.json") })
	path := filepath.Join(root, objects(t, root)[at])
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m manifest.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	gone := m.Shards[1].Primary
	m.Shards = m.Shards[:1]
	m.Topology.Nodes = slices.DeleteFunc(m.Topology.Nodes, func(n manifest.Node) bool { return n.ID == gone || n.Primary == gone })
	m.Checksum = strings.Repeat("0", 64)
	if text, err = json.MarshalIndent(&m, "", "  "); err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), m.Checksum, hex.EncodeToString(sum[:]), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range [][]string{{"drill", "--runtime", "process"}, {"verify", "latest"}, {"restore", "latest", "--to-dir", filepath.Join(t.TempDir(), "to")}} {
		o := slotark(t, "", append(verb, "--repo", root)...)
		if o.code == exitDone || !strings.Contains(o.stdout+o.stderr, "slots 8192-16383 are in no shard") {
			t.Errorf("%s: exit code %d\n%s%s", verb[0], o.code, o.stdout, o.stderr)
		}
	}
}
