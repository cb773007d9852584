package catalog_test

import (
	"fmt"
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
// for the names once, for no manifest, and for no record. A record that came
// since is read, and no older one of its snapshot.
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
	newest := listed(t, open(server), nil, snapshots)[0].ID
	record := func(hours int, name func(string, manifest.ID, manifest.ID) string, text string) {
		t.Helper()
		id := manifest.NewID(noon.Add(time.Duration(hours) * time.Hour))
		put(t, open(server), name("prod", newest, id), fmt.Sprintf(`{"id":%q,"level":%q,"proved":true}`, id, text))
	}
	record(1, catalog.VerificationName, "exists")
	record(2, catalog.VerificationName, "checksum")
	record(3, catalog.DrillName, "")
	cache := catalog.OpenCache(filepath.Join(t.TempDir(), "cache"), 1<<20)
	for _, run := range []struct {
		when    string
		want    int64 // manifests that are read
		records int64
		level   string // of the newest verification
	}{{"at first", snapshots, 2, "checksum"}, {"with a warm cache", 0, 0, "checksum"}, {"and again", 0, 0, "checksum"}, {"with a new record", 0, 1, "deep"}, {"which is known then", 0, 0, "deep"}} {
		if run.level == "deep" && run.records > 0 {
			record(4, catalog.VerificationName, "deep")
		}
		lists.Store(0)
		manifests.Store(0)
		others.Store(0)
		// Opened anew, as each run of the program does.
		newest := listed(t, open(proxy), cache, snapshots)[0]
		if lists.Load() != 1 || manifests.Load() != run.want || others.Load() != run.records {
			t.Errorf("%s: %d lists, %d requests for manifests and %d for other objects, want 1, %d and %d", run.when, lists.Load(), manifests.Load(), others.Load(), run.want, run.records)
		}
		if newest.Verified == nil || newest.Verified.Level != run.level || newest.Drilled == nil || !newest.Drilled.Proved {
			t.Errorf("%s: it lists %+v and %+v", run.when, newest.Verified, newest.Drilled)
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
