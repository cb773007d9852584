package restore_test

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
)

func TestAdhocBig(t *testing.T) {
	s := newSource(t, clustertest.Options{Primaries: 1, ExtraArgs: []string{"--rdbcompression", "no"}}, dataset.Options{Keys: 100, Seed: 1}, func(c *clustertest.Cluster) {
		do(t, c.Addrs()[0], "DEBUG", "POPULATE", 1000000, "key", 700)
		big := make([]byte, 300<<20)
		c.Client().Set(t.Context(), "big", big, 0)
	})
	s.Kill()
	debug.FreeOSMemory()
	var peak atomic.Uint64
	sample := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if now := m.Sys - m.HeapReleased; now > peak.Load() {
			peak.Store(now)
		}
	}
	sample()
	t.Logf("base %d MB, dump %d MB", peak.Load()>>20, s.snapshot.Manifest.Bytes()>>20)
	stop := make(chan int)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				sample()
			}
		}
	}()
	a := access()
	a.Timeout = 60 * time.Second
	result, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, To: emptyNodes(t, 1), Access: a, Progress: func(e progress.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range result.Phases {
		t.Logf("%-10s %s", p.Name, p.Elapsed)
	}
	t.Logf("complete %v %v", result.Complete(), result.Findings)
	t.Logf("replay peak %d MB", peak.Load()>>20)
	started := time.Now()
	if _, err := restore.Run(t.Context(), restore.Options{Snapshot: s.snapshot, ToDir: t.TempDir(), At: freeAddrs(t, 1), Access: a}); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %s peak %d MB", time.Since(started), peak.Load()>>20)
	close(stop)
}
