package s3_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// TestSumsOnTheWire holds what each request says of its bytes against the bytes
// that come: S3's own CRC32C, and the SHA-256 that is part of the signature. Over
// TLS the SDK would leave the second out.
func TestSumsOnTheWire(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	forward := server.Forward(t)
	var seen atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sends(r) {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			sum := sha256.Sum256(data)
			crc := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
			for key, want := range map[string]string{
				"X-Amz-Content-Sha256": hex.EncodeToString(sum[:]), "X-Amz-Checksum-Crc32c": base64.StdEncoding.EncodeToString(crc),
			} {
				if got := r.Header.Get(key); got != want {
					t.Errorf("%s %s: %s is %q, and of what came it is %q", r.Method, r.URL, key, got, want)
				}
				if !strings.Contains(r.Header.Get("Authorization"), strings.ToLower(key)) {
					t.Errorf("%s %s: %s is not signed", r.Method, r.URL, key)
				}
			}
			r.Body = io.NopCloser(bytes.NewReader(data))
			seen.Add(1)
		}
		forward.ServeHTTP(w, r)
	})
	plain, safe := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(safe.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: safe.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]s3.Options{"http": {Endpoint: plain.URL}, "https": {Endpoint: safe.URL, CA: authority}} {
		t.Run(name, func(t *testing.T) {
			o.Bucket, o.Prefix, o.PathStyle, o.MaxBackoff = bucket, name, true, time.Millisecond
			s, err := s3.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			seen.Store(0)
			for what, size := range bySize {
				storagetest.Put(t, s, what, storagetest.Bytes(size, 1))
			}
			if seen.Load() < 3 { // an object, and the two parts of another
				t.Errorf("%d requests were seen: the test tests nothing", seen.Load())
			}
		})
	}
}

// TestFlippedOnTheWay changes a bit of what is sent. A proxy that signs anew leaves
// only S3's own sum to tell.
func TestFlippedOnTheWay(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	for name, c := range map[string]struct {
		times    int64
		resigned bool
		says     string
	}{
		"once":                    {times: 1},
		"always":                  {1 << 40, false, "XAmzContentSHA256Mismatch"},
		"once, and signed anew":   {times: 1, resigned: true},
		"always, and signed anew": {1 << 40, true, "BadDigest"},
	} {
		for what, size := range bySize {
			t.Run(name+"/"+what, func(t *testing.T) {
				var flips atomic.Int64
				proxy := server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
					// Of an upload the last part, so that one is stored before.
					if sends(r) && (what == "single" || r.URL.Query().Get("partNumber") == "2") && flips.Add(1) <= c.times {
						flip(t, server, r, c.resigned)
					}
					return false
				})
				s := open(t, proxy, bucket, strings.NewReplacer(" ", "-", ",", "").Replace(name))
				want := storagetest.Bytes(size, 1)
				_, err := s.Put(t.Context(), what, bytes.NewReader(want))
				if flips.Load() < 2 {
					t.Errorf("it was sent %d times: it is to be tried again", flips.Load())
				}
				if c.says == "" {
					if err != nil {
						t.Fatalf("Put says %v", err)
					}
					if got := storagetest.Read(t, s, what); !bytes.Equal(got, want) {
						t.Error("other bytes came back")
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), "changed on the way") || !strings.Contains(err.Error(), c.says) || len(hint.Of(err)) == 0 {
					t.Errorf("Put says %v", err)
				}
				if _, err := s.Stat(t.Context(), what); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("Stat says %v, want ErrNotFound", err)
				}
				if left := server.Uploads(t, bucket); len(left) > 0 {
					t.Errorf("unfinished uploads: %q", left)
				}
			})
		}
	}
}

// flip changes a bit of a request's body.
func flip(t *testing.T, server *s3test.Server, r *http.Request, sign bool) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	data[len(data)/2] ^= 1
	r.Body = io.NopCloser(bytes.NewReader(data))
	if sign {
		sum := sha256.Sum256(data)
		r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		resign(t, server, r)
	}
}
