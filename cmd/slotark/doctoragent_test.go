package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// TestDoctorThroughAgents has agents look at a node: what they may not do, or
// cannot see, is told as what a snapshot would meet.
func TestDoctorThroughAgents(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 100, Seed: 5})
	node := c.Addrs()[0]
	do(t, node, "ACL", "SETUSER", "weak", "on", ">"+password, "-@all", "+info", "+ping", "+time", "+cluster|nodes", "+cluster|info", "+cluster|shards", "+hello")
	tr := newTrust(t)
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, slices.Concat([]string{"snapshot", "--node", node}, repo)...).want(t, exitDone)
	here := node + "=" + c.Nodes[0].Proc.Dir()
	cases := map[string]struct {
		agent, doctor []string
		code          int
		says          []string
	}{
		"well":                   {[]string{"--data-dir", here}, nil, exitDone, []string{"is ready", "by agent"}},
		"its user lacks rights":  {[]string{"--data-dir", here, "--user", "weak"}, nil, exitRefused, []string{"[rights]", "user weak lacks +bgsave +config|get", "ACL SETUSER weak "}},
		"over the wire, too":     {[]string{"--user", "weak"}, nil, exitRefused, []string{"user weak lacks +replconf +psync +sync"}},
		"it cannot see a folder": {[]string{"--data-dir", node + "=/nowhere"}, nil, exitFindings, []string{"[no-folder]", "cannot read its data folder", "/nowhere"}},
		"no folder, and --aof":   {nil, []string{"--aof"}, exitRefused, []string{"[no-agent]", "no data folder of the node"}},
		"another cluster's":      {[]string{"--cluster", "dev"}, nil, exitRefused, []string{"[no-agent]", `it captures for "dev"`}},
	}
	for name, k := range cases {
		t.Run(name, func(t *testing.T) {
			p := startAgent(t, tr, "", slices.Concat([]string{"--node", node}, repo, k.agent)...)
			flags := slices.Concat(tr.coordinator, []string{"--agent", node + "=https://" + p.addr, "--node", node, "--collect", "agent"}, k.doctor)
			slotark(t, password, append([]string{"doctor"}, flags...)...).wantNoSecret(t).want(t, k.code, k.says...)
			p.kill()
			if name == "well" {
				slotark(t, password, append([]string{"doctor"}, flags...)...).want(t, exitRefused, "[no-agent]", "its agent is not ready")
				slotark(t, password, append([]string{"doctor"}, append(flags, "--collect", "auto")...)...).want(t, exitFindings, "[agent-down]", "is ready")
			}
		})
	}
}
