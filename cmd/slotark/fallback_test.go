package main

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/snapshot/catalog"
)

// TestPrimaryRegionGone reads by every verb from the mirror when the primary's
// server was killed, and when it is frozen: it keeps its connections then and
// answers nothing.
func TestPrimaryRegionGone(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 2_000, Seed: 22})
	for _, way := range []string{"killed", "frozen"} {
		t.Run(way, func(t *testing.T) {
			east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
			repo := []string{"--repo", east.URL(east.Bucket(t, "gone"), "") + "&name=east", "--mirror", west.URL(west.Bucket(t, "gone"), "") + "&name=west"}
			slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)
			if way == "killed" {
				east.Stop()
			} else {
				east.Pause(t)
			}
			seeded := filepath.Join(t.TempDir(), "seeded")
			began := time.Now()
			var verbs sync.WaitGroup
			for _, v := range []struct {
				args []string
				code int
				says []string
			}{
				{[]string{"list"}, exitDone, []string{"2,000", "1 of 2 !", "east does not answer"}},
				{[]string{"show", "latest"}, exitDone, []string{"2,000 keys", "west (s3://gone"}},
				{[]string{"show", "latest", "--slots"}, exitDone, []string{"fingerprint"}},
				{[]string{"verify", "latest"}, exitFindings, []string{"store-unreachable", "east", "sound at level deep in west", "not verified everywhere: 1 finding"}},
				{[]string{"verify", "latest", "--live", "--node", c.Addrs()[0]}, exitDone, []string{"equal: 2,000 keys"}},
				{[]string{"restore", "latest", "--to-dir", seeded, "--at", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"}, exitDone, []string{"from west", "restored"}},
				{[]string{"drill", "latest", "--runtime", "process"}, exitDone, []string{"Proved."}},
				{[]string{"mirror", "status"}, exitFindings, []string{"west", "1 of 1", "does not answer"}},
			} {
				verbs.Go(func() {
					o := slotark(t, password, append(v.args, repo...)...)
					if o.code != v.code {
						t.Errorf("%q: exit code %d, want %d\n%s%s", v.args, o.code, v.code, o.stdout, o.stderr)
					}
					for _, part := range append(v.says, "warning: east does not answer, and what is read comes from the other stores") {
						if !strings.Contains(o.stdout+o.stderr, part) {
							t.Errorf("%q: %q is not in\n%s%s", v.args, part, o.stdout, o.stderr)
						}
					}
				})
			}
			verbs.Wait()
			took := time.Since(began)
			t.Logf("all verbs together took %s", took.Round(time.Millisecond))
			// A store's own limits would take many minutes.
			if took > 2*catalog.AnswerLimit+2*time.Minute {
				t.Errorf("all verbs together took %s", took)
			}
			if way == "frozen" {
				east.Resume(t)
			}
		})
	}
}

// TestPrimaryFreezesUnderARestore hangs every answer of the primary's server
// after its first MiB, in the middle of a dump: the shard is read again, whole,
// from the mirror.
func TestPrimaryFreezesUnderARestore(t *testing.T) {
	t.Parallel()
	c := slowCluster(t)
	east, west := s3test.StartIn(t, "us-east-2"), s3test.StartIn(t, "us-west-2")
	bucket := east.Bucket(t, "freezes")
	mirror := []string{"--mirror", west.URL(west.Bucket(t, "freezes"), "") + "&name=west"}
	slotark(t, password, append(mirror, "snapshot", "--compression", "none", "--node", c.Addrs()[0], "--repo", east.URL(bucket, ""))...).want(t, exitDone)
	through := &s3test.Server{Endpoint: badLine(t, east, 1<<20, hangs), Region: east.Region}
	targets := emptyNodes(t, 3)
	began := time.Now()
	slotark(t, password, append(mirror, "restore", "latest", "--to", strings.Join(targets, ","), "--repo", through.URL(bucket, ""))...).
		want(t, exitFindings, "from west", "equal: 6,003 keys", "the store does not answer")
	t.Logf("it took %s", time.Since(began).Round(time.Millisecond))
}

// badLine is the endpoint of a server behind a line that passes on so many bytes
// of answers on each connection and then does something else.
func badLine(t *testing.T, server *s3test.Server, after int64, then func(client, upstream net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	over := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		close(over)
		connections.Wait()
	})
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed: the test is over
			}
			upstream, err := net.Dial("tcp", strings.TrimPrefix(server.Endpoint, "http://"))
			if err != nil {
				client.Close()
				continue
			}
			connections.Go(func() { io.Copy(upstream, client) })
			connections.Go(func() {
				if _, err := io.CopyN(client, upstream, after); err == nil {
					then(client, upstream)
				}
			})
			connections.Go(func() {
				<-over
				client.Close()
				upstream.Close()
			})
		}
	})
	return "http://" + listener.Addr().String()
}

// hangs keeps the connection and passes on nothing more.
func hangs(net.Conn, net.Conn) {}

func cuts(client, upstream net.Conn) {
	client.Close()
	upstream.Close()
}

// flips changes one bit and passes on the rest.
func flips(client, upstream net.Conn) {
	one := make([]byte, 1)
	if _, err := io.ReadFull(upstream, one); err != nil {
		return
	}
	one[0] ^= 1
	if _, err := client.Write(one); err == nil {
		io.Copy(client, upstream)
	}
}
