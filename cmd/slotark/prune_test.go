package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
)

// idsOf are the ids of the snapshots that list shows, newest first.
func idsOf(t *testing.T, repo ...string) []string {
	t.Helper()
	o := slotark(t, "", append([]string{"list", "--json"}, repo...)...).want(t, exitDone)
	var ids []string
	for line := range strings.Lines(o.stdout) {
		var entry entryMessage
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(entry.ID))
	}
	return ids
}

// TestPruneAndHold is a person's way: see what would go, hold one, prune,
// release, prune.
func TestPruneAndHold(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 8})
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	for name, repo := range map[string][]string{
		"folders": {"--repo", filepath.Join(t.TempDir(), "repo"), "--mirror", filepath.Join(t.TempDir(), "mirror")},
		"S3":      {"--repo", east.URL(east.Bucket(t, "prune"), "backups"), "--mirror", west.URL(west.Bucket(t, "prune"), "backups")},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(args ...string) outcome { return slotark(t, password, append(args, repo...)...) }
			for range 4 {
				run("snapshot", "--node", c.Addrs()[0]).want(t, exitDone)
			}
			ids := idsOf(t, repo...)
			run("prune").want(t, exitUsage, "no retention rule", "--keep-daily 7")
			rules := []string{"prune", "--keep-last", "1", "--keep-minimum", "1"}
			run(append(rules, "--dry-run")...).want(t, exitDone, "1 snapshot would be kept, 3 dropped", "newest whole, last 1 of 1", "no rule keeps it", "Nothing was deleted")
			if got := idsOf(t, repo...); len(got) != 4 {
				t.Fatalf("a dry run left %v", got)
			}
			run("hold", ids[1], "--reason", "audit 4711", "--until", "30d").want(t, exitDone, "held until", "audit 4711")
			run("list").want(t, exitDone, "audit 4711")
			run("show", ids[1]).want(t, exitDone, "audit 4711")
			run("verify", ids[2]).want(t, exitDone)
			run(rules...).want(t, exitDone, "3 snapshots kept, 1 dropped", "audit 4711", "newest verified")
			run("hold", ids[1], "--release").want(t, exitDone, "not held any more")
			o := run(append(rules, "--json")...).want(t, exitDone, `"outcome":"dropped"`, `"message_type":"prune"`, `"kept":2`, `"dropped":1`)
			if got := idsOf(t, repo...); len(got) != 2 || got[0] != ids[0] || got[1] != ids[2] {
				t.Errorf("left are %v of %v\n%s", got, ids, o.stdout)
			}
			run("verify", ids[0]).want(t, exitDone, "sound at level deep")
			run("show", ids[1]).want(t, exitFailed, "no such snapshot")
		})
	}
	t.Run("wrong usage", func(t *testing.T) {
		repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
		for says, args := range map[string][]string{
			"--keep-last: -1":                  {"prune", "--keep-last", "-1"},
			"--keep-minimum: 0":                {"prune", "--keep-last", "1", "--keep-minimum", "0"},
			`"5 days" is not a time span`:      {"prune", "--keep-within", "5 days"},
			`"Mars" is not a time zone`:        {"prune", "--keep-daily", "1", "--time-zone", "Mars"},
			"--orphans-older: 1m0s":            {"prune", "--keep-daily", "1", "--orphans-older", "1m"},
			"a hold has a reason":              {"hold", "latest"},
			"--release goes without":           {"hold", "latest", "--release", "--reason", "x"},
			"neither a date":                   {"hold", "latest", "--reason", "x", "--until", "tomorrow"},
			"is over already":                  {"hold", "latest", "--reason", "x", "--until", "2020-01-01"},
			"slotark hold takes one snapshot":  {"hold"},
			"slotark prune takes no arguments": {"prune", "latest"},
		} {
			slotark(t, "", append(args, repo...)...).want(t, exitUsage, says).wantOneLine(t)
		}
	})
}

// TestPruneUnderARestore stops a restore in mid-air, as a process, and prunes.
func TestPruneUnderARestore(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 20_000, Seed: 9})
	server := s3test.Start(t)
	for name, repo := range map[string]string{"folder": filepath.Join(t.TempDir(), "repo"), "S3": server.URL(server.Bucket(t, "restored"), "")} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo).want(t, exitDone)
			}
			ids := idsOf(t, "--repo", repo)
			prune := []string{"prune", "--keep-last", "1", "--keep-minimum", "1", "--repo", repo}
			targets := emptyNodes(t, 3)
			cmd := command(t.Context(), password, "restore", ids[1], "--to", strings.Join(targets, ","), "--repo", repo)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			clustertest.Eventually(t, runLimit, func(context.Context) error {
				// Looked for behind its back: a list takes about as long as the restore.
				held := objects(t, repo)
				if name == "S3" {
					held = s3Objects(t, server, "restored")
				}
				if !slices.ContainsFunc(held, func(object string) bool {
					return strings.Contains(object, "/restores/") && strings.HasSuffix(object, "-begun.json")
				}) {
					return errors.New("the restore has not begun")
				}
				return nil
			})
			if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			slotark(t, "", prune...).want(t, exitDone, "being restored since", "2 snapshots kept, 0 dropped")
			if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "equal: 20,000 keys") {
				t.Fatalf("the restore ended with %v\n%s", err, said.String())
			}
			slotark(t, "", prune...).want(t, exitDone, "1 snapshot kept, 1 dropped")
		})
	}
}

// TestRestoreAndPruneRace starts both as processes at once, several times.
func TestRestoreAndPruneRace(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 500, Seed: 10})
	server := s3test.Start(t)
	for name, repo := range map[string]string{"folder": filepath.Join(t.TempDir(), "repo"), "S3": server.URL(server.Bucket(t, "raced"), "")} {
		slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo).want(t, exitDone)
		for round := range 4 {
			slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo).want(t, exitDone)
			ids := idsOf(t, "--repo", repo)
			dir := filepath.Join(t.TempDir(), "restored")
			cmd := command(t.Context(), password, "restore", ids[1], "--to-dir", dir, "--at", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", "--repo", repo)
			restored := make(chan outcome, 1)
			go func() { restored <- finish(t, cmd) }()
			pruned := slotark(t, "", "prune", "--keep-last", "1", "--keep-minimum", "1", "--repo", repo).want(t, exitDone)
			o := <-restored
			_, err := os.Stat(dir)
			switch {
			case o.code == exitDone && err == nil:
			// It was gone when it was claimed, or between being listed and being opened.
			case o.code == exitFailed && errors.Is(err, os.ErrNotExist) &&
				strings.Contains(o.stderr, "no such snapshot"):
			default:
				t.Errorf("%s, round %d: restore ended with %d: %s%s\nprune: %s", name, round, o.code, o.stdout, o.stderr, pruned.stdout)
			}
		}
	}
}

// TestServePrunes lets a schedule take snapshots and prune them, one at a time.
func TestServePrunes(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 100, Seed: 11})
	repo := filepath.Join(t.TempDir(), "repo")
	cmd := command(t.Context(), password, "serve", "--node", c.Addrs()[0], "--repo", repo, "--snapshot-schedule", "@every 1s",
		"--prune-schedule", "@every 2s", "--keep-last", "2", "--keep-minimum", "1")
	var said log
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, runLimit, func(context.Context) error {
		if !strings.Contains(said.String(), "msg=\"snapshot dropped\"") || !strings.Contains(said.String(), "msg=pruned") {
			return errors.New("nothing is pruned yet:\n" + said.String())
		}
		return nil
	})
	stop(t, cmd, &said)
	if ids := idsOf(t, "--repo", repo); len(ids) < 2 {
		t.Errorf("left are %v", ids)
	}
}
