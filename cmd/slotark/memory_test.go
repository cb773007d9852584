package main

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/internal/slot"
)

const (
	memoryLimit = 256 << 20
	largeValue  = 96 << 10 // bytes
	// largerValue is that of the one shard: 2,200 of them are a dump of 1.08 GB. A
	// child that saves gives each value's pages back, which costs it a millisecond
	// however many there are.
	largerValue = 480 << 10
)

// TestMemoryStaysFlat runs every verb that moves data over a dump of more than
// a gigabyte and holds the process's peak against the limit.
func TestMemoryStaysFlat(t *testing.T) {
	t.Parallel()
	// Random values do not compress; not trying keeps the test short.
	plain := []string{"--rdbcompression", "no"}
	// Its length would show in one store.
	t.Run("one large shard", func(t *testing.T) {
		measure(t, clustertest.Start(t, clustertest.Options{Primaries: 1, Password: password, ExtraArgs: plain}), 2_200, largerValue, 1)
	})
	// All at once, each of a dozen parts to each of three stores: parts on their
	// way to S3 are what takes memory.
	t.Run("four shards", func(t *testing.T) {
		measure(t, clustertest.Start(t, clustertest.Options{Primaries: 4, Password: password, ExtraArgs: plain}), 4_400, largeValue, 3)
	})
}

// measure runs the verbs on a cluster that it fills with keys of that size, with that
// many S3 servers.
func measure(t *testing.T, c *clustertest.Cluster, keys, size, stores int) {
	t.Helper()
	for _, node := range c.Nodes {
		fillLarge(t, c, node, keys/len(c.Nodes), size)
	}
	repo := []string{}
	for _, flag := range []string{"--repo", "--mirror", "--mirror"}[:stores] {
		region := s3test.Start(t)
		repo = append(repo, flag, region.URL(region.Bucket(t, "large"), ""))
	}
	recipient, identity := newIdentity(t)
	open := []string{"--identity", identity}
	node := []string{"--node", c.Addrs()[0]}
	target := strings.Join(emptyNodes(t, len(c.Nodes)), ",")
	at := make([]string, len(c.Nodes))
	for i := range at {
		at[i] = fmt.Sprintf("127.0.0.1:%d", 7000+i)
	}
	measureAgents(t, c, append(repo, "--recipient", recipient))
	for _, verb := range [][]string{
		append([]string{"snapshot", "--collect", "bgsave", "--recipient", recipient}, node...),
		append([]string{"snapshot", "--collect", "stream", "--recipient", recipient}, node...),
		append([]string{"verify", "latest"}, open...),
		append([]string{"restore", "latest", "--to", target}, open...),
		append([]string{"verify", "latest", "--live"}, append(open, node...)...),
		append([]string{"restore", "latest", "--to-dir", filepath.Join(t.TempDir(), "seeded"), "--at", strings.Join(at, ",")}, open...),
		append([]string{"reseal", "latest", "--recipient", recipient}, open...),
	} {
		_, peak := measured(t, append(verb, repo...)...)
		t.Logf("%-24v peak %d MiB", verb[:2], peak>>20)
		if peak == 0 || peak > memoryLimit {
			t.Errorf("%v took %d MiB at its peak, want at most %d MiB", verb, peak>>20, memoryLimit>>20)
		}
	}
}

// measureAgents takes a snapshot through one agent beside all nodes, and holds the
// agent's peak and the coordinator's against the limit.
func measureAgents(t *testing.T, c *clustertest.Cluster, args []string) {
	t.Helper()
	tr := newTrust(t)
	own := slices.Clone(args)
	for _, node := range c.Nodes {
		own = append(own, "--node", node.Addr(), "--data-dir", node.Addr()+"="+node.Proc.Dir())
	}
	agent := startAgent(t, tr, "", own...)
	take := slices.Concat([]string{"snapshot", "--collect", "agent", "--node", c.Addrs()[0]}, tr.coordinator, args)
	for _, node := range c.Nodes {
		take = append(take, "--agent", node.Addr()+"=https://"+agent.addr)
	}
	_, coordinator := measured(t, take...)
	if code := agent.stop(t); code != exitDone {
		t.Errorf("the agent ended with code %d", code)
	}
	peak := agent.peak(t)
	t.Logf("through an agent: peak %d MiB, of the coordinator %d MiB", peak>>20, coordinator>>20)
	if peak == 0 || peak > memoryLimit || coordinator == 0 || coordinator > memoryLimit {
		t.Errorf("an agent took %d MiB at its peak and the coordinator %d MiB, want at most %d MiB", peak>>20, coordinator>>20, memoryLimit>>20)
	}
}

// fillLarge sends large values to a primary, in one pipeline. Their names have
// a hash tag each, chosen so that the primary owns the slot.
func fillLarge(t *testing.T, c *clustertest.Cluster, node *clustertest.Node, keys, size int) {
	t.Helper()
	noise := make([]byte, 2*size)
	rand.NewChaCha8([32]byte{5}).Read(noise)
	send(t, c, node.Addr(), keys, func(yield func([]any) bool) {
		for i, sent := 0, 0; sent < keys; i++ {
			key := fmt.Sprintf("large:%d", i)
			if !node.Slots.Contains(slot.Of([]byte(key))) {
				continue
			}
			at := (i * 7919) % size
			if !yield([]any{"SET", key, noise[at : at+size]}) {
				return
			}
			sent++
		}
	})
}

// send runs a number of commands on one node, in a pipeline.
func send(t *testing.T, c *clustertest.Cluster, addr string, number int, commands iter.Seq[[]any]) {
	t.Helper()
	conn, reader, err := c.Access().Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answered := make(chan error, 1)
	go func() {
		for range number {
			if _, err := cluster.ReadReply(reader); err != nil {
				answered <- err
				return
			}
		}
		answered <- nil
	}()
	out := bufio.NewWriterSize(conn, 1<<20)
	for command := range commands {
		out.Write(cluster.AppendCommand(nil, command...))
	}
	if err := errors.Join(out.Flush(), <-answered); err != nil {
		t.Fatal(err)
	}
}
