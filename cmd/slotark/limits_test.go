package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// TestLimits copies at a rate that would take minutes, and raises it while the
// copying goes on.
func TestLimits(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 2_000, Seed: 23})
	dir := t.TempDir()
	repo, mirror, file := filepath.Join(dir, "repo"), filepath.Join(dir, "mirror"), filepath.Join(dir, "slotark.yaml")
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo).want(t, exitDone)
	configure := func(limits string) {
		text := fmt.Sprintf("repository:\n  primary: %s\n  mirrors: [%s]\n%s", repo, mirror, limits)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	configure("  limits: {elsewhere: {put: 1MB}}\n")
	slotark(t, "", "mirror", "status", "--config", file).want(t, exitUsage, `no store is called "elsewhere"`, "mirror and repo").wantOneLine(t)
	configure("  limits: {mirror: {put: 1000}}\n")
	began := time.Now()
	raise := time.AfterFunc(4*time.Second, func() { configure("  limits: {mirror: {put: 1MB}, nobody: {get: 1000}}\n") })
	defer raise.Stop()
	again := time.AfterFunc(8*time.Second, func() { configure("") })
	defer again.Stop()
	slotark(t, "", "mirror", "sync", "--config", file).want(t, exitDone, "1 snapshot copied", `warning: the limits stay as they are: repository.limits: no store is called "nobody"`)
	if took := time.Since(began); took < 8*time.Second || took > time.Minute {
		t.Errorf("it took %s", took)
	}
	slotark(t, "", "verify", "latest", "--repo", mirror).want(t, exitDone, "sound at level deep")
}
