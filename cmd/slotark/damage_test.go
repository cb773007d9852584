package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// TestDamagedStreamNeverBecomesASnapshot puts a proxy between slotark and real
// nodes that flips one bit of a dump, or cuts it, on its way.
func TestDamagedStreamNeverBecomesASnapshot(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Replicas: 0}, dataset.Options{Keys: 3_000, Seed: 3})
	for _, fault := range []struct {
		name string
		proxyFault
		says string
	}{
		{"bit flipped in the magic", proxyFault{at: 2, flip: 0x10}, "magic at byte 0"},
		{"bit flipped in the facts", proxyFault{at: 40, flip: 0x01}, " at byte "},
		{"bit flipped in the keys", proxyFault{at: 200_000, flip: 0x80}, " at byte "},
		{"bit flipped in the middle", proxyFault{at: 350_000, flip: 0x04}, " at byte "},
		{"cut in the facts", proxyFault{at: 60, cut: true}, "closed the connection"},
		{"cut in the keys", proxyFault{at: 300_000, cut: true}, "closed the connection"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			repo, mirror := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "mirror")
			args := []string{"snapshot", "--collect", "stream", "--repo", repo, "--mirror", mirror, "--node", c.Addrs()[0]}
			for i, addr := range c.Addrs() {
				through := proxyFault{}
				if i == 1 { // one shard of three is enough to spoil it
					through = fault.proxyFault
				}
				args = append(args, "--nat", addr+"="+startProxy(t, addr, through))
			}
			slotark(t, password, args...).want(t, exitFailed, fault.says, "shard 5461-1092").wantOneLine(t)
			for _, folder := range []string{repo, mirror} {
				if left := objects(t, folder); len(left) != 1 || left[0] != "slotark.json" {
					t.Errorf("%s holds %v, want slotark.json alone", folder, left)
				}
			}
			slotark(t, password, "list", "--repo", repo).want(t, exitDone, "no snapshots")
		})
	}
	t.Run("nothing", func(t *testing.T) { // the proxy itself does no harm
		args := []string{"snapshot", "--collect", "stream", "--repo", filepath.Join(t.TempDir(), "repo"), "--node", c.Addrs()[0]}
		for _, addr := range c.Addrs() {
			args = append(args, "--nat", addr+"="+startProxy(t, addr, proxyFault{}))
		}
		slotark(t, password, args...).want(t, exitDone, "3,000 keys")
	})
}

// TestDamagedObjectNeverVerifies flips one bit of each stored object in turn,
// and cuts each: verify finds and names it, and a restore takes the mirror's
// copy instead.
func TestDamagedObjectNeverVerifies(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Replicas: 0}, dataset.Options{Keys: 3_000, Seed: 4})
	for name, way := range sealings(t) {
		t.Run(name, func(t *testing.T) { damageEach(t, c, way) })
	}
}

// damageEach damages each object of a snapshot that is sealed in one way.
func damageEach(t *testing.T, c *clustertest.Cluster, way sealing) {
	t.Helper()
	repo, mirror := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "mirror")
	stores := []string{"--repo", repo, "--mirror", mirror}
	slotark(t, password, slices.Concat([]string{"snapshot", "--node", c.Addrs()[0]}, way.take, stores)...).want(t, exitDone)
	var stored []string
	for _, name := range objects(t, repo) {
		if strings.Contains(name, "/shard-") || strings.HasSuffix(name, "manifest.json") {
			stored = append(stored, name)
		}
	}
	if len(stored) != 7 {
		t.Fatalf("the snapshot has objects %v, want a manifest, 3 dumps and 3 slot indexes", stored)
	}
	for _, name := range stored {
		short := filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name)
		t.Run(short, func(t *testing.T) {
			path := filepath.Join(repo, name)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, damaged := range damages(whole) {
				rewrite(t, path, damaged.bytes)
				for _, level := range [][]string{{"--level", "checksum"}, way.read} {
					slotark(t, password, slices.Concat([]string{"verify", "latest"}, level, stores)...).want(t, exitFindings, "repo", filepath.Base(name))
				}
			}
			rewrite(t, path, whole)
			slotark(t, password, slices.Concat([]string{"verify", "latest"}, way.read, stores)...).want(t, exitDone, "sound at level deep")
		})
	}
	// A restore passes a damaged copy over.
	for _, name := range stored {
		if strings.HasSuffix(name, way.suffix) {
			whole, err := os.ReadFile(filepath.Join(repo, name))
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, filepath.Join(repo, name), damages(whole)[0].bytes)
		}
	}
	targets := emptyNodes(t, 3)
	said := "store repo: " // of what is compressed alone, any part may find it first
	switch {
	case way.suffix == ".rdb":
		said += "crc64 at byte"
	case way.read != nil:
		said = "the stored object is damaged: the sealed bytes are damaged within"
	}
	slotark(t, password, slices.Concat([]string{"restore", "latest", "--to", strings.Join(targets, ",")}, way.read, stores)...).
		want(t, exitFindings, "from mirror", "equal: 3,000 keys", said)
}

type damaged struct {
	name  string
	bytes []byte
}

// damages are one flipped bit and one cut of an object.
func damages(whole []byte) []damaged {
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0x04
	return []damaged{{"flipped", flipped}, {"cut", whole[:len(whole)-9]}}
}

// rewrite replaces a stored object, which slotark itself never does.
func rewrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// proxyFault is what a proxy does to the dump that passes through it.
type proxyFault struct {
	at   int64 // byte of the dump
	flip byte  // bits to flip there; 0: none
	cut  bool  // close the connection there
}

// startProxy forwards connections to a node, with a fault in each dump.
func startProxy(t *testing.T, node string, fault proxyFault) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		connections.Wait()
	})
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed: the test is over
			}
			connections.Go(func() { forward(client, node, fault) })
		}
	})
	return listener.Addr().String()
}

func forward(client net.Conn, node string, fault proxyFault) {
	defer client.Close()
	server, err := net.Dial("tcp", node)
	if err != nil {
		return
	}
	defer server.Close()
	var upstream sync.WaitGroup
	upstream.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	(&spoiler{fault: fault, from: server, to: client}).run()
	client.Close()
	upstream.Wait()
}

// spoiler copies what a server says and does its fault in the dump, which
// begins after the line that announces it.
type spoiler struct {
	fault proxyFault
	from  io.Reader
	to    io.Writer
	said  []byte // before the dump
	dump  int64  // bytes of the dump that have passed; -1 before it
}

func (s *spoiler) run() {
	s.dump = -1
	buffer := make([]byte, 32<<10)
	for {
		n, err := s.from.Read(buffer)
		if !s.pass(buffer[:n]) || err != nil {
			return
		}
	}
}

// pass sends bytes on; false when the connection is to be cut.
func (s *spoiler) pass(p []byte) bool {
	for len(p) > 0 && s.dump < 0 {
		s.said = append(s.said, p[0])
		if _, err := s.to.Write(p[:1]); err != nil {
			return false
		}
		p = p[1:]
		if announced(s.said) {
			s.dump = 0
		}
	}
	if at := s.fault.at - s.dump; s.dump >= 0 && at >= 0 && at < int64(len(p)) {
		if s.fault.cut {
			s.to.Write(p[:at])
			return false
		}
		p[at] ^= s.fault.flip
	}
	if s.dump >= 0 {
		s.dump += int64(len(p))
	}
	_, err := s.to.Write(p)
	return err == nil
}

// announced tells whether what was said ends with a dump's announcement.
func announced(said []byte) bool {
	at := bytes.Index(said, []byte("+FULLRESYNC"))
	if at < 0 || !bytes.HasSuffix(said, []byte("\n")) {
		return false
	}
	lines := strings.Fields(string(said[at:]))
	return len(lines) == 4 && strings.HasPrefix(lines[3], "$")
}
