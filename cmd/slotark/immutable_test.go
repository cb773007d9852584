package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
)

// intrude deletes every object of a bucket as a thief of the credentials
// would, and overwrites one with garbage.
func intrude(t *testing.T, server *s3test.Server, bucket string) {
	t.Helper()
	client := server.Client()
	out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil || len(out.Contents) == 0 {
		t.Fatalf("the bucket holds %d objects, %v", len(out.Contents), err)
	}
	garbled := false
	for _, object := range out.Contents {
		if strings.HasSuffix(*object.Key, "/dump.rdb.zst") && !garbled {
			garbled = true
			_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: object.Key, Body: strings.NewReader("garbage")})
		} else {
			_, err = client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: object.Key})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !garbled {
		t.Fatal("nothing was overwritten")
	}
}

// TestAsOf takes a snapshot, lets an intruder destroy it, and lists, verifies,
// drills and restores it all the same.
func TestAsOf(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 400, Seed: 21})
	server := s3test.Start(t)
	repo := server.URL(server.VersionedBucket(t, "versioned"), "backups")
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo).want(t, exitDone)
	ids := idsOf(t, "--repo", repo)
	// The server tells milliseconds, and listing took longer than that.
	then := clock.Now().Add(-2 * time.Millisecond).UTC().Format(time.RFC3339Nano)
	intrude(t, server, "versioned")
	slotark(t, "", "list", "--repo", repo).want(t, exitNoRepository)

	was := func(args ...string) outcome {
		return slotark(t, password, append(args, "--repo", repo, "--as-of", then)...)
	}
	was("list").want(t, exitDone, ids[0])
	if o := was("verify", "latest", "--level", "deep").want(t, exitDone, "sound at level deep"); strings.Contains(o.stderr, "warning") {
		t.Errorf("verifying the past warns: %s", o.stderr)
	}
	// The store's own URL may say the same.
	slotark(t, "", "verify", ids[0], "--repo", repo+"&as_of="+then).want(t, exitDone, "sound at level")
	targets := emptyNodes(t, 3)
	if o := was("restore", "latest", "--to", strings.Join(targets, ",")).want(t, exitDone, "equal: 400 keys"); strings.Contains(o.stdout+o.stderr, "mark") {
		t.Errorf("the restore speaks of a mark that a view of the past cannot take: %s%s", o.stdout, o.stderr)
	}
	// What the cache of manifests took from the past is not taken for now.
	slotark(t, "", "list", "--repo", repo).want(t, exitNoRepository)

	was("prune", "--keep-last", "1").want(t, exitUsage, "--as-of only shows").wantOneLine(t)
	was("hold", "latest", "--reason", "x").want(t, exitUsage, "--as-of only shows")
	was("snapshot", "--node", c.Addrs()[0]).want(t, exitUsage, "--as-of only shows")
	for says, args := range map[string][]string{
		"keeps no versions of":   {"--repo", filepath.Join(t.TempDir(), "repo"), "--as-of", then},
		"not over yet":           {"--repo", repo, "--as-of", "2999-01-01T00:00:00Z"},
		"is not an instant":      {"--repo", repo, "--as-of", "yesterday"},
		"want one like 2026-01-": {"--repo", repo + "&as_of=noon"},
	} {
		slotark(t, "", append([]string{"list"}, args...)...).want(t, exitUsage, says).wantOneLine(t)
	}
	plain := server.URL(server.Bucket(t, "plain"), "backups")
	slotark(t, "", "list", "--repo", plain, "--as-of", then).want(t, exitFailed, "keeps no versions").wantOneLine(t)
}

// TestLockedSnapshots takes snapshots under a lock: prune leaves them alone and
// says until when, and records that are no part of one are not locked.
func TestLockedSnapshots(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 100, Seed: 22})
	server := s3test.Start(t)
	bucket := server.LockedBucket(t, "locked")
	mirror := filepath.Join(t.TempDir(), "mirror")
	repo := []string{"--repo", server.URL(bucket, "backups") + "&lock=compliance", "--mirror", mirror}
	run := func(args ...string) outcome { return slotark(t, password, append(args, repo...)...) }
	// The lock is as long as the rules keep a snapshot for sure, and who stores
	// none needs no rules.
	for _, rules := range []string{"keep_within: 30d, keep_daily: 90", "keep_within: 720h"} {
		run("snapshot", "--node", c.Addrs()[0], "--config", writeFile(t, filepath.Join(t.TempDir(), "slotark.yaml"), "retention: {"+rules+"}\n")).want(t, exitDone)
	}
	run("snapshot", "--node", c.Addrs()[0], "--config", writeFile(t, filepath.Join(t.TempDir(), "slotark.yaml"), "retention: {keep_daily: 90}\n")).
		want(t, exitUsage, "no retention rule keeps a snapshot for a time that is sure").wantOneLine(t)
	ids := idsOf(t, repo...)
	run("verify", "latest").want(t, exitDone)
	begun, err := time.Parse("20060102T150405Z", ids[1][:16])
	if err != nil {
		t.Fatal(err)
	}
	until := begun.Add(30 * 24 * time.Hour)
	locked := 0
	for object := range allObjects(t, server, bucket) {
		head, err := server.Client().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String(object)})
		if err != nil {
			t.Fatal(err)
		}
		part := strings.Contains(object, "/snapshots/")
		if part != (head.ObjectLockMode == types.ObjectLockModeCompliance) {
			t.Errorf("%s has the lock %q", object, head.ObjectLockMode)
		}
		if strings.Contains(object, "/snapshots/"+ids[1]) {
			if locked++; !head.ObjectLockRetainUntilDate.Equal(until) {
				t.Errorf("%s is locked until %s, want %s", object, head.ObjectLockRetainUntilDate, until)
			}
		}
	}
	if locked < 3 {
		t.Errorf("%d objects of the snapshot are locked", locked)
	}
	rules := []string{"prune", "--keep-last", "1", "--keep-minimum", "1"}
	note := "until " + until.Format("2006-01-02 15:04:05 UTC")
	run(append(rules, "--dry-run")...).want(t, exitDone, "2 snapshots would be kept, 0 dropped", "locked in", note)
	run(rules...).want(t, exitDone, "2 snapshots kept, 0 dropped", note)
	// The mirror, which has no lock, has lost nothing by it.
	run("verify", ids[1]).want(t, exitDone, "sound")
	if got := idsOf(t, "--repo", mirror); len(got) != 2 {
		t.Errorf("the mirror has %v", got)
	}
}

// A run that fails cannot remove what it has locked, and says so.
func TestFailedRunUnderALock(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 100, Seed: 23})
	server := s3test.Start(t)
	bucket := server.LockedBucket(t, "locked")
	proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifest.json") {
			return false
		}
		s3test.Answer(w, r, http.StatusForbidden, "AccessDenied", "Access Denied.")
		return true
	})
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", proxy.URL(bucket, "backups")+"&lock=governance&lock_for=1d").
		want(t, exitFailed, "access denied", "object is locked until")
	slotark(t, "", "list", "--repo", server.URL(bucket, "backups")).want(t, exitDone, "no snapshots")
}

// allObjects are the keys of a bucket.
func allObjects(t *testing.T, server *s3test.Server, bucket string) map[string]bool {
	t.Helper()
	out, err := server.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, object := range out.Contents {
		keys[*object.Key] = true
	}
	return keys
}
