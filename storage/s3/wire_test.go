package s3_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// creates tells a request that decides how an object is stored.
func creates(r *http.Request) bool {
	return r.Method == http.MethodPut && !r.URL.Query().Has("partNumber") || r.Method == http.MethodPost && r.URL.Query().Has("uploads")
}

func completes(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// TestHeadersOnTheWire sees what is asked of the server, by both ways of
// storing an object.
func TestHeadersOnTheWire(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	for name, c := range map[string]struct {
		o    s3.Options
		want map[string]string
	}{
		"nothing": {s3.Options{}, map[string]string{"X-Amz-Server-Side-Encryption": "", "X-Amz-Storage-Class": "", "X-Amz-Object-Lock-Mode": ""}},
		"AES256":  {s3.Options{Encryption: "AES256"}, map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}},
		"KMS": {s3.Options{Encryption: "aws:kms", KMSKey: "arn:aws:kms:key/1"},
			map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:key/1"}},
		"class": {s3.Options{StorageClass: "STANDARD_IA"}, map[string]string{"X-Amz-Storage-Class": "STANDARD_IA"}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var seen []http.Header
			proxy := server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if creates(r) {
					seen = append(seen, r.Header.Clone())
				}
				return false
			})
			o := c.o
			o.Bucket, o.Prefix, o.Endpoint, o.PathStyle = bucket, name, proxy.Endpoint, true
			s, err := s3.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for what, size := range map[string]int{"single": 10, "multipart": 9 << 20} {
				storagetest.Put(t, s, what, storagetest.Bytes(size, 1))
			}
			if len(seen) != 2 {
				t.Fatalf("%d requests were seen, want 2", len(seen))
			}
			for _, header := range seen {
				for key, want := range c.want {
					if got := header.Get(key); got != want {
						t.Errorf("%s is %q, want %q", key, got, want)
					}
				}
			}
		})
	}
}

// TestSlowDown is refused each request twice, and a time-out of the server too.
func TestSlowDown(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	for code, status := range map[string]int{"SlowDown": http.StatusServiceUnavailable, "RequestTimeout": http.StatusBadRequest, "InternalError": http.StatusInternalServerError} {
		t.Run(code, func(t *testing.T) {
			var mu sync.Mutex
			tried := map[string]int{}
			proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead {
					return false // has no body to say so
				}
				mu.Lock()
				defer mu.Unlock()
				request := r.Method + r.URL.Path + r.URL.Query().Get("partNumber") + fmt.Sprint(r.URL.Query().Has("uploads"))
				if tried[request]++; tried[request] > 2 {
					return false
				}
				s3test.Answer(w, r, status, code, "Please reduce your request rate.")
				return true
			})
			s := open(t, proxy, bucket, "pre")
			for what, size := range map[string]int{"single": 10, "multipart": 9 << 20} {
				want := storagetest.Bytes(size, 1)
				storagetest.Put(t, s, code+what, want)
				if got := storagetest.Read(t, s, code+what); !bytes.Equal(got, want) {
					t.Errorf("%s: other bytes came back", what)
				}
			}
			if len(tried) < 6 {
				t.Errorf("only %v were seen", tried)
			}
		})
	}
}

// TestHangsOnce lets the first of each request wait for ever.
func TestHangsOnce(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	var mu sync.Mutex
	hung := map[string]bool{}
	proxy := server.Proxy(t, func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		first := !hung[r.Method]
		hung[r.Method] = true
		mu.Unlock()
		if first {
			_, _ = io.Copy(io.Discard, r.Body) // only then a hang-up is noticed
			<-r.Context().Done()
		}
		return first
	})
	s, err := s3.Open(t.Context(), s3.Options{
		Bucket: bucket, Endpoint: proxy.Endpoint, PathStyle: true, MaxBackoff: time.Millisecond, StallTimeout: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := storagetest.Bytes(1000, 1)
	storagetest.Put(t, s, "a", want)
	if got := storagetest.Read(t, s, "a"); !bytes.Equal(got, want) || len(hung) != 3 {
		t.Errorf("%d bytes came back; %v have hung", len(got), hung)
	}
}

// TestLyingCompletion has the answers to the end of an upload that others have
// taken at their word: success with an error in it, and "no such upload" for
// one that was completed.
func TestLyingCompletion(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	for name, c := range map[string]struct {
		status int
		code   string
		done   bool // the server has carried it out
	}{
		"200 with an error, done":     {http.StatusOK, "InternalError", true},
		"200 with an error, not done": {http.StatusOK, "InternalError", false},
		"NoSuchUpload, done":          {http.StatusNotFound, "NoSuchUpload", true},
		"NoSuchUpload, not done":      {http.StatusNotFound, "NoSuchUpload", false},
		"500, done":                   {http.StatusInternalServerError, "InternalError", true},
	} {
		t.Run(name, func(t *testing.T) {
			forward := server.Forward(t)
			lies := atomic.Int64{}
			proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !completes(r) {
					return false
				}
				lies.Add(1)
				if c.done {
					forward.ServeHTTP(httptest.NewRecorder(), r)
				}
				s3test.Answer(w, r, c.status, c.code, "We encountered an internal error.")
				return true
			})
			s := open(t, proxy, bucket, "pre")
			object := strings.ReplaceAll(name, " ", "-")
			want := storagetest.Bytes(9<<20, 1)
			_, err := s.Put(t.Context(), object, bytes.NewReader(want))
			if c.done != (err == nil) {
				t.Errorf("Put says %v", err)
			}
			if lies.Load() == 0 {
				t.Error("no completion was seen: the test tests nothing")
			}
			if c.done {
				if got := storagetest.Read(t, s, object); !bytes.Equal(got, want) {
					t.Error("other bytes came back")
				}
			} else if _, err := s.Stat(t.Context(), object); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Stat says %v, want ErrNotFound", err)
			}
			if left := server.Uploads(t, bucket); len(left) > 0 {
				t.Errorf("unfinished uploads: %q", left)
			}
		})
	}
}

// TestShownLate has a server that calls objects stored before it shows them, and
// one that never shows them.
func TestShownLate(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	var stored, hidden, limit atomic.Int64
	proxy := server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodPut && !r.URL.Query().Has("uploadId"), completes(r):
			stored.Add(1)
		case r.Method == http.MethodHead && stored.Load() > 0 && hidden.Add(1) <= limit.Load():
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	for name, size := range map[string]int{"one request": 1000, "several parts": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			s := open(t, proxy, bucket, strings.Fields(name)[0])
			stored.Store(0)
			hidden.Store(0)
			limit.Store(3)
			want := storagetest.Bytes(size, 1)
			storagetest.Put(t, s, "late", want)
			if hidden.Load() <= limit.Load() {
				t.Errorf("it was looked for %d times", hidden.Load())
			}
			if got := storagetest.Read(t, s, "late"); !bytes.Equal(got, want) {
				t.Error("other bytes came back")
			}
			stored.Store(0)
			hidden.Store(0)
			limit.Store(1 << 40)
			if _, err := s.Put(t.Context(), "never", bytes.NewReader(want)); !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), "confirm it is stored") {
				t.Errorf("Put says %v", err)
			}
		})
	}
}

// resign signs a request anew without its token, which versitygw does not know.
func resign(t *testing.T, server *s3test.Server, r *http.Request) {
	r.Header.Del("Authorization")
	r.Header.Del("X-Amz-Security-Token")
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	keys := aws.Credentials{AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey}
	if err := signer.SignHTTP(r.Context(), keys, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", server.Region, clock.Now()); err != nil {
		t.Error(err)
	}
}

// sessions issues credentials and ends them after some requests each, though
// they were promised for an hour.
type sessions struct {
	server *s3test.Server
	refuse func(w http.ResponseWriter, r *http.Request) // a request whose credentials have ended
	last   int                                          // requests that each may make

	mu     sync.Mutex
	issued int
	silent bool // nothing is issued
	used   map[string]int
}

// start lets stores find the credentials, and returns the server that takes them.
func (c *sessions) start(t *testing.T) *s3test.Server {
	c.used = map[string]int{}
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.silent {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		c.issued++
		err := json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": c.server.AccessKey, "SecretAccessKey": c.server.SecretKey, "Token": fmt.Sprint("token-", c.issued),
			"Expiration": clock.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		})
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(source.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", source.URL)
	return c.server.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		token := r.Header.Get("X-Amz-Security-Token")
		if token == "" {
			t.Errorf("%s %s came without a token", r.Method, r.URL)
		}
		c.mu.Lock()
		c.used[token]++
		good := c.used[token] <= c.last
		c.mu.Unlock()
		if good {
			resign(t, c.server, r)
		} else {
			c.refuse(w, r)
		}
		return !good
	})
}

// TestCredentialsRenewed uploads with credentials that end after six requests
// each: more than are under way at once, so that none meets an end with each of
// its attempts.
func TestCredentialsRenewed(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	for name, refuse := range map[string]func(http.ResponseWriter, *http.Request){
		"and told": func(w http.ResponseWriter, r *http.Request) {
			s3test.Answer(w, r, http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
		},
		"and cut off": func(w http.ResponseWriter, _ *http.Request) { s3test.Cut(t, w) },
	} {
		t.Run(name, func(t *testing.T) {
			c := &sessions{server: server, refuse: refuse, last: 6}
			s := open(t, c.start(t), bucket, strings.ReplaceAll(name, " ", "-"))
			want := storagetest.Bytes(60<<20, 1)
			storagetest.Put(t, s, "long", want)
			if got := storagetest.Read(t, s, "long"); !bytes.Equal(got, want) {
				t.Error("other bytes came back")
			}
			if c.issued < 3 {
				t.Errorf("credentials were fetched %d times", c.issued)
			}
		})
	}
}

// TestCutOffWithGoodCredentials resets a connection while nothing issues
// credentials: those that are at hand are good, and are used on.
func TestCutOffWithGoodCredentials(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	c := &sessions{server: server, last: math.MaxInt}
	front := c.start(t)
	var cut atomic.Int64
	cutting := front.Proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("partNumber") != "2" || cut.Add(1) > 2 {
			return false
		}
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
		s3test.Cut(t, w)
		return true
	})
	s := open(t, cutting, bucket, "pre")
	want := storagetest.Bytes(20<<20, 1)
	storagetest.Put(t, s, "long", want)
	if got := storagetest.Read(t, s, "long"); !bytes.Equal(got, want) || cut.Load() < 3 || c.issued != 1 {
		t.Errorf("%d bytes came back, %d requests came for the part, credentials were fetched %d times", len(got), cut.Load(), c.issued)
	}
}

// TestOwnAuthority speaks to a server whose certificate only ca=... knows.
func TestOwnAuthority(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket(t, "backups")
	front := httptest.NewTLSServer(server.Forward(t))
	defer front.Close()
	dir := t.TempDir()
	good, none := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "none.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	for path, content := range map[string][]byte{good: text, none: []byte("not a certificate\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := s3.Options{Bucket: bucket, Endpoint: front.URL, PathStyle: true, MaxBackoff: time.Millisecond}
	stranger, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Stat(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without ca: %v", err)
	}
	o.CA = good
	s, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := storagetest.Bytes(9<<20, 1)
	storagetest.Put(t, s, "a", want)
	if got := storagetest.Read(t, s, "a"); !bytes.Equal(got, want) {
		t.Error("other bytes came back")
	}
	for path, says := range map[string]string{none: "holds no certificate", filepath.Join(dir, "missing.pem"): "no such file"} {
		o.CA = path
		if _, err := s3.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
