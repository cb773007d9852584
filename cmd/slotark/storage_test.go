package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage/contract"
)

// wantEmpty checks that a bucket holds nothing: no object, no version, no
// delete marker, no upload.
func wantEmpty(t *testing.T, server *s3test.Server, bucket string) {
	t.Helper()
	out, err := server.Client().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil || len(out.Versions)+len(out.DeleteMarkers) > 0 {
		t.Errorf("%s holds %d versions and %d markers (%v)", bucket, len(out.Versions), len(out.DeleteMarkers), err)
	}
	if uploads := server.Uploads(t, bucket); len(uploads) > 0 {
		t.Errorf("%s has uploads: %q", bucket, uploads)
	}
}

func TestStorageCheck(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	plain, versioned, locked := server.Bucket(t, "plain"), server.VersionedBucket(t, "versioned"), server.LockedBucket(t, "locked")
	folder := filepath.Join(t.TempDir(), "repo")
	// All of it, on a folder and on a bucket.
	o := slotark(t, "", "storage", "check", "--repo", folder, "--mirror", server.URL(plain, "pre")).
		want(t, exitDone, "lists more than a page", "fits every role", "free space", "multipart abort", "leaves nothing", "0 failed")
	if strings.Contains(o.stdout, "FAIL") {
		t.Error(o.stdout)
	}
	if left := objects(t, folder); len(left) > 0 {
		t.Errorf("the folder holds %q", left)
	}
	wantEmpty(t, server, plain)
	// What a person should know of buckets.
	for url, says := range map[string]string{
		server.URL(versioned, "pre"):                                "--as-of shows what was deleted",
		server.URL(locked, ""):                                      "the bucket can lock",
		server.URL(locked, "pre") + "&lock=governance&lock_for=30d": "snapshots are locked (governance) for 30 d",
		server.URL(plain, "pre") + "&name=p":                        "none: who may delete",
	} {
		slotark(t, "", "storage", "check", url, "--quick").want(t, exitDone, says, "0 failed")
	}
	for _, bucket := range []string{plain, versioned, locked} {
		wantEmpty(t, server, bucket)
	}
	slotark(t, "", "storage", "check", server.URL(plain, "pre")+"&lock=compliance&lock_for=30d", "--quick").
		want(t, exitFindings, "asks for lock=compliance, and the bucket has none")
	// A lock as long as the rules keep a snapshot, one that is longer, and one of which nothing says how long.
	rules := writeFile(t, filepath.Join(t.TempDir(), "slotark.yaml"), "retention: {keep_within: 7d, keep_daily: 30}\n")
	for lock, says := range map[string]string{"": "snapshots are locked (governance) for 7 d", "&lock_for=7d": "snapshots are locked (governance) for 7 d", "&lock_for=8d": "and for sure kept for 7 d alone"} {
		o := slotark(t, "", "storage", "check", server.URL(locked, "pre")+"&lock=governance"+lock, "--quick", "--config", rules).want(t, exitDone, "0 failed")
		if text := strings.Join(strings.Fields(o.stdout), " "); !strings.Contains(text, says) || strings.Contains(text, "Leave lock_for out") != (lock == "&lock_for=8d") {
			t.Errorf("lock_for %q: %s", lock, o.stdout)
		}
	}
	slotark(t, "", "storage", "check", server.URL(locked, "pre")+"&lock=governance", "--quick").
		want(t, exitUsage, "no retention rule keeps a snapshot for a time that is sure", "keep_within", "lock_for=30d").wantOneLine(t)
}

func TestStorageCheckJSON(t *testing.T) {
	t.Parallel()
	o := slotark(t, "", "storage", "check", filepath.Join(t.TempDir(), "repo"), "--quick", "--json").want(t, exitDone)
	seen := map[string]contract.Result{}
	for line := range strings.Lines(o.stdout) {
		var f storageFinding
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Type != "storage_check" || f.Store != "repo" {
			t.Fatalf("%s: %v", line, err)
		}
		seen[f.Check] = f.Result
	}
	if seen["never overwrites"] != "" || seen["lists in order"] != contract.OK || seen["rights"] != contract.Warn || seen["clock"] != contract.OK {
		t.Errorf("quickly checked were %v", seen)
	}
}

// A default retention locks what the check puts, so that it cannot be removed.
func TestStorageCheckOfADefaultRetention(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	bucket := server.LockedBucket(t, "worm")
	_, err := server.Client().PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{
		Bucket: &bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(3)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	slotark(t, "", "storage", "check", server.URL(bucket, "pre")).
		want(t, exitDone, "default retention (governance, 3 days) locks temporary")
}

// Credentials that may not delete are the best a taker can have: that is said,
// little is left behind, and what is left is named.
func TestStorageCheckWithoutDelete(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	denied := func(methods ...string) *s3test.Server {
		return server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
			for _, method := range methods {
				// Who may abort uploads need not be one who may delete objects.
				if r.Method == method && !r.URL.Query().Has("uploadId") {
					s3test.Answer(w, r, http.StatusForbidden, "AccessDenied", "Access Denied.")
					return true
				}
			}
			return false
		})
	}
	slotark(t, "", "storage", "check", denied(http.MethodDelete).URL(bucket, "pre")).
		want(t, exitDone, "may put, get and list, may not delete: fits the role take", "left out", "clean-up", "could not remove", "slotark-check-")
	slotark(t, "", "storage", "check", denied(http.MethodDelete, http.MethodPut, http.MethodPost).URL(bucket, "pre")).
		want(t, exitDone, "may get and list, may not put and delete: fits the role read")
	slotark(t, "", "storage", "check", denied(http.MethodGet, http.MethodHead).URL(bucket, "pre")).want(t, exitFindings, "FAIL", "No role fits")
}

func TestStorageCheckUnreachable(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	slotark(t, "", "storage", "check", server.URL("none", "pre")).want(t, exitFailed, `bucket "none" does not exist`).wantOneLine(t)
	folder := filepath.Join(t.TempDir(), "repo")
	slotark(t, "", "storage", "check", folder, server.URL("none", "pre"), "--quick").want(t, exitFailed, `bucket "none" does not exist`, "0 failed").wantOneLine(t)
	server.Stop()
	slotark(t, "", "storage", "check", server.URL("none", "pre")).want(t, exitFailed, "connection refused").wantOneLine(t)
	slotark(t, "", "storage", "check").want(t, exitUsage, "no repository was named")
	slotark(t, "", "storage", "check", folder, "--as-of", "2026-01-01T00:00:00Z").want(t, exitUsage, "--as-of only shows")
	slotark(t, "", "storage", "chekc").want(t, exitUsage, "there is no verb", "slotark storage check")
}

// Ctrl-C in the middle leaves nothing.
func TestStorageCheckInterrupted(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	bucket := server.VersionedBucket(t, "backups")
	cmd := command(t.Context(), "", "storage", "check", server.URL(bucket, "pre"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, runLimit, func(context.Context) error {
		if len(allObjects(t, server, bucket)) < 5 {
			return errors.New("the check has not begun")
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code says more
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(said.String(), "interrupted; nothing is left") {
		t.Errorf("exit code %d:\n%s", code, said.String())
	}
	wantEmpty(t, server, bucket)
}

// The proxy of the environment is heeded: the store's own name leads nowhere.
func TestStorageThroughAProxy(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	var asked atomic.Int64
	proxy := server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Host != "s3.nowhere.invalid:9000" {
			t.Errorf("the proxy was asked for %s", r.URL)
		}
		asked.Add(1)
		return false
	})
	cmd := command(t.Context(), "", "storage", "check", "s3://"+bucket+"/pre?endpoint=http://s3.nowhere.invalid:9000", "--quick")
	cmd.Env = append(cmd.Env, "HTTP_PROXY="+proxy.Endpoint)
	finish(t, cmd).want(t, exitDone, "0 failed")
	if asked.Load() == 0 {
		t.Error("the proxy was not asked")
	}
}

func TestStorageClean(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	for _, key := range []string{"pre/prod/dump.rdb", "other/dump.rdb"} {
		if _, err := server.Client().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	// Just begun, it may belong to a snapshot that is under way.
	slotark(t, "", "storage", "clean", server.URL(bucket, "pre"), "--apply").want(t, exitDone, "0 unfinished uploads")
	// A store whose clock says that they are old.
	old := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !r.URL.Query().Has("uploads") || r.Method != http.MethodGet {
			return false
		}
		out, err := server.Client().ListMultipartUploads(r.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: aws.String(r.URL.Query().Get("prefix"))})
		if err != nil {
			t.Error(err)
		}
		text := "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
		for _, u := range out.Uploads {
			text += "<Upload><Key>" + *u.Key + "</Key><UploadId>" + *u.UploadId + "</UploadId><Initiated>2026-01-31T02:00:00.000Z</Initiated></Upload>"
		}
		_, _ = w.Write([]byte(text + "</ListMultipartUploadsResult>"))
		return true
	})
	slotark(t, "", "storage", "clean", old.URL(bucket, "pre")).want(t, exitDone, "prod/dump.rdb", "would be removed", "1 unfinished upload begun")
	if left := server.Uploads(t, bucket); len(left) != 2 {
		t.Errorf("without --apply %q are left", left)
	}
	slotark(t, "", "storage", "clean", old.URL(bucket, "pre"), "--apply").want(t, exitDone, "prod/dump.rdb", ": removed")
	if left := server.Uploads(t, bucket); len(left) != 1 || left[0] != "other/dump.rdb" {
		t.Errorf("left are %q", left)
	}
}
