package main

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/s3test"
)

// TestS3SeedAndReplay is the whole way through two regions of S3: a snapshot of
// a cluster of six, the cluster lost, rebuilt once from seeded folders and once
// by replay, each compared slot by slot and key by key.
func TestS3SeedAndReplay(t *testing.T) {
	t.Parallel()
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	for _, way := range []string{"bgsave", "stream"} {
		t.Run(way, func(t *testing.T) {
			repo := []string{"--repo", east.URL(east.Bucket(t, "east-"+way), "backups") + "&name=eu-west-1", "--mirror", west.URL(west.Bucket(t, "west-"+way), "") + "&name=us-east-1"}
			c := filled(t, clustertest.Options{Replicas: 3}, dataset.Options{Keys: 20_000, Seed: 2})
			args := append([]string{"snapshot", "--node", c.Addrs()[4], "--collect", way}, repo...)
			slotark(t, password, args...).want(t, exitDone, "20,000 keys in 16384 slots", "eu-west-1 stored", "us-east-1 stored", "by "+way)
			slotark(t, password, append([]string{"list"}, repo...)...).want(t, exitDone, "20,000", "2 of 2")
			slotark(t, password, append([]string{"verify", "latest"}, repo...)...).want(t, exitDone, "sound at level deep in eu-west-1 and us-east-1")
			c.Kill()

			seeded := filepath.Join(t.TempDir(), "seeded")
			o := slotark(t, password, append([]string{"restore", "latest", "--to-dir", seeded, "--json"}, repo...)...).want(t, exitDone)
			node := startSeeded(t, o.stdout)
			slotark(t, password, append([]string{"verify", "latest", "--live", "--node", node}, repo...)...).want(t, exitDone, "equal: 20,000 keys in 16384 slots")

			targets := emptyNodes(t, 6)
			slotark(t, password, append([]string{"restore", "latest", "--to", strings.Join(targets, ",")}, repo...)...).
				want(t, exitDone, "equal: 20,000 keys in 16384 slots", "+ ")
			slotark(t, password, append([]string{"list"}, repo...)...).want(t, exitDone, "deep, ")
		})
	}
}

// startSeeded starts a server on each folder that a restore to a folder printed
// as JSON, waits until the cluster is whole, and returns one of its addresses.
func startSeeded(t *testing.T, printed string) string {
	t.Helper()
	var message restoreMessage
	if err := json.Unmarshal([]byte(printed), &message); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, folder := range message.Folders {
		p := startNode(t, folder.Path, portOf(t, folder.Address))
		if first == "" {
			first = p.Addr()
		}
	}
	access := &cluster.Access{Password: password}
	clustertest.Eventually(t, runLimit, func(ctx context.Context) error {
		_, err := cluster.Discover(ctx, access, []string{first})
		return err
	})
	return first
}

// emptyNodes starts cluster nodes that hold nothing and know nobody.
func emptyNodes(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	var all errgroup.Group
	for i := range addresses {
		all.Go(func() error {
			p, err := tryNode(t, t.TempDir(), 0)
			if err == nil {
				addresses[i] = p.Addr()
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	return addresses
}

// startNode starts a cluster node; config are further lines of its
// configuration.
func startNode(t *testing.T, dir string, port int, config ...string) *redisproc.Process {
	t.Helper()
	p, err := tryNode(t, dir, port, config...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tryNode is startNode for who starts several at once.
func tryNode(t *testing.T, dir string, port int, config ...string) (*redisproc.Process, error) {
	t.Helper()
	p, err := redisproc.Start(t.Context(), redisproc.Options{
		Dir: dir, Port: port, Password: password, Config: config,
		Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"},
	})
	if err == nil {
		t.Cleanup(func() { p.Kill() })
	}
	return p, err
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
