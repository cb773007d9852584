package s3_test

import (
	"testing"
	"time"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

func open(t *testing.T, server *s3test.Server, bucket, prefix string) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), s3.Options{
		Bucket: bucket, Prefix: prefix, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
		MaxBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConformance runs in two regions: in buckets that keep old versions, where a
// deleted object is a marker and not nothing, that can lock besides, and in plain
// ones.
func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		region string
		make   func(*s3test.Server, testing.TB, string) string
	}{
		"plain":            {"eu-central-1", (*s3test.Server).Bucket},
		"plain, elsewhere": {"us-west-2", (*s3test.Server).Bucket},
		"versioned":        {"us-west-2", (*s3test.Server).VersionedBucket},
		"with object lock": {"eu-central-1", (*s3test.Server).LockedBucket},
	} {
		t.Run(name, func(t *testing.T) {
			server := s3test.StartIn(t, c.region)
			bucket := c.make(server, t, "backups")
			count := 0
			storagetest.Run(t, func(t *testing.T) storage.Store {
				count++
				// A neighbour whose name begins with the prefix must never show.
				prefix := "store-" + string(rune('a'+count))
				storagetest.Put(t, open(t, server, bucket, prefix+"-neighbour"), "object", []byte("x"))
				t.Cleanup(func() {
					if left := server.Uploads(t, bucket); len(left) > 0 {
						t.Errorf("unfinished uploads: %q", left)
					}
				})
				return open(t, server, bucket, prefix)
			})
		})
	}
}
