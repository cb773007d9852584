package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/slot"
)

// A cluster of each sort is whole when Start returns: the first write works.
func TestStart(t *testing.T) {
	cases := map[string]clustertest.Options{
		"three primaries":   {},
		"with replicas":     {Replicas: 3, Password: "päss \"word\"\\"},
		"with a user":       {Primaries: 1, Password: "secret", Username: "admin"},
		"with TLS":          {Replicas: 1, TLS: true, Password: "secret"},
		"with arguments":    {Primaries: 1, ExtraArgs: []string{"--appendonly", "yes"}},
		"uneven slots":      {Primaries: 2, Slots: []slot.Set{slot.SetOf(slot.Range{First: 0, Last: 9}), slot.SetOf(slot.Range{First: 10, Last: 16383})}},
		"primaries without": {Primaries: 4, Slots: []slot.Set{slot.Full(), {}, {}, {}}},
	}
	for name, o := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started := clock.Now()
			c := clustertest.Start(t, o)
			t.Logf("whole after %s", clock.Since(started).Round(time.Millisecond))
			client := c.Client()
			for i := range 10 {
				if err := client.Set(t.Context(), fmt.Sprint(i), "value", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			topology, err := cluster.Discover(t.Context(), c.Access(), c.Addrs()[:1])
			if err != nil || len(topology.Members()) != len(c.Nodes) || len(topology.Warnings) > 0 {
				t.Errorf("%+v, %v", topology, err)
			}
		})
	}
}

// What a test kills it can start again, and nothing is lost that was saved.
func TestRestart(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{ExtraArgs: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	if err := c.Client().Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if _, err := cluster.Discover(t.Context(), c.Access(), c.Addrs()); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("after Kill: %v", err)
	}
	for _, node := range c.Nodes {
		c.Restart(t, node)
	}
	c.WaitHealthy(t)
	clustertest.Eventually(t, 10*time.Second, func(ctx context.Context) error {
		value, err := c.Client().Get(ctx, "key").Result()
		if err == nil && value != "value" {
			err = fmt.Errorf("the key holds %q", value)
		}
		return err
	})
}
