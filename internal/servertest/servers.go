package servertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/slot"
)

// serversVariable lists further folders with servers and their tools, separated
// as PATH is; scripts/servers.sh makes some.
const serversVariable = "SLOTARK_SERVERS"

// Server is a server's binary.
type Server struct {
	Engine, Version string // "valkey", "9.1.2"
	Binary          string
}

// Tool is the path of a tool beside the server: "check-aof" is redis-check-aof,
// or valkey-check-aof.
func (s Server) Tool(name string) string {
	return filepath.Join(filepath.Dir(s.Binary), s.Engine+"-"+name)
}

// Servers are the machine's own server and those of SLOTARK_SERVERS, one of each
// version.
func Servers(t testing.TB) []Server {
	t.Helper()
	own, err := redisproc.Find()
	if err != nil {
		t.Fatalf("find redis-server (make deps installs it): %v", err)
	}
	var servers []Server
	seen := map[string]bool{}
	for _, binary := range append([]string{own}, further()...) {
		engine, version, err := redisproc.Version(binary)
		if err != nil {
			t.Fatal(err)
		}
		if !seen[engine+version] {
			seen[engine+version] = true
			servers = append(servers, Server{engine, version, binary})
		}
	}
	return servers
}

// further are the servers in the folders of SLOTARK_SERVERS.
func further() (found []string) {
	for _, folder := range filepath.SplitList(os.Getenv(serversVariable)) {
		for _, name := range []string{"redis-server", "valkey-server"} {
			if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
				found = append(found, path)
			}
		}
	}
	return found
}

// BecomeCluster makes a server that runs in cluster mode a cluster of one.
func BecomeCluster(t testing.TB, server redis.UniversalClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.ClusterAddSlotsRange(ctx, 0, slot.Count-1).Err(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := server.ClusterInfo(ctx).Result()
		if err != nil {
			t.Fatalf("the cluster of one does not come up: %v", err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the cluster of one does not come up")
		}
	}
}
