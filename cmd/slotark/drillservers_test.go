package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/restore/drill"
)

// TestScheduledDrillOnEachServer is the night after a region was lost: serve
// drills what the mirror in S3 has of a cluster that is gone, in containers of the
// cluster's own server where a Docker engine answers, else in its processes. It
// keeps the evidence. Then the oldest server's snapshot rehearses an upgrade to
// each of the others.
func TestScheduledDrillOnEachServer(t *testing.T) {
	t.Parallel()
	docker := dockerAnswers(t)
	if !docker && os.Getenv("CI") == "true" {
		t.Fatal("no Docker engine answers: in CI the drills have to run in containers")
	}
	servers := servertest.Unpacked(t)
	mirror := s3test.Start(t)
	for i, server := range servers {
		t.Run(server.Engine+" "+server.Version, func(t *testing.T) {
			t.Parallel()
			primary := t.TempDir()
			bucket := mirror.URL(mirror.Bucket(t, fmt.Sprintf("drill-%d", i)), "backups") + "&name=mirror"
			repo := []string{"--repo", primary, "--mirror", bucket}
			c := filled(t, clustertest.Options{Replicas: 3, Binary: server.Binary}, dataset.Options{Keys: 3_000, Seed: 12})
			slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone, "mirror stored")
			c.Kill()
			lose(t, primary)

			config := filepath.Join(t.TempDir(), "slotark.yaml")
			text := fmt.Sprintf("cluster: {nodes: [%q]}\nrepository: {primary: %q, mirrors: [%q]}\ndrill: {from: mirror, %s}\nschedule: {drill: \"@every 1s\"}\n",
				c.Addrs()[0], primary, bucket, drillWith(docker, server))
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			serveUntilProved(t, docker, config)
			if c := wantEvidence(t, docker, server, repo).Changes; c != nil {
				t.Errorf("the same server changes %+v", c)
			}

			if i == 0 {
				for _, newer := range servers[1:] {
					flag, value, _ := strings.Cut(drillWith(docker, newer), ": ")
					slotark(t, "", append([]string{"drill", "--from", "mirror", "--" + flag, value}, repo...)...).
						want(t, exitDone, "Proved. ", "every one of 3,000 keys is equal", "Redis "+server.Version+" to ")
					if c := wantEvidence(t, docker, newer, repo).Changes; c == nil || c.RDBBefore != 10 || c.RDBAfter <= 10 || len(c.Memory) != 3 || c.Memory[0].Before < 1<<20 || c.Memory[0].After < 1<<20 || len(c.Parameters) == 0 || !equalKeys(c.Encodings) || len(c.Rules) > 0 {
						t.Errorf("changes %+v", c)
					}
					slotark(t, "", append([]string{"drill", "report", "latest"}, repo...)...).
						want(t, exitDone, "## What this server changes", "| RDB version | 10 | ", "| memory of slots 0-5460 | ", "| function libraries, of all primaries | 3 | 3 |", "| keys encoded as string | ")
					slotark(t, "", append([]string{"show", "latest"}, repo...)...).want(t, exitDone, "drilled ", ": proved, RTO ", "load ", "Redis "+server.Version+" to ", "RDB 10 to ")
				}
			}
		})
	}
}

// equalKeys tells whether the encodings are those of all keys on either side, and sets
// of a few words, which Redis 7.0 keeps in hashtables, in listpacks now.
func equalKeys(encodings []drill.EncodingChange) bool {
	var before, after uint64
	became := false
	for _, e := range encodings {
		before, after = before+e.Before, after+e.After
		became = became || e.Encoding == "set listpack" && e.Before == 0 && e.After > 0
	}
	return before == 3_000 && after == 3_000 && became
}

// drillWith is the setting by which a drill runs a server.
func drillWith(docker bool, server servertest.Server) string {
	if docker {
		return "image: " + server.Image()
	}
	return "program: " + server.Binary
}

// lose removes the dumps of a store in a folder.
func lose(t *testing.T, root string) {
	t.Helper()
	lost := 0
	for _, name := range objects(t, root) {
		if strings.Contains(name, "/dump.rdb") {
			if err := os.Remove(filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
			lost++
		}
	}
	if lost == 0 {
		t.Fatal("no dump to lose")
	}
}

func serveUntilProved(t *testing.T, docker bool, config string) {
	t.Helper()
	cmd := command(t.Context(), password, "serve", "--config", config)
	var said log
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, runLimit, func(context.Context) error {
		if !strings.Contains(said.String(), "snapshot is proved") {
			return errors.New("no snapshot is proved yet:\n" + said.String())
		}
		return nil
	})
	stop(t, cmd, &said)
	runtime := map[bool]string{true: "docker", false: "process"}[docker]
	if left := leftovers(t, runtime, cmd.Process.Pid); left != "" {
		t.Errorf("serve left %s", left)
	}
}

// wantEvidence checks the record of the newest drill.
func wantEvidence(t *testing.T, docker bool, server servertest.Server, repo []string) drillMessage {
	t.Helper()
	o := slotark(t, "", append([]string{"drill", "list", "--json"}, repo...)...).want(t, exitDone)
	newest, _, _ := strings.Cut(o.stdout, "\n")
	var r drillMessage
	if err := json.Unmarshal([]byte(newest), &r); err != nil {
		t.Fatal(err)
	}
	if !r.Proved || len(r.Findings) > 0 || r.Keys != 3_000 || r.Slots != 16384 || r.From != "mirror" || r.RTO <= 0 || r.RPO <= 0 {
		t.Errorf("evidence %+v", r.Report)
	}
	if r.Engine != server.Engine || r.ServerVersion != server.Version || docker && r.Image != server.Image() || !strings.HasPrefix(r.Nodes, "3 + 3 ") {
		t.Errorf("drilled in %s %s, %s, image %q; want %+v", r.Engine, r.ServerVersion, r.Nodes, r.Image, server)
	}
	for _, phase := range []string{"provision", "load", "compare", "remove"} {
		if !slices.ContainsFunc(r.Phases, func(p drill.Phase) bool { return p.Name == phase && p.Elapsed > 0 }) {
			t.Errorf("no time of %s in %+v", phase, r.Phases)
		}
	}
	if digest := fingerprint(t, string(r.Snapshot), repo...); r.Fingerprint != digest {
		t.Errorf("fingerprint %s, the snapshot's is %s", r.Fingerprint, digest)
	}
	return r
}
