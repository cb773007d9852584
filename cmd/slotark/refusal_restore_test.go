package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
)

// nodeState is what a restore could change on a node, as text.
func nodeState(t *testing.T, addr string) string {
	t.Helper()
	info := cluster.ParseInfo(fmt.Sprint(do(t, addr, "CLUSTER", "INFO")))
	return fmt.Sprintf("%v keys, %d slots, %d nodes, epoch %d, functions %v", do(t, addr, "DBSIZE"), info.Int("cluster_slots_assigned"),
		info.Int("cluster_known_nodes"), info.Int("cluster_my_epoch"), do(t, addr, "FUNCTION", "LIST"))
}

// aloneState is nodeState of a node that holds nothing and knows nobody.
const aloneState = "0 keys, 0 slots, 1 nodes, epoch 0, functions []"

// TestRefusesTargets restores onto everything that must not be restored onto.
// The source is the one target that would be hurt most.
func TestRefusesTargets(t *testing.T) {
	t.Parallel()
	source, foreign := small(t), small(t)
	repo := filepath.Join(t.TempDir(), "repo")
	slotark(t, password, "snapshot", "--repo", repo, "--node", source.Addrs()[0]).want(t, exitDone)
	empty := emptyNodes(t, 3)
	holding := emptyNodes(t, 1)[0]
	do(t, holding, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	clustertest.Eventually(t, runLimit, func(ctx context.Context) error { // until it finds itself whole
		node := (&cluster.Access{Password: password}).Open(holding)
		defer node.Close()
		_, err := node.Do(ctx, "SET", "precious", "value")
		return err
	})
	lone, nobody := standalone(t), silentAddr(t)

	for _, test := range []struct {
		name    string
		targets []string
		says    []string
	}{
		{"a node that holds keys", []string{empty[0], holding, empty[1]}, []string{holding + " holds 1 key", "restore into empty nodes"}},
		{"nodes of another cluster", foreign.Addrs(), []string{foreign.Addrs()[0], "belongs to a cluster already", "give other addresses"}},
		{"one node of another cluster", []string{empty[0], empty[1], foreign.Addrs()[2]}, []string{foreign.Addrs()[2], "belongs to a cluster already"}},
		{"a standalone server", []string{lone, empty[0], empty[1]}, []string{lone + " does not run in cluster mode", "cluster-enabled yes"}},
		{"too few nodes", empty[:2], []string{"too few nodes", "2 addresses given", "3 shards", "at least 3"}},
		{"the live source", source.Addrs(), []string{source.Addrs()[0], "belongs to the live cluster this snapshot was taken from"}},
		{"one node twice", []string{empty[0], empty[0], empty[1]}, []string{empty[0], "given twice"}},
		{"a node that is not there", []string{empty[0], nobody, empty[1]}, []string{nobody, "connection refused"}},
		{"an address that is none", []string{"somewhere", empty[0], empty[1]}, []string{`"somewhere"`, "HOST:PORT"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := map[string]string{}
			for _, addr := range test.targets {
				if _, _, err := net.SplitHostPort(addr); err == nil && addr != nobody && addr != lone {
					before[addr] = nodeState(t, addr)
				}
			}
			slotark(t, password, "restore", "latest", "--repo", repo, "--to", strings.Join(test.targets, ",")).
				wantFailure(t, exitRefused, test.says...)
			for addr, state := range before {
				if now := nodeState(t, addr); now != state {
					t.Errorf("%s had %s and has %s", addr, state, now)
				}
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		slotark(t, wrongPassword, "restore", "latest", "--repo", repo, "--to", strings.Join(empty, ",")).
			wantFailure(t, exitRefused, empty[0], "refused the password")
	})
	t.Run("folders", func(t *testing.T) { refusesFolders(t, repo, empty) })

	// All that was only looked at can be restored onto.
	slotark(t, password, "restore", "latest", "--repo", repo, "--to", strings.Join(empty, ",")).want(t, exitDone, "equal: 600 keys")
}

func refusesFolders(t *testing.T, repo string, empty []string) {
	at := []string{"--at", strings.Join([]string{"10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.3:7001"}, ",")}
	restore := func(dir string, more ...string) outcome {
		return slotark(t, password, append([]string{"restore", "latest", "--repo", repo, "--to-dir", dir}, more...)...)
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "photo.jpg"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	restore(used, at...).wantFailure(t, exitRefused, used+" is not empty", "photo.jpg", "nothing is ever overwritten")
	if left := objects(t, used); len(left) != 1 {
		t.Errorf("the folder holds %v", left)
	}
	restore(filepath.Join(used, "photo.jpg"), at...).wantFailure(t, exitRefused, "photo.jpg is not a folder")

	fresh := filepath.Join(t.TempDir(), "restored")
	restore(fresh).wantFailure(t, exitRefused, "the cluster this snapshot was taken from is alive", "--at HOST:PORT")
	restore(fresh, "--at", "10.0.0.1:7001").wantFailure(t, exitRefused, "too few nodes", "1 address given", "3 shards")
	restore(fresh, "--at", "a,b,c").wantFailure(t, exitRefused, `"a"`, "HOST:PORT")
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a refused restore made the folder")
	}
}
