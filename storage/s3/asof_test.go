package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

// nextSecond waits until the server's clock, which is this machine's, shows
// another second than it did: it tells times no finer.
func nextSecond(t *testing.T) time.Time {
	t.Helper()
	next := clock.Now().Truncate(time.Second).Add(time.Second)
	timer := time.NewTimer(next.Sub(clock.Now()) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	}
	return next.UTC()
}

// TestAsOf plays an intruder who deletes and overwrites, behind the store.
func TestAsOf(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.VersionedBucket(t, "backups")
	s := open(t, server, bucket, "pre")
	want := map[string][]byte{
		"a-b": []byte("one"), "a/b/c": []byte("three"), "a0": []byte("four"), "big": storagetest.Bytes(9<<20, 3),
	}
	empty := nextSecond(t)
	for name, data := range want {
		storagetest.Put(t, s, name, data)
	}
	storagetest.Put(t, s, "gone", []byte("before"))
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	then := nextSecond(t)

	nextSecond(t)
	key := func(name string) *string { return aws.String("pre/" + name) }
	for name := range want {
		if name == "a0" {
			continue
		}
		if _, err := server.Client().DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: key(name)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, garbage := range []string{"garbage", "more garbage"} {
		if _, err := server.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: key("a0"), Body: strings.NewReader(garbage)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := server.Client().PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: key("gone"), Body: strings.NewReader("again")}); err != nil {
		t.Fatal(err)
	}
	storagetest.Put(t, s, "later", []byte("x"))
	if names := storagetest.Names(t, s, ""); fmt.Sprint(names) != "[a0 gone later]" {
		t.Fatalf("now there are %q", names)
	}

	past := s.AsOf(then)
	if names := storagetest.Names(t, past, ""); fmt.Sprint(names) != "[a-b a/b/c a0 big]" {
		t.Errorf("then there were %q", names)
	}
	if names := storagetest.Names(t, past, "a/"); fmt.Sprint(names) != "[a/b/c]" {
		t.Errorf("below a/ there were %q", names)
	}
	for name, data := range want {
		if got := storagetest.Read(t, past, name); !bytes.Equal(got, data) {
			t.Errorf("%s was %d other bytes", name, len(got))
		}
		if stat, err := past.Stat(t.Context(), name); err != nil || stat.Bytes != int64(len(data)) || stat.Name != name {
			t.Errorf("Stat of %s: %+v %v", name, stat, err)
		}
	}
	for _, name := range []string{"gone", "later", "a", "bi"} {
		if _, err := past.Open(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Open(%q) = %v, want ErrNotFound", name, err)
		}
		if _, err := past.Stat(t.Context(), name); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Stat(%q) = %v, want ErrNotFound", name, err)
		}
	}
	if names := storagetest.Names(t, s.AsOf(empty.Add(-time.Second)), ""); len(names) > 0 {
		t.Errorf("before anything there were %q", names)
	}
	_, putErr := past.Put(t.Context(), "new", strings.NewReader("x"))
	for verb, err := range map[string]error{"put": putErr, "delete": past.Delete(t.Context(), "a0")} {
		if !errors.Is(err, storage.ErrReadOnly) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v, want ErrReadOnly with a hint", verb, err)
		}
	}
	if past.String() == s.String() || !strings.Contains(past.String(), "as_of=") {
		t.Errorf("the view is called %s", past)
	}
}

// TestAsOfManyVersions passes the thousand entries that S3 gives at once, with
// one name's versions on both sides of the page's end.
func TestAsOfManyVersions(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.VersionedBucket(t, "backups")
	s := open(t, server, bucket, "pre")
	client := server.Client()
	put := func(name, text string) {
		if _, err := client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: aws.String("pre/" + name), Body: strings.NewReader(text)}); err != nil {
			t.Fatal(err)
		}
	}
	put("b", "wanted")
	then := nextSecond(t)
	nextSecond(t)
	for i := range 998 {
		put("a", fmt.Sprint(i))
	}
	for i := range 10 {
		put("b", fmt.Sprint("garbage ", i))
	}
	put("c", "x")
	past := s.AsOf(then)
	if names := storagetest.Names(t, past, ""); fmt.Sprint(names) != "[b]" {
		t.Errorf("then there were %q", names)
	}
	if got := storagetest.Read(t, past, "b"); string(got) != "wanted" {
		t.Errorf("b was %q", got)
	}
}

func TestAsOfNeedsVersions(t *testing.T) {
	server := s3test.Start(t)
	s := open(t, server, server.Bucket(t, "backups"), "pre").AsOf(clock.Now())
	_, openErr := s.Open(t.Context(), "a")
	var listErr error
	for _, err := range s.List(t.Context(), "") {
		listErr = err
	}
	for verb, err := range map[string]error{"open": openErr, "list": listErr} {
		wantOneLine(t, verb, err, "keeps no versions")
	}
}
