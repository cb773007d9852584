package aof_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/redisproc"
)

const manifestName = "appendonly.aof.manifest"

// write puts the files of a set into a folder.
func (f folder) write(t testing.TB, dir string) {
	t.Helper()
	if err := f.tryWrite(dir); err != nil {
		t.Fatal(err)
	}
}

func (f folder) tryWrite(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range f {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readFolder reads the files of a folder. A server may be writing there: a file
// that goes away in between is one it has deleted.
func readFolder(t testing.TB, dir string) folder {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := folder{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = data
	}
	return files
}

// check asks redis-check-aof whether a set, or one old file, is whole.
func (f folder) check(t testing.TB, name string) (ok bool, output string) {
	t.Helper()
	dir := t.TempDir()
	f.write(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-check-aof", filepath.Join(dir, name)).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("redis-check-aof (make deps installs it): %v", err)
	}
	return err == nil, string(out)
}

// server is a real redis-server of a test's own.
type server struct {
	*redis.Client
	t       testing.TB
	process *redisproc.Process
}

// tryStart starts a server, redis-server unless a binary is named, with
// append-only files in the folder given.
func tryStart(t testing.TB, binary, dir string, settings ...string) (*server, error) {
	t.Helper()
	process, err := redisproc.Start(t.Context(), redisproc.Options{
		Binary: binary,
		Dir:    dir,
		Args:   append([]string{"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"}, settings...),
	})
	if errors.Is(err, redisproc.ErrNoBinary) {
		t.Fatalf("start redis-server (make deps installs it): %v", err)
	}
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: process.Addr(), Protocol: 2, DisableIdentity: true, ReadTimeout: time.Minute})
	s := &server{Client: client, t: t, process: process}
	t.Cleanup(s.kill)
	return s, nil
}

func startServer(t testing.TB, dir string, settings ...string) *server {
	t.Helper()
	s, err := tryStart(t, "", dir, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) kill() {
	_ = s.Client.Close()
	if err := s.process.Kill(); err != nil {
		s.t.Error(err)
	}
}

// do runs one command and fails the test if the server refuses it.
func (s *server) do(args ...any) any {
	s.t.Helper()
	reply, err := s.Do(context.Background(), args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.t.Fatalf("%.100s: %v", fmt.Sprint(args...), err)
	}
	return reply
}

// files are those of the server's set, at this moment.
func (s *server) files() folder {
	s.t.Helper()
	return readFolder(s.t, filepath.Join(s.process.Dir(), "appendonlydir"))
}

// await waits until a field of INFO persistence has a value.
func (s *server) await(field, want string) {
	s.t.Helper()
	s.until(field+" is "+want, func() bool {
		info, err := s.InfoMap(context.Background(), "persistence").Result()
		if err != nil {
			s.t.Fatal(err)
		}
		return info["Persistence"][field] == want
	})
}

// until waits for what happens within a minute.
func (s *server) until(what string, happened func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// loads tells whether a server starts with a set, and what it then has for it.
func (f folder) loads(t testing.TB, settings ...string) (files folder, err error) {
	t.Helper()
	dir := t.TempDir()
	f.write(t, filepath.Join(dir, "appendonlydir"))
	s, err := tryStart(t, "", dir, settings...)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	return s.files(), nil
}
