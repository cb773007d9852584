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
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
)

// program is the slotark that the tests run: built once, run as a process of
// its own, so that exit codes, signals and memory are the real ones.
var program string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "slotark-test-")
	if err != nil {
		panic(err) // impossible: every other test needs a temporary folder too
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "slotark")
	build := exec.Command("go", "build", "-pgo=off", "-ldflags", "-X main.version=test", "-o", program, ".")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build slotark: %v\n%s", err, output)
		return 1
	}
	// For all tests, as one that runs in parallel may set nothing. The compiler
	// keeps its cache in that folder too, so it comes after the build.
	environment := s3test.Environment()
	environment["XDG_CACHE_HOME"] = filepath.Join(dir, "cache")
	for name, value := range environment {
		if err := os.Setenv(name, value); err != nil {
			panic(err) // impossible: no name is empty
		}
	}
	return m.Run()
}

// outcome is how one run of the program ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// runLimit bounds one run; no test needs a tenth of it.
const runLimit = 3 * time.Minute

// command is the program, not started yet. The password goes through the
// environment, as a person's would.
func command(ctx context.Context, password string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "SLOTARK_PASSWORD="+password, "REDISCLI_AUTH=")
	return cmd
}

// slotark runs the program to its end.
func slotark(t *testing.T, password string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	return finish(t, command(ctx, password, args...))
}

// finish runs a command to its end and keeps what it said.
func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	return outcome{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// want fails the test unless the run ended with the code, and each part of text
// is in what it printed.
func (o outcome) want(t *testing.T, code int, parts ...string) outcome {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", o.code, code, o.stdout, o.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(o.stdout+o.stderr, part) {
			t.Fatalf("%q is not in the output\nstdout: %s\nstderr: %s", part, o.stdout, o.stderr)
		}
	}
	return o
}

// wantOneLine checks that a failure is told in one line, and hints in one each.
func (o outcome) wantOneLine(t *testing.T) outcome {
	t.Helper()
	told := 0
	for line := range strings.Lines(o.stderr) {
		switch {
		case !strings.HasPrefix(line, "slotark: "):
			t.Errorf("stderr has a line that is not a message: %q", line)
		case !strings.HasPrefix(line, "slotark: hint: ") && !strings.HasPrefix(line, "slotark: warning: "):
			told++
		}
	}
	if told != 1 {
		t.Errorf("the failure is told in %d lines, want 1:\n%s", told, o.stderr)
	}
	return o
}

const password = "correct horse battery staple"

// filled starts a cluster with a password and keys in it.
func filled(t *testing.T, o clustertest.Options, keys dataset.Options) *clustertest.Cluster {
	t.Helper()
	o.Password = password
	c := clustertest.Start(t, o)
	fill(t, c, keys)
	return c
}

func fill(t *testing.T, c *clustertest.Cluster, keys dataset.Options) {
	t.Helper()
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Load(t.Context(), c.Access(), topology, keys); err != nil {
		t.Fatal(err)
	}
}

// objects are the files below a folder that a store is kept in, relative to it.
func objects(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}
