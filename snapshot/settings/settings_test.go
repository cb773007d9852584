package settings_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/settings"
)

const (
	password = "correct horse battery"
	library  = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
)

// read reads the settings of a cluster, which are coherent in any case.
func read(t *testing.T, access *cluster.Access, topology *cluster.Topology, secrets bool) (*manifest.Settings, []manifest.Finding) {
	t.Helper()
	s, findings := settings.Read(t.Context(), settings.Options{
		Cluster: "prod", Access: access, Topology: topology, Secrets: secrets, Now: time.Unix(1_770_000_000, 0),
	})
	text, err := manifest.EncodeSettings(s)
	if err != nil {
		t.Fatal(err)
	}
	if !secrets && strings.Contains(string(text), password) {
		t.Errorf("the password is in what is not to hold it:\n%s", text)
	}
	return s, findings
}

// found are findings as text.
func found(findings []manifest.Finding) string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.Code+": "+f.Detail)
	}
	return strings.Join(lines, "\n")
}

// TestRead reads a cluster whose nodes are not all the same, with the rights for
// it and without, and with a node that does not answer.
func TestRead(t *testing.T) {
	// Rights that servers list in an order of their own are the same on all.
	const rights = " +info +time +replconf +psync +sync +bgsave +ping +scan +cluster|nodes +cluster|info"
	c := clustertest.Start(t, clustertest.Options{Primaries: 2, Replicas: 2, Password: password, Config: []string{
		"user reader on >secret-of-reader -@all +info +cluster|nodes +cluster|info +cluster|shards +config|get +acl|list +module|list +function|list",
		"user bare on >secret-of-bare -@all" + rights + " +cluster|shards",
	}})
	topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	reader := &cluster.Access{Username: "reader", Password: "secret-of-reader", Timeout: 10 * time.Second}

	s, findings := read(t, reader, topology, true)
	if found(findings) != "" || len(s.Absent) != 0 || len(s.Users) != 3 || s.Config["requirepass"] != password || s.Config["dir"] != "" || s.Config["port"] != "" {
		t.Errorf("findings %s; absent %v, users %v, requirepass %q", found(findings), s.Absent, s.Users, s.Config["requirepass"])
	}
	for i, n := range s.Nodes {
		if member := topology.Members()[i]; n.Node != member.ID || n.Server == nil || n.Server.Version != member.Version || n.Users != nil {
			t.Errorf("node %d is %+v, want %+v", i, n, member)
		}
	}
	if user := s.Users[0]; user.Name != "bare" || len(user.Passwords) != 1 || strings.Contains(string(user.Rules), "#") {
		t.Errorf("the first user is %+v", user)
	}

	// What one node has of its own, and what one shard.
	odd := c.Access().Open(c.Nodes[1].Addr())
	defer func() { _ = odd.Close() }()
	for _, command := range [][]any{{"CONFIG", "SET", "maxmemory", "123mb"}, {"ACL", "SETUSER", "guest", "on", ">guest", "+get"}, {"FUNCTION", "LOAD", library}} {
		if _, err := odd.Do(t.Context(), command...); err != nil {
			t.Fatal(err)
		}
	}
	s, findings = read(t, reader, topology, false)
	text := found(findings)
	for _, want := range []string{"users-differ: the ACL users of " + c.Nodes[1].Addr() + " are", "functions-differ: the function libraries of shard "} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if left := strings.Join(settings.Withheld(s), "; "); left != "masterauth; requirepass; the passwords of 3 ACL users" || strings.Contains(text, "password") {
		t.Errorf("left out are %s; findings %s", left, text)
	}
	at := slices.IndexFunc(s.Nodes, func(n manifest.NodeSettings) bool { return n.Node == c.Nodes[1].ID })
	if n := s.Nodes[at]; n.Config["maxmemory"] != "128974848" || s.Config["maxmemory"] != "0" || len(n.Users) != 4 || len(s.Users) != 3 {
		t.Errorf("the odd node has %v and users %v", n.Config, n.Users)
	}
	if len(s.Shards) != 2 || s.Shards[0].Libraries != nil || len(s.Shards[1].Libraries) != 1 || s.Shards[1].Libraries[0].Functions[0] != "f" {
		t.Errorf("functions of the shards: %+v", s.Shards)
	}

	// A user who may do no more than a snapshot takes.
	bare := &cluster.Access{Username: "bare", Password: "secret-of-bare", Timeout: 10 * time.Second}
	s, findings = read(t, bare, topology, true)
	const want = "settings-rights: not stored: configuration, ACL users, modules and functions of all 4 nodes. User bare may not read them: give it +config|get +acl|list +module|list +function|list, or take snapshots with --keep-settings none"
	if found(findings) != want || len(s.Absent) != 4 || s.Nodes[0].Server == nil || s.Config != nil || s.Shards != nil {
		t.Errorf("got %q, want %q; absent are %+v", found(findings), want, s.Absent)
	}

	// A node that nobody reaches, and one that dies before it is asked.
	topology.Shards[0].Replicas[0].Reachable = false
	if err := c.Nodes[1].Proc.Kill(); err != nil {
		t.Fatal(err)
	}
	s, findings = read(t, reader, topology, false)
	text = found(findings)
	if !strings.Contains(text, "settings-unread: not stored: configuration of 1 of 4 nodes: the node cannot be reached") ||
		!strings.Contains(text, "settings-unread: not stored: functions of 1 of 4 nodes: ") || strings.Contains(text, "settings-rights") {
		t.Errorf("got %s", text)
	}
	if len(s.Nodes) != 4 || len(s.Shards) != 1 || len(s.Users) != 3 {
		t.Errorf("%d nodes, %d shards, %d users", len(s.Nodes), len(s.Shards), len(s.Users))
	}
}
