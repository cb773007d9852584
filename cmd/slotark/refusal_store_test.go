package main

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/slotark/slotark/internal/s3test"
)

const wrongSecretKey = "not-the-secret-key-of-anybody-at-all"

// patience is how long a store that is not there may keep a person waiting, four
// runs long: far more than it does, because the machine is shared by many tests.
const patience = 2 * time.Minute

// s3Objects are the objects of a bucket.
func s3Objects(t *testing.T, server *s3test.Server, bucket string) []string {
	t.Helper()
	out, err := server.Client().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range out.Contents {
		names = append(names, *object.Key)
	}
	return names
}

// nobodyListens is the URL of a bucket at an endpoint that is not there.
func nobodyListens(t *testing.T) string {
	t.Helper()
	return "s3://bucket/prefix?region=us-east-1&endpoint=" + url.QueryEscape("http://"+silentAddr(t))
}

// TestRefusesStores has one thing wrong with a bucket: as the primary store it
// ends the run, as a mirror it is a finding.
func TestRefusesStores(t *testing.T) {
	t.Parallel()
	server, c := s3test.Start(t), small(t)
	bucket := server.Bucket(t, "backups")
	for _, test := range []struct {
		name, url   string
		environment []string
		says        []string
	}{
		{"missing bucket", server.URL("no-such-bucket", ""), nil, []string{`bucket "no-such-bucket" does not exist`, "create the bucket"}},
		{"wrong secret key", server.URL(bucket, ""), []string{"AWS_SECRET_ACCESS_KEY=" + wrongSecretKey}, []string{"access denied", "secret key is wrong", "AWS_SECRET_ACCESS_KEY"}},
		{"unknown access key", server.URL(bucket, ""), []string{"AWS_ACCESS_KEY_ID=nobody"}, []string{"access denied", "does not know the access key"}},
		{"no credentials", server.URL(bucket, ""), []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, []string{"no AWS credentials were found", "AWS_ACCESS_KEY_ID"}},
		{"nobody listens", nobodyListens(t), nil, []string{"connection refused", "check the endpoint"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			run := func(args ...string) outcome {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), runLimit)
				defer cancel()
				cmd := command(ctx, password, args...)
				cmd.Env = append(cmd.Env, test.environment...)
				return finish(t, cmd)
			}
			began := time.Now()
			folder := filepath.Join(t.TempDir(), "other")
			// Without the settings, whose passwords want encryption, there is one thing to warn of.
			snapshot := []string{"snapshot", "--node", c.Addrs()[0], "--keep-settings", "none"}
			run(append(snapshot, "--repo", test.url, "--mirror", folder)...).wantFailure(t, exitFailed, test.says...)
			wantNothingStored(t, folder)

			o := run(append(snapshot, "--repo", folder, "--mirror", test.url)...)
			o.want(t, exitFindings, append(test.says[:1:1], "is whole", "other stored", "BEHIND", "slotark: warning: ")...).wantOneWarning(t).wantNoSecret(t)
			run("list", "--repo", folder, "--mirror", test.url).want(t, exitDone, "1 of 2 !", "600")
			run("verify", "latest", "--repo", folder).want(t, exitDone, "sound")
			if took := time.Since(began); took > patience {
				t.Errorf("it took %s", took)
			}
		})
	}
	if left := s3Objects(t, server, bucket); len(left) > 0 {
		t.Errorf("the bucket holds %v", left)
	}
}

// wantOneWarning checks that stderr says one thing, once.
func (o outcome) wantOneWarning(t *testing.T) outcome {
	t.Helper()
	if lines := strings.Count(o.stderr, "\n"); lines != 1 {
		t.Errorf("stderr has %d lines, want 1:\n%s", lines, o.stderr)
	}
	return o
}
