package restore_test

import (
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/restore"
)

// TestAcrossServers restores from each server onto each: as it is where that reads the
// dumps, and else refused before anything is changed, and then by --logical. They are
// Redis 7.0 and 8.0, Valkey 8.1 and 9.1; scripts/agree.sh has it run on all there are.
func TestAcrossServers(t *testing.T) {
	t.Parallel()
	servers := servertest.Unpacked(t)
	if all := servertest.Servers(t); len(all) > len(servers) {
		servers = all
	}
	for _, from := range servers {
		t.Run("from "+from.Engine+" "+from.Version, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, clustertest.Options{Primaries: 1, Binary: from.Binary}, dataset.Options{Keys: 600, Seed: 5, ExpiringShare: 0.2},
				func(c *clustertest.Cluster) { oddStreams(c, t) })
			for _, onto := range servers {
				t.Run("onto "+onto.Engine+" "+onto.Version, func(t *testing.T) { across(t, s, from, onto) })
			}
			fieldsAcross(t, s, from, servers)
		})
	}
}

// readsDumps tells whether a server loads what another has written (its RDB version is
// no newer, and its engine's own from 80 on).
func readsDumps(from, onto servertest.Server) bool {
	old := func(s servertest.Server) bool { return strings.HasPrefix(s.Version, "7.0") }
	switch {
	case old(from):
		return true
	case from.Engine == "valkey" && strings.HasPrefix(from.Version, "8."):
		return !old(onto)
	}
	return from.Engine == onto.Engine && from.Version[0] == onto.Version[0]
}

func across(t *testing.T, s *source, from, onto servertest.Server) {
	o := restore.Options{Snapshot: s.snapshot, Access: access(), To: []string{startNode(t, redisproc.Options{
		Binary: onto.Binary, Dir: t.TempDir(), Password: password, Args: clusterArgs()}).Addr()}}
	result, err := restore.Run(t.Context(), o)
	switch {
	case !readsDumps(from, onto):
		requireRefusal(t, err, "does not read what")
		requireEmpty(t, o.To)
	case err != nil || !result.Complete() || !result.Comparison.Equal():
		t.Fatalf("%v %+v", err, result)
	default:
		o.Replacing = restore.Replacing{Name: "prod"}
	}
	o.Logical = true
	result, err = restore.Run(t.Context(), o)
	if err != nil || !result.Complete() || !result.Comparison.Equal() || result.Keys != s.snapshot.Manifest.Keys() {
		t.Fatalf("as commands: %v %+v", err, result)
	}
}

// fieldsAcross has a field that expires, which goes only where fields do.
func fieldsAcross(t *testing.T, s *source, from servertest.Server, servers []servertest.Server) {
	node := (&cluster.Access{Password: password}).Open(s.Addrs()[0])
	defer node.Close()
	if _, err := node.Do(t.Context(), "HSET", "fields", "a", "1", "b", "2"); err != nil {
		t.Fatal(err)
	}
	if _, unknown := node.Do(t.Context(), "HPEXPIREAT", "fields", 4102444800123, "FIELDS", 1, "a"); unknown != nil {
		return
	}
	s.again(t)
	for _, onto := range servers {
		o := restore.Options{Snapshot: s.snapshot, Access: access(), Logical: true, To: []string{startNode(t, redisproc.Options{
			Binary: onto.Binary, Dir: t.TempDir(), Password: password, Args: clusterArgs()}).Addr()}}
		result, err := restore.Run(t.Context(), o)
		has := onto.Engine == "redis" && !strings.HasPrefix(onto.Version, "7.0") || onto.Engine == "valkey" && strings.HasPrefix(onto.Version, "9.")
		switch {
		case has && (err != nil || !result.Complete()):
			t.Errorf("fields that expire, %s onto %s: %v %+v", from.Version, onto.Version, err, result)
		case !has:
			requireRefusal(t, err, "1 key with an expiry of a hash's field")
		}
	}
}
