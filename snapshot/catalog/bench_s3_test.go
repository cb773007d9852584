package catalog_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/s3"
)

// BenchmarkListBucket lists a thousand snapshots of a real S3 server, with their
// manifests in the cache and without.
func BenchmarkListBucket(b *testing.B) {
	const snapshots = 1000
	server := s3test.Start(b)
	store, err := s3.Open(b.Context(), s3.Options{Bucket: server.Bucket(b, "many"), Endpoint: server.Endpoint, Region: server.Region, PathStyle: true})
	if err != nil {
		b.Fatal(err)
	}
	write := func(name, text string) {
		if _, err := store.Put(b.Context(), name, strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
	write("slotark.json", `{"format_version":1}`)
	for i := range snapshots {
		id := manifest.NewID(noon.Add(-time.Duration(i) * time.Hour))
		write(catalog.ManifestName("prod", id), string(manyShards(b, id)))
	}
	for name, cache := range map[string]*catalog.Cache{"read": nil, "cached": catalog.OpenCache(filepath.Join(b.TempDir(), "cache"), 1<<30)} {
		b.Run(name, func(b *testing.B) {
			listing(b, store, cache, snapshots)
			for b.Loop() {
				listing(b, store, cache, snapshots)
			}
		})
	}
}
