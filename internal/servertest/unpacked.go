package servertest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/slotark/slotark/internal/redisproc"
)

// unpacked are the servers that make test unpacks, by suite and engine; see
// scripts/images.sh, which makes an image of each.
var unpacked = []string{"bookworm/bin/redis-server", "trixie/bin/redis-server", "trixie/bin/valkey-server", "sid/bin/valkey-server"}

// Unpacked are the servers of four versions that scripts/images.sh unpacks, in
// this order: Redis 7.0 and 8.0, Valkey 8.1 and 9.1, or what Debian has in their
// place by now. Where they are missing the test fails.
func Unpacked(t testing.TB) []Server {
	t.Helper()
	var servers []Server
	for _, name := range unpacked {
		binary := filepath.Join(tools(t), "servers", name)
		engine, version, err := redisproc.Version(binary)
		if err != nil {
			t.Fatalf("run `make images`, which unpacks the servers: %v", err)
		}
		servers = append(servers, Server{engine, version, binary})
	}
	return servers
}

// Image is the name of the image that scripts/images.sh makes of the server.
func (s Server) Image() string { return fmt.Sprintf("slotark-test/%s:%s", s.Engine, s.Version) }

// tools is the folder .tools beside go.mod; a test runs in its package's.
func tools(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".tools")
		}
	}
	t.Fatal("no go.mod above the test's folder")
	return ""
}

// Registry is the registry of images that scripts/images.sh unpacks where a Docker engine
// answers. Where it is missing the test fails.
func Registry(t testing.TB) string {
	t.Helper()
	program := filepath.Join(tools(t), "servers", "registry", "bin", "docker-registry")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("run `make images`, which unpacks the registry: %v", err)
	}
	return program
}
