package catalog_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
)

// inBucket puts snapshots, an hour apart, into a store.
func inBucket(t testing.TB, store storage.Store, snapshots int) {
	t.Helper()
	write := func(name, text string) {
		if _, err := store.Put(t.Context(), name, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("slotark.json", `{"format_version":1}`)
	for i := range snapshots {
		id := manifest.NewID(noon.Add(-time.Duration(i) * time.Hour))
		write(catalog.ManifestName("prod", id), string(manyShards(t, id)))
	}
}

// TestListAsksOnce counts what a list asks of a bucket when the cache is warm:
// for the names once, and for no manifest.
func TestListAsksOnce(t *testing.T) {
	const snapshots = 5
	server := s3test.Start(t)
	var lists, manifests, others atomic.Int64
	proxy := server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Query().Has("list-type"):
			if !r.URL.Query().Has("continuation-token") { // a further page is of the same list
				lists.Add(1)
			}
		case strings.HasSuffix(r.URL.Path, "/"+catalog.ManifestObject):
			manifests.Add(1)
		case !strings.HasSuffix(r.URL.Path, "/slotark.json"):
			others.Add(1)
		}
		return false
	})
	bucket := server.Bucket(t, "many")
	open := func(server *s3test.Server) *s3.Store {
		store, err := s3.Open(t.Context(), s3.Options{Bucket: bucket, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	inBucket(t, open(server), snapshots)
	cache := catalog.OpenCache(filepath.Join(t.TempDir(), "cache"), 1<<20)
	for _, run := range []struct {
		when string
		want int64 // manifests that are read
	}{{"at first", snapshots}, {"with a warm cache", 0}, {"and again", 0}} {
		lists.Store(0)
		manifests.Store(0)
		others.Store(0)
		// Opened anew, as each run of the program does.
		listing(t, open(proxy), cache, snapshots)
		if lists.Load() != 1 || manifests.Load() != run.want || others.Load() != 0 {
			t.Errorf("%s: %d lists, %d requests for manifests and %d for other objects, want 1, %d and 0", run.when, lists.Load(), manifests.Load(), others.Load(), run.want)
		}
	}
}

// BenchmarkListBucket lists a thousand snapshots of a real S3 server, with their
// manifests in the cache and without.
func BenchmarkListBucket(b *testing.B) {
	const snapshots = 1000
	server := s3test.Start(b)
	store, err := s3.Open(b.Context(), s3.Options{Bucket: server.Bucket(b, "many"), Endpoint: server.Endpoint, Region: server.Region, PathStyle: true})
	if err != nil {
		b.Fatal(err)
	}
	inBucket(b, store, snapshots)
	for name, cache := range map[string]*catalog.Cache{"read": nil, "cached": catalog.OpenCache(filepath.Join(b.TempDir(), "cache"), 1<<30)} {
		b.Run(name, func(b *testing.B) {
			listing(b, store, cache, snapshots)
			for b.Loop() {
				listing(b, store, cache, snapshots)
			}
		})
	}
}
