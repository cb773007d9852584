//go:build servers

package restore_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
)

// TestDividedSetsOfServers is [TestDividedSets] of each server: what they write to
// append-only files differs, and so do the dumps that these begin with. Those of
// 7.4 and later hold fields of hashes that expire.
func TestDividedSetsOfServers(t *testing.T) {
	for _, server := range servertest.Servers(t) {
		t.Run(server.Engine+" "+server.Version, func(t *testing.T) {
			d := newDivided(t, server.Binary)
			for _, way := range ways {
				for _, layout := range [][]slot.Set{restore.Balanced(1), restore.Balanced(4)} {
					t.Run(fmt.Sprintf("%s onto %d", way.name, len(layout)), func(t *testing.T) { d.wantWhole(t, way, d.options(layout)) })
				}
			}
		})
	}
}

// TestDividedDatabases has several databases in cluster mode, which only Valkey 9
// has: what a FLUSHDB of one removes is gone, and what is in the others stays.
func TestDividedDatabases(t *testing.T) {
	servers := servertest.Servers(t)
	at := slices.IndexFunc(servers, func(s servertest.Server) bool { return s.Engine == "valkey" && s.Version >= "9." })
	if at < 0 {
		t.Fatal("no Valkey 9 among the servers: scripts/agree.sh unpacks one")
	}
	args := []string{"--cluster-databases", "4"}
	c := clustertest.Start(t, clustertest.Options{Binary: servers[at].Binary, Password: password, ExtraArgs: append(args, "--appendonly", "yes")})
	d := &divided{sets: &sets{Cluster: c}, binary: servers[at].Binary, args: args}
	for i, n := range c.Primaries() {
		node := c.Access().Open(n.Addr())
		defer node.Close()
		commands := [][]any{{"FUNCTION", "LOAD", "REPLACE", library("stock", "1")}, {"FUNCTION", "LOAD", "REPLACE", library("long", "1")}}
		write := func(db, round int) {
			commands = append(commands, []any{"SELECT", db})
			for k := range 50 {
				key := keyIn(n, fmt.Sprintf("key%d", k))
				commands = append(commands, []any{"APPEND", key, fmt.Sprintf("%d:%d ", db, round)}, []any{"PEXPIRE", key, 3_600_000})
			}
		}
		for db := range 4 {
			write(db, 1)
		}
		if i > 0 { // of one shard all stays
			commands = append(commands, []any{"SELECT", 2}, []any{"FLUSHDB"}, []any{"SELECT", 1}, []any{"FLUSHDB", "ASYNC"})
		}
		for db := range 3 {
			write(db, 2)
		}
		if i == 2 {
			commands = append(commands, []any{"FLUSHDB"}, []any{"SELECT", 0}, []any{"COPY", keyIn(n, "key1"), keyIn(n, "key1") + "2", "DB", 3})
		}
		if _, err := node.Pipeline(t.Context(), commands); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			d.rewrite(t, n.Addr())
			if _, err := node.Pipeline(t.Context(), [][]any{{"SELECT", 3}, {"FLUSHDB"}, {"SET", keyIn(n, "last"), 1}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.take(t)
	for _, way := range ways {
		for _, layout := range [][]slot.Set{restore.Balanced(1), restore.Balanced(4)} {
			t.Run(fmt.Sprintf("%s onto %d", way.name, len(layout)), func(t *testing.T) { d.wantWhole(t, way, d.options(layout)) })
		}
	}
}
