package restore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/settings"
)

// withSettings takes a snapshot with the settings that the cluster has now.
func (s *source) withSettings(t *testing.T, secrets bool) *source {
	t.Helper()
	s.settings, _ = settings.Read(t.Context(), settings.Options{Cluster: "prod", Access: access(), Topology: s.topology, Secrets: secrets, Now: clock.Now()})
	return s.again(t)
}

// mayLogIn tells whether an application's user is let in.
func mayLogIn(t *testing.T, addr, user, secret string) bool {
	t.Helper()
	node := (&cluster.Access{Username: user, Password: cluster.Secret(secret), Timeout: 10 * time.Second}).Open(addr)
	defer node.Close()
	_, err := node.Do(t.Context(), "PING")
	return err == nil
}

// TestEnable restores a cluster's configuration and its users: after the comparison,
// where that found everything equal, and what cannot be applied is a finding.
func TestEnable(t *testing.T) {
	t.Parallel()
	s := newSource(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 300, Seed: 3}, nil)
	for _, addr := range s.Addrs() {
		for _, command := range [][]any{
			{"CONFIG", "SET", "slowlog-max-len", "77"}, {"CONFIG", "SET", "maxmemory", "300mb"}, {"CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"},
			{"ACL", "SETUSER", "app", "on", ">app-secret", "~*", "&*", "+@all", "-@dangerous", "(~other:* +get)"}, {"ACL", "SETUSER", "off-duty", "off", "+ping"},
			{"ACL", "SETUSER", "default", "-debug"},
		} {
			do(t, addr, command...)
		}
	}
	s.withSettings(t, true)
	s.settings.Config["from-the-future"] = "yes"
	s.again(t)
	addrs := emptyNodes(t, 2)
	o := restore.Options{Snapshot: s.snapshot, To: addrs, Access: access(), Apply: restore.Apply{Config: []string{"slowlog-max-len", "from-the-future", "maxmemory"}, Users: true}}
	plan, err := restore.MakePlan(t.Context(), o)
	if err != nil || plan.Steps[len(plan.Steps)-1].What != "CONFIG SET of from-the-future, maxmemory and slowlog-max-len; ACL users app, default and off-duty, where the comparison finds everything equal" {
		t.Fatalf("%v %+v", err, plan)
	}
	early := false
	o.Progress = func(e progress.Event) {
		if e.Task == "restore" && e.Phase != "check" && e.Phase != "done" {
			early = early || mayLogIn(t, addrs[0], "app", "app-secret")
		}
	}
	for range 2 { // the second time over nodes that have it all
		result, err := restore.Run(t.Context(), o)
		if err != nil || !result.Comparison.Equal() || len(result.Findings) != 1 || result.Findings[0].Detail != "does not know from-the-future" {
			t.Fatalf("%v %+v", err, result)
		}
		if early {
			t.Error("the application was let in before the comparison")
		}
		for _, addr := range addrs {
			if !mayLogIn(t, addr, "app", "app-secret") || mayLogIn(t, addr, "app", "another") {
				t.Errorf("%s does not let the application in as it should", addr)
			}
			if got := fmt.Sprint(do(t, addr, "CONFIG", "GET", "slowlog-max-len"), do(t, addr, "CONFIG", "GET", "maxmemory"), do(t, addr, "CONFIG", "GET", "maxmemory-policy")); got != "[slowlog-max-len 77] [maxmemory 314572800] [maxmemory-policy noeviction]" {
				t.Errorf("%s has %s", addr, got)
			}
			got, want := do(t, addr, "ACL", "LIST").([]any), do(t, s.Addrs()[0], "ACL", "LIST").([]any)
			app := strings.Replace(fmt.Sprint(got[0]), " sanitize-payload", "", 1)
			if len(got) != len(want) || app != want[0] || !strings.Contains(app, "(~other:*") {
				t.Errorf("users of %s are\n%v, want\n%v", addr, got, want)
			}
		}
		if notes := strings.Join(result.Notes, "; "); !strings.Contains(notes, "ACL user default stayed as the nodes have it") {
			t.Errorf("notes %q", notes)
		}
		o.Progress, o.Replacing = nil, restore.Replacing{Name: "prod"}
	}

	// All but what belongs to a machine.
	o.Apply = restore.Apply{Config: []string{restore.AllConfig}}
	result, err := restore.Run(t.Context(), o)
	if err != nil || len(result.Findings) == 0 || fmt.Sprint(do(t, addrs[1], "CONFIG", "GET", "maxmemory-policy")) != "[maxmemory-policy allkeys-lfu]" {
		t.Errorf("%v %+v", err, result)
	}
	if port := fmt.Sprint(do(t, addrs[1], "CONFIG", "GET", "port")); !strings.Contains(addrs[1], strings.Trim(strings.TrimPrefix(port, "[port "), "]")) {
		t.Errorf("the node's port is %s", port)
	}
	enableRefused(t, s, o)
}

// enableRefused applies what cannot be, and to what is not equal.
func enableRefused(t *testing.T, s *source, o restore.Options) {
	for name, words := range map[string]string{
		"requirepass": "parameter requirepass is never applied", "dir": "parameter dir is never applied", "cluster-node-timeout": "parameter cluster-node-timeout is never applied",
		"nonsense": `have no parameter "nonsense"`,
	} {
		o.Apply = restore.Apply{Config: []string{name}}
		_, err := restore.Run(t.Context(), o)
		requireRefusal(t, err, words)
	}
	o.Apply = restore.Apply{Users: true}
	o.Snapshot = s.withSettings(t, false).snapshot
	result, err := restore.Run(t.Context(), o)
	if err != nil || len(result.Findings) != 1 || result.Findings[0].Code != "users-withheld" || !strings.Contains(result.Findings[0].Detail, "ACL user app was not applied") {
		t.Errorf("without passwords: %v %+v", err, result)
	}

	// Somebody writes before the comparison: applications are not let in.
	o.Snapshot = s.withSettings(t, true).snapshot
	for _, addr := range o.To {
		do(t, addr, "ACL", "DELUSER", "app")
	}
	var meddled []any
	o.Progress = func(e progress.Event) {
		if e.Task != "restore" || e.Phase != "compare" {
			return
		}
		for _, addr := range o.To {
			node := access().Open(addr)
			reply, _ := node.Do(t.Context(), "SET", "meddled", "x")
			node.Close()
			meddled = append(meddled, reply)
		}
	}
	result, err = restore.Run(t.Context(), o)
	if err != nil || len(result.Findings) != 1 || result.Findings[0].Code != "not-enabled" || mayLogIn(t, o.To[0], "app", "app-secret") {
		t.Errorf("not equal: %v %+v %v", err, result, meddled)
	}
	s.settings = nil
	o.Snapshot = s.again(t).snapshot
	_, err = restore.Run(t.Context(), o)
	requireRefusal(t, err, "taken without settings")
}
