package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	accessKey = "slotark-test"
	// versitygw refuses short secrets.
	secretKey = "slotark-test-secret-key-that-opens-nothing"
	// home is the region of servers that nobody has named one for.
	home = "us-east-1"

	startAttempts = 5 // a free port may be taken before the server binds it
	startLimit    = 20 * time.Second
	pollEvery     = 20 * time.Millisecond
)

// Server is one running S3 server.
type Server struct {
	Endpoint  string // "http://127.0.0.1:41234"
	Region    string
	AccessKey string
	SecretKey string

	root    string // the buckets' folders
	process *os.Process
	exited  chan struct{}
	stop    sync.Once
	output  bytes.Buffer // read only after exited is closed
}

// Environment are the AWS settings of who speaks to these servers: the keys that
// all of them share, and nothing of the settings and credentials of the person
// who runs the test.
func Environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_EC2_METADATA_DISABLED": "true",
	}
}

// Start starts a server that ends with the test. It sets [Environment] for the
// test where it is not set: a parallel test may set nothing, and needs a TestMain
// that has.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartIn(t, home)
}

// StartIn is Start in a region. A request that is signed for another is refused.
func StartIn(t testing.TB, region string) *Server {
	t.Helper()
	binary := find(t)
	for name, value := range Environment() {
		if os.Getenv(name) != value {
			t.Setenv(name, value)
		}
	}
	root, versions := t.TempDir(), t.TempDir()
	var err error
	for range startAttempts {
		var s *Server
		if s, err = start(binary, region, root, versions); err != nil {
			continue
		}
		t.Cleanup(s.Stop)
		if err = s.wait(t.Context()); err == nil {
			return s
		}
		s.Stop()
	}
	t.Fatalf("start versitygw: %v", err)
	return nil
}

// find is the server's binary: named by SLOTARK_VERSITYGW, or where
// `make tools` puts it, or on the PATH.
func find(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("SLOTARK_VERSITYGW"); path != "" {
		return path
	}
	var places []string
	if dir, err := os.Getwd(); err == nil {
		// A test runs in its package's folder; the tools are beside go.mod.
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				places = append(places, filepath.Join(dir, ".tools", "bin", "versitygw"))
				break
			}
		}
	}
	if path, err := exec.LookPath("versitygw"); err == nil {
		places = append(places, path)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "env", "GOPATH").Output(); err == nil {
		for _, dir := range filepath.SplitList(strings.TrimSpace(string(out))) {
			places = append(places, filepath.Join(dir, "bin", "versitygw"))
		}
	}
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	t.Fatalf("versitygw is missing: run `make tools`, or set SLOTARK_VERSITYGW (looked for %s)", strings.Join(places, ", "))
	return ""
}

// start starts the child. Pdeathsig is sent when the THREAD that started the
// child ends, so one goroutine keeps its thread until the child is gone.
func start(binary, region, root, versions string) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	s := &Server{
		Endpoint: "http://" + address, Region: region, AccessKey: accessKey, SecretKey: secretKey,
		root: root, exited: make(chan struct{}),
	}
	cmd := exec.Command(binary, "--port", address, "--region", region, "--health", "/health", "--quiet",
		"posix", "--versioning-dir", versions, root)
	// By the environment, because arguments are seen by every user.
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	cmd.SysProcAttr = childAttributes()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		s.process = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is told by its output
			close(s.exited)
		}
	}()
	return s, <-started
}

// wait polls the health endpoint until the server answers.
func (s *Server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/health", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			err = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return err
			}
			err = fmt.Errorf("health: %s", response.Status)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended: %s", bytes.TrimSpace(s.output.Bytes()))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// Stop kills the server and waits for its end. It may be called twice.
func (s *Server) Stop() {
	s.stop.Do(func() { _ = s.process.Kill() })
	<-s.exited
}

// Pause stops the server in mid-air: it keeps its connections and answers
// nothing, like a region that has gone dark.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	// The signal is sent, not yet obeyed: a busy machine may let a thread
	// answer once more.
	awaitStopped(t, s.process.Pid)
}

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Client is a plain client, to look behind what is being tested.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// Bucket makes a bucket and returns its name.
func (s *Server) Bucket(t testing.TB, name string) string {
	t.Helper()
	if _, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}

// VersionedBucket makes a bucket that keeps old versions and returns its name.
func (s *Server) VersionedBucket(t testing.TB, name string) string {
	t.Helper()
	s.Bucket(t, name)
	_, err := s.Client().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket:                  &name,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// LockedBucket makes a bucket with Object Lock, which keeps old versions too,
// and returns its name.
func (s *Server) LockedBucket(t testing.TB, name string) string {
	t.Helper()
	_, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Uploads lists the keys of the bucket's unfinished multipart uploads. It may
// be called from a t.Cleanup, when the test's context has ended.
func (s *Server) Uploads(t testing.TB, bucket string) []string {
	t.Helper()
	out, err := s.Client().ListMultipartUploads(context.WithoutCancel(t.Context()), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, upload := range out.Uploads {
		keys = append(keys, aws.ToString(upload.Key))
	}
	return keys
}

// Damage flips one byte of an object where the server keeps it, behind its
// back, as a bad disk does.
func (s *Server) Damage(t testing.TB, bucket, key string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.root, bucket, filepath.FromSlash(key)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, offset)
	if err == nil {
		b[0] ^= 0xff
		_, err = f.WriteAt(b, offset)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// URL is the store URL of a prefix in a bucket of this server.
func (s *Server) URL(bucket, prefix string) string {
	query := url.Values{"endpoint": {s.Endpoint}, "region": {s.Region}, "path_style": {"true"}}
	u := url.URL{Scheme: "s3", Host: bucket, Path: "/" + prefix, RawQuery: query.Encode()}
	return u.String()
}
