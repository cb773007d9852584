package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
)

// TestReplace restores onto a live cluster, another and halves of both, with
// everything typed and left out that can be: whatever is not typed exactly changes
// nothing at all.
func TestReplace(t *testing.T) {
	t.Parallel()
	const name = "orders"
	source, foreign := small(t), small(t)
	repo := filepath.Join(t.TempDir(), "repo")
	slotark(t, password, "snapshot", "--cluster", name, "--repo", repo, "--node", source.Addrs()[0]).want(t, exitDone)
	empty := emptyNodes(t, 2)
	all := slices.Concat(source.Addrs(), foreign.Addrs(), empty)
	states := func() (now []string) {
		for _, addr := range all {
			now = append(now, nodeState(t, addr))
		}
		return now
	}
	before := states()
	targets := map[string][]string{
		"live": source.Addrs(), "foreign": foreign.Addrs(),
		"half live": {source.Addrs()[0], empty[0], empty[1]}, "half foreign": {foreign.Addrs()[2], empty[0], empty[1]},
		"both": {source.Addrs()[0], foreign.Addrs()[0], empty[0]},
	}
	ways := map[string][]string{
		"nothing": nil, "live flag alone": {"--replace-live-source"}, "empty name": {"--replace", ""},
		"wrong name": {"--replace", "order"}, "wrong name, live": {"--replace", "payments", "--replace-live-source"},
		"other case": {"--replace", "Orders", "--replace-live-source"}, "with a space": {"--replace", "orders ", "--replace-live-source"},
		"name": {"--replace", name}, "name, live": {"--replace", name, "--replace-live-source"},
	}
	for onto, addresses := range targets {
		for how, flags := range ways {
			for _, more := range [][]string{nil, {"--json"}, {"--plan", "--json"}, {"--resume"}} {
				mayGo := onto == "live" && how == "name, live" || onto == "foreign" && strings.HasPrefix(how, "name")
				if mayGo && !slices.Contains(more, "--plan") {
					continue // these are run below
				}
				args := slices.Concat([]string{"restore", "latest", "--repo", repo, "--to", strings.Join(addresses, ",")}, flags, more)
				t.Run(strings.Join(append([]string{onto, how}, more...), " "), func(t *testing.T) {
					o := slotark(t, password, args...)
					said := o.stdout + o.stderr
					switch {
					case mayGo:
						o.want(t, exitDone, addresses[0], "600 keys")
						if !strings.Contains(said, `"loses":[{`) {
							t.Errorf("the plan does not say what is lost:\n%s", said)
						}
					case how == "live flag alone":
						o.want(t, exitUsage, "--replace-live-source goes with --replace")
					default:
						o.want(t, exitRefused)
						// Nobody is shown the name that is to be typed.
						if !strings.Contains(strings.Join(flags, " "), name) && strings.Contains(o.stderr, `"`+name) {
							t.Errorf("the refusal tells the name:\n%s", o.stderr)
						}
					}
				})
			}
		}
	}
	if now := states(); !slices.Equal(now, before) {
		t.Fatalf("something was changed:\n%s\nnow\n%s", strings.Join(before, "\n"), strings.Join(now, "\n"))
	}
	replaceFor(t, repo, name, foreign.Addrs())
	replaceFor(t, repo, name, source.Addrs(), "--replace-live-source")
}

// replaceFor replaces a cluster while it is written to.
func replaceFor(t *testing.T, repo, name string, addresses []string, more ...string) {
	to := slices.Concat([]string{"restore", "latest", "--repo", repo, "--to", strings.Join(addresses, ","), "--replace", name}, more)
	slotark(t, password, append(to, "--plan")...).want(t, exitDone, "  LOST ", addresses[0]+" holds", "LOSES 600 keys and 3 function libraries on 3 nodes")
	var plan planMessage
	if err := json.Unmarshal([]byte(slotark(t, password, append(to, "--plan", "--json")...).want(t, exitDone).stdout), &plan); err != nil {
		t.Fatal(err)
	}
	var keys uint64
	for _, lost := range plan.Loses {
		keys += lost.Keys
		if lost.Others != 2 || lost.Source != (len(more) > 0) {
			t.Errorf("%+v", lost)
		}
	}
	if len(plan.Loses) != 3 || keys < 600 || plan.Steps[1].Name != "empty" || !strings.Contains(plan.Steps[1].What, "LOSES 600 keys and 3 function libraries on 3 nodes") {
		t.Errorf("%d keys: %+v", keys, plan)
	}
	do(t, addresses[0], "FUNCTION", "LOAD", "#!lua name=old\nredis.register_function('old', function() return 1 end)")
	stop := writeOn(t, addresses)
	slotark(t, password, to...).want(t, exitDone, "what the nodes held before is gone", "equal: 600 keys in 16384 slots")
	stop()
	if libraries := fmt.Sprint(do(t, addresses[0], "FUNCTION", "LIST")); strings.Contains(libraries, "old") {
		t.Errorf("a function of before is still there: %s", libraries)
	}
}

// writeOn has clients write to nodes until the function is called, or the slots
// are gone.
func writeOn(t *testing.T, addresses []string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	ended := make(chan struct{}, len(addresses))
	for _, addr := range addresses {
		go func() {
			defer func() { ended <- struct{}{} }()
			node := (&cluster.Access{Password: password}).Open(addr)
			defer node.Close()
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				case <-t.Context().Done():
					return
				default:
				}
				// Names that no data set has: what would be left of them is a difference.
				if _, err := node.Do(t.Context(), "SET", fmt.Sprintf("late:%d", n), "x"); err != nil && strings.Contains(err.Error(), "CLUSTERDOWN") {
					return
				}
			}
		}()
	}
	return func() {
		close(done)
		for range addresses {
			<-ended
		}
	}
}
