package s3_test

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

// bySize are the two ways of storing an object.
var bySize = map[string]int{"single": 1000, "multipart": 9 << 20}

// sends tells a request with bytes of an object.
func sends(r *http.Request) bool { return r.Method == http.MethodPut }

// TestStoredOtherwise has a server that says after an upload that it holds
// something else than was sent: once the upload has been called a success, and
// once its answer is lost as well.
func TestStoredOtherwise(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	forward := server.Forward(t)
	for name, c := range map[string]struct {
		key, value string
		lost       bool // the answer to the upload says that it failed
		want       string
	}{
		"length":                {"Content-Length", "999", false, "the server holds 999 bytes of "},
		"checksum":              {"X-Amz-Checksum-Crc32c", "AAAAAA==", false, "the server's CRC32C is AAAAAA==, that of what was sent "},
		"length, answer lost":   {"Content-Length", "999", true, "internal error.; the server holds 999 bytes of "},
		"checksum, answer lost": {"X-Amz-Checksum-Crc32c", "AAAAAA==", true, "internal error.; the server's CRC32C is AAAAAA==, "},
	} {
		for size, bytesSent := range bySize {
			t.Run(name+"/"+size, func(t *testing.T) {
				var stored, lied atomic.Int64
				proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
					ends := completes(r) || size == "single" && sends(r)
					switch {
					case ends && c.lost:
						if stored.Add(1) == 1 {
							forward.ServeHTTP(httptest.NewRecorder(), r)
						}
						s3test.Answer(w, r, http.StatusInternalServerError, "InternalError", "We encountered an internal error.")
						return true
					case ends:
						stored.Add(1)
					case r.Method == http.MethodHead && stored.Load() > 0:
						answer := httptest.NewRecorder()
						forward.ServeHTTP(answer, r)
						if maps.Copy(w.Header(), answer.Header()); answer.Code == http.StatusOK {
							w.Header().Set(c.key, c.value)
							lied.Add(1)
						}
						w.WriteHeader(answer.Code)
						return true
					}
					return false
				})
				object := strings.NewReplacer(" ", "-", ",", "").Replace(name) + "-" + size
				_, err := open(t, proxy, bucket, "pre").Put(t.Context(), object, bytes.NewReader(storagetest.Bytes(bytesSent, 1)))
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("Put says %v, want %q", err, c.want)
				}
				if lied.Load() == 0 {
					t.Error("nothing was asked of the server after the upload: the test tests nothing")
				}
				if _, err := open(t, server, bucket, "pre").Stat(t.Context(), object); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("Stat says %v, want ErrNotFound", err)
				}
				if left := server.Uploads(t, bucket); len(left) > 0 {
					t.Errorf("unfinished uploads: %q", left)
				}
			})
		}
	}
}
