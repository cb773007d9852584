package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// log is what a running program prints, to be read while it runs.
type log struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// TestServe runs the schedule fast: a snapshot is taken and drilled, in
// containers where a Docker engine answers, and a stop leaves nothing.
func TestServe(t *testing.T) {
	t.Parallel()
	runtimes := []string{"process"}
	if dockerAnswers(t) {
		runtimes = append(runtimes, "docker")
	} else if os.Getenv("CI") == "true" {
		t.Error("no Docker engine answers: in CI the drill has to run in containers")
	}
	c := filled(t, clustertest.Options{Replicas: 3}, dataset.Options{Keys: 5_000, Seed: 6})
	for _, runtime := range runtimes {
		t.Run(runtime, func(t *testing.T) {
			repo := filepath.Join(t.TempDir(), "repo")
			cmd := command(t.Context(), password, "serve", "--node", c.Addrs()[0], "--repo", repo, "--runtime", runtime,
				"--snapshot-schedule", "@every 1s", "--drill-schedule", "@every 2s")
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
			slotark(t, "", "list", "--repo", repo).want(t, exitDone, "proved, RTO")
			if left := leftovers(t, runtime, cmd.Process.Pid); left != "" {
				t.Errorf("serve left %s", left)
			}
		})
	}
}

// stop ends serve as systemd does, and wants a clean end.
func stop(t *testing.T, cmd *exec.Cmd, said *log) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v\n%s", err, said)
	}
	text := said.String()
	if !strings.Contains(text, "msg=stopped") {
		t.Errorf("serve did not say that it stopped:\n%s", text)
	}
	if strings.Contains(text, password) {
		t.Errorf("the password is in the log:\n%s", text)
	}
}

func dockerAnswers(t *testing.T) bool {
	t.Helper()
	return exec.CommandContext(t.Context(), "docker", "version").Run() == nil
}

// leftovers names what the drills of one process left behind: containers, or
// folders. Other tests drill at the same time.
func leftovers(t *testing.T, runtime string, pid int) string {
	t.Helper()
	if runtime == "docker" {
		output, err := exec.CommandContext(t.Context(), "docker", "ps", "-aq", "--filter", fmt.Sprintf("label=io.slotark.owner-pid=%d", pid)).CombinedOutput()
		if err != nil {
			t.Fatalf("docker ps: %v: %s", err, output)
		}
		return strings.TrimSpace(string(output))
	}
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), fmt.Sprintf("slotark-drill-*-%d-*", pid)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(folders, " ")
}
