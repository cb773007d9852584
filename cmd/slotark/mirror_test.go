package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
)

// snapshotObjects are the names of a bucket, less the marks of who reads.
func snapshotObjects(t *testing.T, server *s3test.Server, bucket string) []string {
	t.Helper()
	return slices.DeleteFunc(s3Objects(t, server, bucket), func(name string) bool { return strings.Contains(name, "/restores/") })
}

// TestMirrorSync brings up the second of two regions, killed at moments from
// the beginning of a sync to its end, and by two at once.
func TestMirrorSync(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := slowCluster(t)
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	primary := []string{"--repo", east.URL(east.Bucket(t, "sync"), "") + "&name=east"}
	for range 2 {
		slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, primary...)...).want(t, exitDone)
	}
	with := func(bucket string, args ...string) []string {
		return append(append(args, primary...), "--mirror", west.URL(bucket, "")+"&name=west")
	}
	first := west.Bucket(t, "first")
	slotark(t, "", with(first, "mirror", "status")...).want(t, exitFindings, "east", "2 of 2", "west", "no slotark repository")
	slotark(t, "", with(first, "mirror", "sync", "--dry-run")...).want(t, exitFindings, "west", "cannot be asked")
	began := time.Now()
	slotark(t, "", with(first, "mirror", "sync", "latest")...).want(t, exitDone, "1 snapshot copied, 0 still behind")
	slotark(t, "", with(first, "mirror", "status")...).want(t, exitFindings, "1 of 2", "slotark mirror sync")
	slotark(t, "", with(first, "mirror", "sync", "--dry-run")...).want(t, exitDone, "would be copied", "1 snapshot and 0 records")
	slotark(t, "", with(first, "mirror", "sync")...).want(t, exitDone, "1 snapshot copied, 0 still behind")
	length := time.Since(began)
	slotark(t, "", with(first, "mirror", "status")...).want(t, exitDone, "2 of 2")
	slotark(t, "", with(first, "verify", "latest")...).want(t, exitDone, "sound at level deep in east and west")

	want := snapshotObjects(t, west, first)
	killed := west.Bucket(t, "killed")
	for _, after := range moments(length, 10) {
		signalled(t, after, syscall.SIGKILL, with(killed, "mirror", "sync")...)
		// What has a manifest there is whole there.
		for _, id := range idsOf(t, primary...) {
			if slices.Contains(snapshotObjects(t, west, killed), "default/snapshots/"+id+"/manifest.json") {
				slotark(t, "", "verify", id, "--level", "checksum", "--repo", west.URL(killed, "")).want(t, exitDone)
			}
		}
	}
	slotark(t, "", with(killed, "mirror", "sync")...).want(t, exitDone, "0 still behind")
	slotark(t, "", with(killed, "verify", "latest")...).want(t, exitDone, "sound at level deep in east and west")
	wantObjects(t, snapshotObjects(t, west, killed), want)

	twice := west.Bucket(t, "twice")
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() { slotark(t, "", with(twice, "mirror", "sync")...).want(t, exitDone, "0 still behind") })
	}
	wait.Wait()
	wantObjects(t, snapshotObjects(t, west, twice), want)
}

// wantObjects compares names, less those of verifications that came later.
func wantObjects(t *testing.T, have, want []string) {
	t.Helper()
	evidence := func(name string) bool { return strings.Contains(name, "/verifications/") }
	have, want = slices.DeleteFunc(slices.Clone(have), evidence), slices.DeleteFunc(slices.Clone(want), evidence)
	if !slices.Equal(have, want) {
		t.Errorf("the mirror holds %q, want %q", have, want)
	}
}

// A damaged copy is refused, and another store's taken; what is damaged in the
// mirror itself stays, and the snapshot stays behind.
func TestMirrorSyncDamage(t *testing.T) {
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 21})
	repo, good, lost := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "good"), filepath.Join(t.TempDir(), "lost")
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo, "--mirror", good).want(t, exitDone)
	for _, name := range objects(t, repo) {
		if strings.Contains(name, "/dump.rdb") {
			spoil(t, filepath.Join(repo, name))
			break
		}
	}
	args := []string{"mirror", "sync", "--repo", repo, "--mirror", good, "--mirror", lost}
	slotark(t, "", append(args, "--from", "repo")...).want(t, exitFindings, "0 snapshots copied, 1 still behind", "the stored object is damaged")
	slotark(t, "", append(args, "--json")...).want(t, exitFindings, `"outcome":"copied"`, `"code":"source-damaged"`)
	slotark(t, "", args...).want(t, exitDone, "0 snapshots copied, 0 still behind")
	slotark(t, "", "verify", "latest", "--repo", lost).want(t, exitDone, "sound at level deep")
	slotark(t, "", append(args, "--to", "elsewhere")...).want(t, exitUsage, "no such store", "repo, good and lost").wantOneLine(t)
	slotark(t, "", "mirror", "snc").want(t, exitUsage, "slotark mirror --help")
}

func spoil(t *testing.T, path string) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, damages(whole)[0].bytes)
}

// A copy that breaks on a line that hangs, cuts or flips is refused, and the
// other region's is taken.
func TestMirrorSyncOverBadLines(t *testing.T) {
	c := slowCluster(t)
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	bucket := east.Bucket(t, "lines")
	good := []string{"--mirror", west.URL(west.Bucket(t, "lines"), "") + "&name=west"}
	slotark(t, password, append(good, "snapshot", "--compression", "none", "--node", c.Addrs()[0], "--repo", east.URL(bucket, ""))...).want(t, exitDone)
	for name, then := range map[string]func(client, upstream net.Conn){"hangs": hangs, "cuts": cuts, "flips": flips} {
		t.Run(name, func(t *testing.T) {
			third := filepath.Join(t.TempDir(), "third")
			through := &s3test.Server{Endpoint: badLine(t, east, 1<<20, then), Region: east.Region}
			args := append(slices.Clone(good), "--mirror", third, "--repo", through.URL(bucket, "")+"&name=east")
			slotark(t, "", append(args, "mirror", "sync", "--to", "third", "--json")...).
				want(t, exitFindings, `"outcome":"copied"`, `"code":"source-`, `"severity":"error","subject":"east: shard-`)
			slotark(t, "", "verify", "latest", "--repo", third).want(t, exitDone, "sound at level deep")
		})
	}
}

// TestRequire fails a snapshot whose mirror must have it and cannot be reached,
// before and while it is taken.
func TestRequire(t *testing.T) {
	c := slowCluster(t)
	west := s3test.Start(t)
	repo := filepath.Join(t.TempDir(), "repo")
	args := []string{"snapshot", "--node", c.Addrs()[0], "--repo", repo, "--mirror", west.URL(west.Bucket(t, "require"), "") + "&name=west"}
	slotark(t, password, append(args, "--require", "3")...).want(t, exitUsage, "--require", "want a number from 1 to 2").wantOneLine(t)
	slotark(t, password, append(args, "--require", "some")...).want(t, exitUsage, "want primary, all, or a number of stores").wantOneLine(t)
	slotark(t, password, append(args, "--require", "all")...).want(t, exitDone, "is whole", "west stored")
	whole := objects(t, repo)

	began := make(chan outcome, 1)
	cmd := command(t.Context(), password, append(args, "--require", "2")...)
	go func() { began <- finish(t, cmd) }()
	clustertest.Eventually(t, runLimit, func(context.Context) error {
		if len(west.Uploads(t, "require")) == 0 && len(objects(t, repo)) == len(whole) {
			return errors.New("nothing is under way yet")
		}
		return nil
	})
	west.Stop()
	(<-began).want(t, exitFailed, "too few stores", "west").wantOneLine(t)
	if left := objects(t, repo); !slices.Equal(left, whole) {
		t.Errorf("a snapshot that failed left %q, before there was %q", left, whole)
	}
	slotark(t, password, append(args, "--require", "all")...).want(t, exitFailed, "too few stores", "2 must have the snapshot, 1 of 2 are ready").wantOneLine(t)
	slotark(t, password, append(args, "--require", "primary")...).want(t, exitFindings, "is whole", "west BEHIND")
}
