package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	"github.com/slotark/slotark/snapshot/catalog"
)

// snapshotObjects are the names of a bucket, less the marks of who reads.
func snapshotObjects(t *testing.T, server *s3test.Server, bucket string) []string {
	t.Helper()
	return slices.DeleteFunc(s3Objects(t, server, bucket), func(name string) bool { return strings.Contains(name, "/restores/") })
}

// TestMirrorSync brings up the second of two regions, killed at moments from
// the beginning of a sync to its end, and by two at once.
func TestMirrorSync(t *testing.T) {
	t.Parallel()
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
	wantLag(t, slotark(t, "", with(first, "mirror", "status", "--json")...), idsOf(t, primary...)[1])
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

// wantLag checks that the first store lacks nothing, and the second one snapshot for
// as long as that is old.
func wantLag(t *testing.T, o outcome, missing string) {
	t.Helper()
	var stores []mirrorStatusMessage
	for line := range strings.Lines(o.want(t, exitFindings).stdout) {
		var m mirrorStatusMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, m)
	}
	if len(stores) != 2 || stores[0].Lag != 0 || stores[0].Oldest != "" || string(stores[1].Oldest) != missing {
		t.Fatalf("the stores are %+v, want the second to lack %s", stores, missing)
	}
	age := time.Since(stores[1].Oldest.Time())
	if lag := time.Duration(stores[1].Lag); lag <= 0 || lag > age || lag < age-promptly {
		t.Errorf("it is behind by %s, and what it lacks is %s old", lag, age)
	}
}

// TestMirrorStatusLag has stores that are behind by a known time: that of the
// oldest snapshot which one lacks, whatever newer ones it has.
func TestMirrorStatusLag(t *testing.T) {
	now := time.Date(2026, 2, 3, 2, 30, 0, 0, time.UTC)
	survey := &catalog.Survey{Stores: []catalog.StoreState{
		{Store: "east", Place: "s3://a", Snapshots: 3, Of: 3, Newest: "20260203T020000Z-aaaaaa"},
		{Store: "west", Place: "s3://b", Snapshots: 1, Of: 3, Newest: "20260203T020000Z-aaaaaa", Oldest: "20260201T020000Z-aaaaaa", Bytes: 3 << 20},
		{Store: "north", Place: "s3://c", Of: 3, Oldest: "20260203T020000Z-aaaaaa", Bytes: 1 << 20},
		{Store: "south", Place: "s3://d", Of: 3, Err: errors.New("no such host")},
	}}
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		if err := (&app{stdout: &out, json: asJSON}).printMirrorStatus(survey, now); !errors.Is(err, errFindings) {
			t.Errorf("it comes to %v", err)
		}
		lines := strings.Split(out.String(), "\n")
		wants := [][]string{
			{"STORE", "BEHIND", "MISSING"}, {"east ", "3 of 3", "aaaaaa  -       -        s3://a"}, {"west ", "1 of 3", "  2 d ", "3.1 MB"},
			{"north ", "0 of 3", "30 min", "1.0 MB"}, {"south ", "?", "does not answer: no such host"},
		}
		if asJSON {
			wants = [][]string{
				{`"store":"east"`, `"behind":false`, `"lag_seconds":0.000,`}, {`"store":"west"`, `"oldest_missing":"20260201T020000Z-aaaaaa","lag_seconds":174600.000,"bytes_missing":3145728`},
				{`"store":"north"`, `"lag_seconds":1800.000,`}, {`"store":"south"`, `"reachable":false`, `"lag_seconds":0.000,`},
			}
		}
		for i, parts := range wants {
			for _, part := range parts {
				if !strings.Contains(lines[i], part) {
					t.Errorf("line %d is without %q: %s", i, part, lines[i])
				}
			}
		}
	}
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
