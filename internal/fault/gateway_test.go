package fault_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// TestLyingGateway has a gateway before a bucket that stores each object in turn
// with another bit, under sums that fit what it stored, and says that all is
// well. The sum that the server keeps tells: the bucket does not have the snapshot,
// be it the primary or a mirror, and holds none of the object.
func TestLyingGateway(t *testing.T) {
	c := newSource(t)
	server := s3test.Start(t)
	for _, place := range []string{"primary", "mirror"} {
		for at, reached := int64(1), true; reached && !t.Failed(); at++ {
			bucket := server.Bucket(t, place+"-"+string(rune('a'+at)))
			reached = lyingGateway(t, c, server, bucket, place, at)
			if !reached && at < 7 { // a mark, two objects of each shard, the settings, the manifest
				t.Errorf("%s: only %d objects were stored: the test tests little", place, at-1)
			}
		}
	}
}

// lyingGateway takes a snapshot whose object number at is stored other than it was
// sent, and tells whether there were so many.
func lyingGateway(t *testing.T, c *clustertest.Cluster, server *s3test.Server, bucket, place string, at int64) bool {
	t.Helper()
	var count atomic.Int64
	var lie string
	proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || count.Add(1) != at {
			return false
		}
		_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		lie = key
		storeBent(t, server, bucket, key, r)
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		w.WriteHeader(http.StatusOK)
		return true
	})
	gate, err := s3.Open(t.Context(), s3.Options{Bucket: bucket, Endpoint: proxy.Endpoint, Region: server.Region, PathStyle: true, MaxBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	stores := append(memories(1), storage.Named{Name: "gate", Store: gate})
	if place == "primary" {
		stores[0], stores[1] = stores[1], stores[0]
	}
	way := sealings(t)["plain"]
	r, err := take(t.Context(), c, stores, way, nil)
	reached := lie != ""
	switch {
	case !reached && (err != nil || !r.Complete()):
		t.Errorf("a gateway that does not lie: %v", err)
	case reached && place == "primary" && (err == nil || !strings.Contains(err.Error(), "CRC32C")):
		t.Errorf("%s is stored otherwise in the primary, and it is said: %v", lie, err)
	case reached && place == "mirror" && (err != nil || r.Outcomes[1].Err == nil || !strings.Contains(r.Outcomes[1].Err.Error(), "CRC32C")):
		t.Errorf("%s is stored otherwise in the mirror, and it is said: %v", lie, err)
	}
	for _, store := range stores {
		ids := listed(t, store, way.keys)
		if want := err == nil && (!reached || store.Name != "gate"); len(ids) > 0 != want {
			t.Errorf("%s stored otherwise: %s lists %v", lie, store.Name, ids)
		}
		for _, name := range storagetest.Names(t, store, "") {
			if store.Name == "gate" && name == lie {
				t.Errorf("%s is there still", name)
			}
		}
	}
	return reached
}

// storeBent stores a request's object with one bit changed.
func storeBent(t *testing.T, server *s3test.Server, bucket, key string, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil || len(data) == 0 {
		t.Errorf("%s of %d bytes: %v", key, len(data), err)
		return
	}
	data[len(data)/2] ^= 1
	meta := map[string]string{}
	for name := range r.Header {
		if own, ok := strings.CutPrefix(strings.ToLower(name), "x-amz-meta-"); ok {
			meta[own] = r.Header.Get(name)
		}
	}
	_, err = server.Client().PutObject(r.Context(), &awss3.PutObjectInput{
		Bucket: &bucket, Key: aws.String(key), Body: bytes.NewReader(data), Metadata: meta, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c,
	})
	if err != nil {
		t.Error(err)
	}
}
