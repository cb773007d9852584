package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/s3test"
)

const (
	memoryLimit = 256 << 20
	largeKeys   = 12_000
	largeValue  = 96 << 10 // bytes; 12,000 of them are a dump of 1.2 GB
)

// TestMemoryStaysFlat runs every verb that moves data over a dump of more than
// a gigabyte and holds the process's peak against the limit.
func TestMemoryStaysFlat(t *testing.T) {
	// Random values do not compress; not trying keeps the test short.
	o := clustertest.Options{Primaries: 1, Password: password, ExtraArgs: []string{"--rdbcompression", "no"}}
	c := clustertest.Start(t, o)
	fillLarge(t, c)
	region := s3test.Start(t)
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo"), "--mirror", region.URL(region.Bucket(t, "large"), "")}
	node := []string{"--node", c.Addrs()[0]}
	target := emptyNodes(t, 1)
	for _, verb := range [][]string{
		append([]string{"snapshot", "--collect", "bgsave"}, node...),
		append([]string{"snapshot", "--collect", "stream"}, node...),
		{"verify", "latest"},
		{"restore", "latest", "--to", target[0]},
		append([]string{"verify", "latest", "--live"}, node...),
		{"restore", "latest", "--to-dir", filepath.Join(t.TempDir(), "seeded"), "--at", "127.0.0.1:7000"},
	} {
		o := slotark(t, password, append(verb, repo...)...).want(t, exitDone)
		t.Logf("%-24v peak %d MiB", verb[:2], o.peakBytes>>20)
		if o.peakBytes == 0 || o.peakBytes > memoryLimit {
			t.Errorf("%v took %d MiB at its peak, want at most %d MiB", verb, o.peakBytes>>20, memoryLimit>>20)
		}
	}
}

// fillLarge sends values of a size that no two buffers' worth of them fit in
// the limit, in one pipeline.
func fillLarge(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	conn, reader, err := c.Access().Dial(t.Context(), c.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	noise := make([]byte, 2*largeValue)
	source := rand.NewChaCha8([32]byte{5})
	source.Read(noise)
	answered := make(chan error, 1)
	go func() {
		for range largeKeys {
			if _, err := cluster.ReadReply(reader); err != nil {
				answered <- err
				return
			}
		}
		answered <- nil
	}()
	out := bufio.NewWriterSize(conn, 1<<20)
	for i := range largeKeys {
		at := (i * 7919) % largeValue
		out.Write(cluster.AppendCommand(nil, "SET", fmt.Sprintf("large:%d", i), noise[at:at+largeValue]))
	}
	if err := errors.Join(out.Flush(), <-answered); err != nil {
		t.Fatal(err)
	}
}
