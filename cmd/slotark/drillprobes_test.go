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

// TestDrillProbes asks a restored cluster what a file says: whatever does not come
// true is a finding, and a file that is wrong is told of before anything is done.
func TestDrillProbes(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 300, Seed: 13, ExpiringShare: -1})
	client := c.Client()
	if err := client.Set(t.Context(), "greeting", "a secret of the key", 0).Err(); err != nil {
		t.Fatal(err)
	}
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
	c.Kill()
	drill := func(probes string, args ...string) outcome {
		t.Helper()
		file := filepath.Join(t.TempDir(), "probes.yaml")
		if err := os.WriteFile(file, []byte(probes), 0o600); err != nil {
			t.Fatal(err)
		}
		return slotark(t, "", append(append([]string{"drill", "--runtime", "process", "--probes", file}, args...), repo...)...)
	}
	drill("probes:\n  - key: a\n    ttl: soon\n").want(t, exitUsage, `probes.yaml:3: probes[0].ttl: "soon" is not how long`).wantOneLine(t)
	slotark(t, "", append([]string{"drill", "--probes", "/no/such/file"}, repo...)...).want(t, exitUsage, "read the probes").wantOneLine(t)
	slotark(t, "", append([]string{"drill", "list"}, repo...)...).want(t, exitDone, "no drills")

	drill("probes:\n  - key: greeting\n  - {pattern: \"*\", count: 301}\n  - {script: \"return redis.call('STRLEN', KEYS[1])\", keys: [greeting], result: 19}\n").
		want(t, exitDone, "Proved.", " redirections, and wrote on 2 shards; 2 of 4 functions called; 3 of 3 probes passed")
	o := drill("probes:\n  - key: greeting\n  - {name: nobody there, key: nobody}\n  - {key: greeting, value: hello}\n", "--json").want(t, exitFindings)
	var r drillMessage
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Proved || len(r.Findings) != 2 || r.Findings[0].Code != "probe" || r.Findings[0].Subject != "nobody there" || len(r.Probes) != 3 || !r.Probes[0].Passed || r.Probes[1].Passed {
		t.Errorf("%+v", r.Report)
	}
	if strings.Contains(o.stdout, "a secret of the key") {
		t.Errorf("the evidence tells what a key holds:\n%s", o.stdout)
	}
	slotark(t, "", append([]string{"drill", "report", "latest"}, repo...)...).
		want(t, exitDone, "**Not proved**: 2 findings.", "## What a client was answered", "| nobody there | **NO** | there is no such key |", "its value is another")
}
