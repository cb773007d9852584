package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
)

// TestClient sends commands to the wrong nodes: those of a cluster without replicas
// at addresses of their own, and the only primary of another, whose replica it asks.
func TestClient(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]clustertest.Options{
		"three primaries": {Primaries: 3, Password: "client's"}, "one primary": {Primaries: 1, Replicas: 1}, "one node": {Primaries: 1}, "by TLS": {Primaries: 2, TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			live := clustertest.Start(t, o)
			topology, err := cluster.Discover(t.Context(), live.Access(), live.Addrs())
			if err != nil {
				t.Fatal(err)
			}
			client := live.Access().OpenClient(topology, 10*time.Second)
			defer client.Close()
			const keys = 50
			for i := range keys {
				key, value := fmt.Sprint("key-", i), fmt.Sprint(i)
				if _, err := client.Do(t.Context(), "SET", key, value); err != nil {
					t.Fatal(err)
				}
				if got, err := client.Do(t.Context(), "GET", key); err != nil || got != any(value) {
					t.Fatalf("%s: %v, %v", key, got, err)
				}
			}
			want := int64(2 * keys)
			if len(live.Nodes) == 1 {
				want = 0
			}
			if got := client.Moved(); got != want {
				t.Errorf("sent on %d times, want %d", got, want)
			}
			if len(live.Primaries()) == 3 {
				_, err := client.Do(t.Context(), "MGET", "key-1", "key-2", "key-3")
				if err == nil || !strings.Contains(err.Error(), "run MGET on the cluster: CROSSSLOT") {
					t.Errorf("keys of several slots: %v", err)
				}
			}
		})
	}
}
