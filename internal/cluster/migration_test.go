package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/servertest"
)

// Each server that can move slots atomically and is there (SLOTARK_SERVERS)
// moves one, slowly: while it does, its cluster is refused, by a user who may
// not ask for migrations too; before and afterwards it is not.
func TestDiscoverMigration(t *testing.T) {
	for _, server := range servertest.Servers(t) {
		t.Run(server.Engine+" "+server.Version, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Options{Binary: server.Binary, Password: password})
			from, to := c.Primaries()[0], c.Primaries()[1]
			node := c.Access().Open(from.Addr())
			defer func() { _ = node.Close() }()
			var unknown cluster.ServerError
			if _, err := node.Do(t.Context(), "CLUSTER", "GETSLOTMIGRATIONS"); errors.As(err, &unknown) && unknown.IsUnknownCommand() {
				discover(t, c) // a server of before: it is looked at as ever
				return
			} else if err != nil {
				t.Fatal(err)
			}
			for i := range 200 { // {06S} is in slot 0
				do(t, c, from, "SET", fmt.Sprintf("{06S}%d", i), "value")
			}
			for _, n := range c.Nodes {
				do(t, c, n, "ACL", "SETUSER", "least", "on", ">"+password, "-@all", "+info", "+cluster|nodes", "+cluster|info", "+cluster|shards")
			}
			discover(t, c)
			do(t, c, from, "CONFIG", "SET", "rdb-key-save-delay", 500_000) // microseconds: 100 s in all
			do(t, c, from, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 0, "NODE", to.ID)
			least := c.Access()
			least.Username = "least"
			for says, access := range map[string]*cluster.Access{
				"an atomic slot migration runs: EXPORT of slots 0-0": c.Access(), "an atomic slot migration runs on it": least,
			} {
				clustertest.Eventually(t, settled, func(ctx context.Context) error {
					_, err := cluster.Discover(ctx, access, []string{from.Addr()})
					var unhealthy *cluster.UnhealthyError
					if !errors.As(err, &unhealthy) || len(unhealthy.Problems) < 2 || !strings.Contains(fmt.Sprint(unhealthy.Problems), from.Addr()+": "+says) {
						return fmt.Errorf("not seen on both nodes: %w", err)
					}
					checkUnhealthy(t, err, cluster.CodeMigration, "slot migration", "(and 1 more)")
					return nil
				})
			}
			do(t, c, from, "CONFIG", "SET", "rdb-key-save-delay", 0)
			do(t, c, from, "CLUSTER", "CANCELSLOTMIGRATIONS")
			clustertest.Eventually(t, settled, func(ctx context.Context) error {
				_, err := cluster.Discover(ctx, c.Access(), c.Addrs())
				return err
			})
		})
	}
}
