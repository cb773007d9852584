package s3_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// openLocked opens a store that locks what lies below kept/ for 30 days from
// an instant.
func openLocked(t *testing.T, server *s3test.Server, bucket, mode string, since time.Time) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), s3.Options{
		Bucket: bucket, Prefix: "pre", Endpoint: server.Endpoint, PathStyle: true, Lock: mode, LockFor: 30 * 24 * time.Hour,
		LockSince: func(name string) (time.Time, bool) { return since, strings.HasPrefix(name, "kept/") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLock(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.LockedBucket(t, "locked")
	since := clock.Now().Add(-10 * 24 * time.Hour)
	until := since.Add(30 * 24 * time.Hour).Truncate(time.Second).UTC()
	for mode, want := range map[string]types.ObjectLockRetentionMode{s3.Governance: types.ObjectLockRetentionModeGovernance, s3.Compliance: types.ObjectLockRetentionModeCompliance} {
		s := openLocked(t, server, bucket, mode, since)
		for what, size := range map[string]int{"single": 1000, "multipart": 9 << 20} {
			t.Run(mode+" "+what, func(t *testing.T) {
				name := "kept/" + mode + "-" + what
				data := storagetest.Bytes(size, 1)
				put := storagetest.Put(t, s, name, data)
				if !put.LockedUntil.Equal(until) {
					t.Errorf("Put says locked until %s, want %s", put.LockedUntil, until)
				}
				if stat, err := s.Stat(t.Context(), name); err != nil || stat != put {
					t.Errorf("Stat gave %+v %v, Put %+v", stat, err, put)
				}
				// What the server itself says of it.
				out, err := server.Client().GetObjectRetention(t.Context(), &awss3.GetObjectRetentionInput{Bucket: &bucket, Key: aws.String("pre/" + name)})
				if err != nil || out.Retention.Mode != want || !out.Retention.RetainUntilDate.Equal(until) {
					t.Errorf("the server has the lock %+v, %v", out, err)
				}
				wantLocked(t, s.Delete(t.Context(), name), until)
				if got := storagetest.Read(t, s, name); !bytes.Equal(got, data) {
					t.Error("a Delete that was refused has changed the object")
				}
			})
		}
		// What is not to be locked is not, and neither is what is old enough.
		for name, store := range map[string]*s3.Store{"checks/" + mode: s, "kept/old-" + mode: openLocked(t, server, bucket, mode, since.Add(-30*24*time.Hour))} {
			if put := storagetest.Put(t, store, name, []byte("x")); !put.LockedUntil.IsZero() {
				t.Errorf("%s is locked until %s", name, put.LockedUntil)
			}
			if err := s.Delete(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	}
}

func wantLocked(t *testing.T, err error, until time.Time) {
	t.Helper()
	locked := (*storage.LockedError)(nil)
	if !errors.Is(err, storage.ErrLocked) || !errors.As(err, &locked) || !locked.Until.Equal(until) {
		t.Errorf("got %v, want locked until %s", err, until)
	}
}

func TestLegalHold(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.LockedBucket(t, "locked")
	s := open(t, server, bucket, "pre")
	storagetest.Put(t, s, "a", []byte("x"))
	_, err := server.Client().PutObjectLegalHold(t.Context(), &awss3.PutObjectLegalHoldInput{
		Bucket: &bucket, Key: aws.String("pre/a"), LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a"); !errors.Is(err, storage.ErrLocked) || len(hint.Of(err)) == 0 {
		t.Errorf("got %v, want ErrLocked with a hint", err)
	}
}

// A bucket without Object Lock must not take what is to be locked.
func TestLockWhereThereIsNone(t *testing.T) {
	server := s3test.Start(t)
	for name, bucket := range map[string]string{"plain": server.Bucket(t, "plain"), "versioned": server.VersionedBucket(t, "versioned")} {
		s := openLocked(t, server, bucket, s3.Governance, clock.Now())
		for what, size := range map[string]int{"single": 1, "multipart": 9 << 20} {
			_, err := s.Put(t.Context(), "kept/"+what, bytes.NewReader(storagetest.Bytes(size, 1)))
			if err == nil || len(hint.Of(err)) == 0 || !strings.Contains(err.Error(), "Object Lock") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if names := storagetest.Names(t, s, ""); len(names) > 0 {
				t.Errorf("%s holds %q", name, names)
			}
		}
		if left := server.Uploads(t, bucket); len(left) > 0 {
			t.Errorf("unfinished uploads: %q", left)
		}
	}
	if _, err := s3.Open(t.Context(), s3.Options{Bucket: "b", Endpoint: server.Endpoint, Lock: s3.Governance, LockFor: time.Hour}); err == nil {
		t.Error("a store that does not know what to lock was opened")
	}
}
