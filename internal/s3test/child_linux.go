package s3test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// awaitStopped waits until every thread of a process is stopped.
func awaitStopped(t testing.TB, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !stopped(t, pid) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d does not stop", pid)
		}
	}
}

func stopped(t testing.TB, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // a thread that ended
		}
		// The state is the field after the name, which is in parentheses.
		_, rest, found := bytes.Cut(stat, []byte(") "))
		if err != nil || !found || rest[0] != 'T' {
			return false
		}
	}
	return true
}
