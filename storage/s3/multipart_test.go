package s3_test

import (
	"bytes"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage/storagetest"
)

// TestPartsGoSideBySide holds each of the first two parts until the other has
// come: an upload that sends one after the other does not come through.
func TestPartsGoSideBySide(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	come := map[string]chan struct{}{"1": make(chan struct{}), "2": make(chan struct{})}
	other := map[string]string{"1": "2", "2": "1"}
	var once [2]sync.Once
	proxy := server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
		part := r.URL.Query().Get("partNumber")
		if come[part] == nil {
			return false
		}
		once[part[0]-'1'].Do(func() { close(come[part]) })
		select {
		case <-come[other[part]]:
		case <-r.Context().Done():
		case <-time.After(time.Minute):
			t.Errorf("part %s waited a minute, and part %s did not come", part, other[part])
		}
		return false
	})
	s := open(t, proxy, bucket, "pre")
	want := storagetest.Bytes(17<<20, 1)
	storagetest.Put(t, s, "a", want)
	if got := storagetest.Read(t, s, "a"); !bytes.Equal(got, want) {
		t.Error("other bytes came back")
	}
}
