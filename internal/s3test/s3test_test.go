package s3test_test

import (
	"net/http"
	"testing"

	"github.com/slotark/slotark/internal/s3test"
)

func TestStart(t *testing.T) {
	a, b := s3test.Start(t), s3test.Start(t)
	if a.Endpoint == b.Endpoint {
		t.Error("two servers share an endpoint")
	}
	a.Bucket(t, "plain")
	b.VersionedBucket(t, "versioned")
	a.Stop()
	a.Stop()
	if response, err := http.Get(a.Endpoint + "/health"); err == nil {
		_ = response.Body.Close()
		t.Error("it answers after Stop")
	}
	if uploads := b.Uploads(t, "versioned"); len(uploads) > 0 {
		t.Errorf("a new bucket has uploads: %q", uploads)
	}
}
