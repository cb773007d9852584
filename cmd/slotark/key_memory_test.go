package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
)

const (
	shownLimit = 64 << 20 // bytes of memory, whatever the value
	shownValue = 96 << 20 // bytes of each value
)

// TestShowKeyMemory prints values larger than the memory it may take.
func TestShowKeyMemory(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Primaries: 1, Password: password, ExtraArgs: []string{"--rdbcompression", "no"}})
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{6}).Read(noise)
	const pieces = shownValue / (1 << 20)
	send(t, c, c.Addrs()[0], 4*pieces, func(yield func([]any) bool) {
		for i := range pieces {
			noise := noise[i*7919%1000:]
			text := base64.StdEncoding.EncodeToString(noise)
			for _, command := range [][]any{
				{"APPEND", "binary", noise},
				{"APPEND", "text", text},
				{"RPUSH", "list", text[:700_000], noise[:9_000], "x", text[:700_000]},
				{"HSET", "hash", fmt.Sprint(i), noise, text, i},
			} {
				if !yield(command) {
					return
				}
			}
		}
	})
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
	for _, key := range []string{"binary", "text", "list", "hash"} {
		printed, peak := measured(t, append([]string{"show", "latest", "--key", key}, repo...)...)
		t.Logf("%-6s %d MiB printed, peak %d MiB", key, printed>>20, peak>>20)
		if printed < shownValue || peak == 0 || peak > shownLimit {
			t.Errorf("%s: %d MiB printed took %d MiB, want at most %d MiB", key, printed>>20, peak>>20, shownLimit>>20)
		}
	}
}

// measured runs the program, throws away what it prints, and returns how much
// that was and the most memory the process had, as Linux counts it for the
// process alone: the usage that wait reports begins with what its parent had.
func measured(t *testing.T, args ...string) (printed, peakBytes int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := command(ctx, password, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The peak is gone with the process: it is asked for again and again.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		printed, _ = io.Copy(io.Discard, stdout)
	}()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for running := true; running; {
		select {
		case <-again.C:
			peakBytes = max(peakBytes, peakOf(cmd.Process.Pid))
		case <-ended:
			running = false
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return printed, peakBytes
}

// peakOf is a process's peak of resident memory in bytes; 0 once it has ended.
func peakOf(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}
