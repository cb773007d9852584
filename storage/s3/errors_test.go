package s3_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/s3"
	"github.com/slotark/slotark/storage/storagetest"
)

// each runs every method, so that none has a message of its own.
func each(ctx context.Context, s storage.Store) map[string]error {
	_, putErr := s.Put(ctx, "prod/dump.rdb", strings.NewReader("x"))
	_, openErr := s.Open(ctx, "prod/dump.rdb")
	_, statErr := s.Stat(ctx, "prod/dump.rdb")
	var listErr error
	for _, err := range s.List(ctx, "prod") {
		listErr = err
	}
	return map[string]error{"put": putErr, "open": openErr, "stat": statErr, "list": listErr, "delete": s.Delete(ctx, "prod/dump.rdb")}
}

// wantOneLine checks what every message must hold.
func wantOneLine(t *testing.T, verb string, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", verb)
		return
	}
	text := err.Error()
	for _, part := range append(want, verb+" ", "s3://backups/pre") {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q lacks %q", verb, text, part)
		}
	}
	for _, noise := range []string{"\n", "RequestID", "operation error", "https response", "secret-key", "attempts"} {
		if strings.Contains(text, noise) {
			t.Errorf("%s: %q has %q", verb, text, noise)
		}
	}
	if len(hint.Of(err)) == 0 {
		t.Errorf("%s: %q has no hint", verb, text)
	}
}

func TestNoBucket(t *testing.T) {
	s := open(t, s3test.Start(t), "backups", "pre")
	for verb, err := range each(t.Context(), s) {
		if !errors.Is(err, storage.ErrNoStore) {
			t.Errorf("%s: %v, want ErrNoStore", verb, err)
		}
		wantOneLine(t, verb, err, `bucket "backups" does not exist`)
	}
}

func TestDenied(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	for name, c := range map[string]struct{ key, secret, want string }{
		"unknown key":    {"nobody", "not-the-secret-key-not-the-secret-key", "access denied"},
		"wrong secret":   {server.AccessKey, "not-the-secret-key-not-the-secret-key", "access denied"},
		"no credentials": {"", "", "no AWS credentials were found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", c.key)
			t.Setenv("AWS_SECRET_ACCESS_KEY", c.secret)
			start := clock.Now()
			for verb, err := range each(t.Context(), open(t, server, "backups", "pre")) {
				if !errors.Is(err, storage.ErrDenied) {
					t.Errorf("%s: %v, want ErrDenied", verb, err)
				}
				wantOneLine(t, verb, err, c.want)
			}
			// No refusal is worth a second try; how busy the machine is has no part in it.
			if elapsed := clock.Since(start); elapsed > time.Minute {
				t.Errorf("it took %s to say so", elapsed)
			}
		})
	}
}

func TestNoProfile(t *testing.T) {
	s3test.Start(t)
	_, err := s3.Open(t.Context(), s3.Options{Bucket: "b", Profile: "nobody", Region: "eu-west-1"})
	if !errors.Is(err, storage.ErrDenied) || len(hint.Of(err)) == 0 || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("got %v", err)
	}
}

func TestProfile(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	file := filepath.Join(t.TempDir(), "credentials")
	text := "[nightly]\naws_access_key_id = " + server.AccessKey + "\naws_secret_access_key = " + server.SecretKey + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "backups", Profile: "nightly", Endpoint: server.Endpoint, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Put(t, s, "a", []byte("x"))
}

func TestNoRegion(t *testing.T) {
	s3test.Start(t) // for its environment
	if _, err := s3.Open(t.Context(), s3.Options{Bucket: "b"}); err == nil || !strings.Contains(err.Error(), "region") || len(hint.Of(err)) == 0 {
		t.Errorf("got %v", err)
	}
}

// A bucket is in one region, and a request for another is not answered.
func TestAnotherRegion(t *testing.T) {
	server := s3test.StartIn(t, "eu-central-1")
	server.Bucket(t, "backups")
	storagetest.Put(t, open(t, server, "backups", "pre"), "a", []byte("x"))
	s, err := s3.Open(t.Context(), s3.Options{
		Bucket: "backups", Prefix: "pre", Endpoint: server.Endpoint, Region: "us-west-2", PathStyle: true, MaxBackoff: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	for verb, err := range each(t.Context(), s) {
		if verb == "list" || verb == "open" { // the others begin with a HEAD, to which no server can say why
			wantOneLine(t, verb, err, `bucket "backups" is not in region "us-west-2"`)
		} else {
			wantOneLine(t, verb, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	server := s3test.Start(t)
	server.Stop()
	start := clock.Now()
	for verb, err := range each(t.Context(), open(t, server, "backups", "pre")) {
		wantOneLine(t, verb, err, "connect to "+server.Endpoint+": connection refused")
	}
	if elapsed := clock.Since(start); elapsed > 2*time.Minute {
		t.Errorf("it took %s to say so five times", elapsed)
	}
	t.Run("no such host", func(t *testing.T) {
		s, err := s3.Open(t.Context(), s3.Options{Bucket: "backups", Prefix: "pre", Endpoint: "http://nowhere.invalid:1", PathStyle: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Stat(t.Context(), "a")
		wantOneLine(t, "stat", err, "connect to http://nowhere.invalid:1: ")
	})
}

// The server accepts connections and never answers.
func TestFrozenServer(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	s, err := s3.Open(t.Context(), s3.Options{
		Bucket: "backups", Prefix: "pre", Endpoint: server.Endpoint, PathStyle: true, MaxBackoff: time.Millisecond, StallTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Put(t, open(t, server, "backups", "pre"), "a", []byte("x"))
	server.Pause(t)
	_, err = s.Stat(t.Context(), "a")
	wantOneLine(t, "stat", err, "nothing moved for 1s")
	server.Resume(t)
	if got := storagetest.Read(t, s, "a"); string(got) != "x" {
		t.Errorf("afterwards it reads %q", got)
	}
}

// A server that vanishes in mid-put must end the Put, and not only when the
// body does.
func TestServerDiesInMidPut(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	s := open(t, server, "backups", "pre")
	given := 0
	body := readerFunc(func(p []byte) (int, error) {
		if given += len(p); given > 20<<20 {
			server.Stop()
		}
		if given > 512<<20 {
			return 0, errors.New("the Put did not stop")
		}
		return len(p), nil
	})
	_, err := s.Put(t.Context(), "a", body)
	wantOneLine(t, "put", err, "connect to "+server.Endpoint)
	if given > 100<<20 {
		t.Errorf("%d bytes were read after the server was gone", given)
	}
}

// A proxy that cuts the answer short must not turn a part of a dump into a
// whole one.
func TestReadCutShort(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	want := storagetest.Bytes(4<<20, 1)
	storagetest.Put(t, open(t, server, "backups", "pre"), "a", want)
	proxy := cuttingProxy(t, strings.TrimPrefix(server.Endpoint, "http://"), 1<<20)
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "backups", Prefix: "pre", Endpoint: "http://" + proxy, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err == nil || !strings.Contains(err.Error(), "read a from s3://backups/pre: ") {
		t.Errorf("%d of %d bytes were read, with %v", len(got), len(want), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The server's disk gives other bytes than were stored: the checksum that the
// server keeps tells.
func TestReadDamaged(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	s := open(t, server, "backups", "pre")
	for name, size := range map[string]int{"single": 1000, "multipart": 20 << 20} {
		want := storagetest.Bytes(size, 1)
		storagetest.Put(t, s, name, want)
		server.Damage(t, "backups", "pre/"+name, int64(size/2))
		r, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: a flipped byte was read with %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The answer to a request that was carried out gets lost; the SDK repeats it
// and is told that the name is taken: by this very Put.
func TestAnswerLost(t *testing.T) {
	server := s3test.Start(t)
	server.Bucket(t, "backups")
	for name, c := range map[string]struct {
		size int
		mark string
	}{
		"single":    {1000, "PUT /backups/pre/single"},
		"multipart": {20 << 20, "POST /backups/pre/multipart?uploadId="},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := swallowingProxy(t, strings.TrimPrefix(server.Endpoint, "http://"), c.mark)
			s, err := s3.Open(t.Context(), s3.Options{Bucket: "backups", Prefix: "pre", Endpoint: "http://" + proxy.address, PathStyle: true})
			if err != nil {
				t.Fatal(err)
			}
			want := storagetest.Bytes(c.size, 1)
			storagetest.Put(t, s, name, want)
			if !proxy.swallowed.Load() {
				t.Error("no answer was lost: the test tests nothing")
			}
			if got := storagetest.Read(t, s, name); string(got) != string(want) {
				t.Error("other bytes came back")
			}
			if _, err := s.Put(t.Context(), name, iotest.ErrReader(errors.New("read"))); !errors.Is(err, storage.ErrExists) {
				t.Errorf("a second Put: %v", err)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
