package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/snapshot/preflight"
)

// TestDoctor looks at one cluster as it goes from well to ill, as a person and
// as a program.
func TestDoctor(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Replicas: 3}, dataset.Options{Keys: 600, Seed: 4})
	a, b := c.Primaries()[0], c.Primaries()[1]
	repo := filepath.Join(t.TempDir(), "repo")
	doctor := func(args ...string) outcome {
		t.Helper()
		return slotark(t, password, append([]string{"doctor", "--node", a.Addr()}, args...)...).wantNoSecret(t)
	}
	before := serverSettings(t, c.Addrs())

	// Well, but for advice: the answer stands first, nothing on stderr, and no
	// repository was made.
	o := doctor("--repo", repo).want(t, exitDone, "3 shards, 6 nodes, Redis ", "16384 of 16384 slots", "shard 0-5460", "by bgsave",
		"advice   [one-host] ", "advice   [no-persistence] ", "[node-timeout]", "[no-repository]", "doctor --advice")
	if !strings.HasPrefix(o.stdout, "default is ready for a snapshot: ") || o.stderr != "" {
		t.Errorf("stdout %s\nstderr %s", o.stdout, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		if len([]rune(line)) > lineWidth+1 {
			t.Errorf("a long line: %q", line)
		}
	}
	if n := strings.Count(o.stdout, "\n"); n > 20 || strings.Contains(o.stdout, "-> ") {
		t.Errorf("%d lines of a cluster that is well:\n%s", n, o.stdout)
	}
	doctor("--advice").want(t, exitDone, "-> Spread the nodes", "[no-persistence]")
	if _, err := os.Stat(repo); err == nil {
		t.Error("doctor made the repository")
	}

	// A warning: a save that failed.
	blocked := filepath.Join(c.Replicas()[0].Proc.Dir(), "dump.rdb")
	if err := os.RemoveAll(blocked); err != nil { // of its full sync
		t.Fatal(err)
	}
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	do(t, c.Replicas()[0].Addr(), "BGSAVE")
	clustertest.Eventually(t, runLimit, func(context.Context) error {
		if text := fmt.Sprint(do(t, c.Replicas()[0].Addr(), "INFO", "persistence")); !strings.Contains(text, "rdb_last_bgsave_status:err") {
			return errors.New("the save has not failed yet")
		}
		return nil
	})
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	doctor().want(t, exitFindings, "is ready for a snapshot: 1 warning", "its last save failed [save-failed]")
	// Which a snapshot takes along, into its manifest; its advice it does not.
	slotark(t, password, "snapshot", "--collect", "bgsave", "--node", a.Addr(), "--repo", repo).
		want(t, exitDone, "is whole", "slotark: warning: node "+c.Replicas()[0].Addr()+": its last save failed")
	o = slotark(t, "", "show", "latest", "--repo", repo).want(t, exitDone, "its last save failed")
	if strings.Contains(o.stdout, "one machine") {
		t.Errorf("advice is in the manifest: %s", o.stdout)
	}
	doctor("--repo", repo).want(t, exitDone, "is ready")

	// Errors, all of them at once, and the stores among them.
	do(t, a.Addr(), "CLUSTER", "SETSLOT", 7, "MIGRATING", b.ID)
	do(t, b.Addr(), "CLUSTER", "SETSLOT", 7, "IMPORTING", a.ID)
	newer := t.TempDir()
	writeFile(t, filepath.Join(newer, "slotark.json"), `{"format_version": 99}`)
	o = doctor("--repo", newer).want(t, exitRefused, "is NOT ready for a snapshot: 3 errors", "[open-slot]", "[store-down]")
	if strings.Count(o.stdout, "  ERROR    ") != 3 || o.stderr != "" {
		t.Errorf("stdout %s\nstderr %s", o.stdout, o.stderr)
	}
	slotark(t, password, "snapshot", "--node", a.Addr(), "--repo", repo).
		wantFailure(t, exitRefused, "open on node "+a.Addr(), "open on node "+b.Addr())

	// As a program reads it.
	o = doctor("--json").want(t, exitRefused)
	var found []doctorFindingMessage
	var last doctorMessage
	for line := range strings.Lines(o.stdout) {
		var f doctorFindingMessage
		into := any(&f)
		if strings.Contains(line, `"message_type":"doctor"`) {
			into = &last
		}
		if err := json.Unmarshal([]byte(line), into); err != nil {
			t.Fatal(err)
		}
		if f.Type != "" {
			found = append(found, f)
		}
	}
	if last.Type != "doctor" || last.Ready || last.Errors != 2 || last.Nodes != 6 || last.Shards != 3 || last.Slots != 16384 ||
		len(found) != last.Errors+last.Warnings+last.Infos || found[0].Code != "open-slot" || found[0].Severity != preflight.Error {
		t.Errorf("%+v, %+v", last, found)
	}
	if !strings.Contains(o.stderr, `"code":13`) || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("stderr: %s", o.stderr)
	}
	for _, n := range []*clustertest.Node{a, b} {
		do(t, n.Addr(), "CLUSTER", "SETSLOT", 7, "STABLE")
	}
	doctor("--collect", "agent").want(t, exitRefused, "is named for it [no-agent]")
	wantSameSettings(t, before, c.Addrs())
	// What cannot be asked at all is a failure as for every verb.
	slotark(t, wrongPassword, "doctor", "--node", a.Addr()).wantFailure(t, exitFailed, "refused the password")
}

// docs/doctor.md has a line for each code, under its severity, and none else.
func TestDoctorDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]preflight.Severity{"Errors": preflight.Error, "Warnings": preflight.Warning, "Advice": preflight.Info}
	for heading, severity := range headings {
		_, rest, _ := strings.Cut(string(text), "\n## "+heading+"\n")
		section, _, _ := strings.Cut(rest, "\n## ")
		var listed []string
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)`(?: \\*)? \\|").FindAllStringSubmatch(section, -1) {
			listed = append(listed, row[1])
		}
		slices.Sort(listed)
		if want := preflight.Codes()[severity]; !slices.Equal(listed, want) {
			t.Errorf("under %s are %q, there are %q", heading, listed, want)
		}
	}
}
