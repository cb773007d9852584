package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
)

// restored are services, an agent beside them, and how to restore onto them.
type restored struct {
	services []*clustertest.Service
	agent    *agentProcess
	config   string
	trust    *trust
	args     []string
}

// newRestored starts empty services, the first of which does not run, and an agent.
// allowed tells how many of them it may restore.
func newRestored(t *testing.T, repo []string, allowed int, more ...string) *restored {
	t.Helper()
	r := &restored{trust: newTrust(t), config: filepath.Join(t.TempDir(), "agent.yaml")}
	var nodes, folders, commands strings.Builder
	var addrs []string
	for i := range 3 {
		hash := fmt.Sprintf("#%x", sha256.Sum256([]byte(password)))
		s := clustertest.NewService(t, clustertest.ServiceOptions{Password: password, Config: []string{"save 3600 1",
			"user agent on " + hash + " -@all " + hostRights, "user coordinator on " + hash + " -@all " + throughRights}})
		if i > 0 {
			s.Run(t)
		}
		r.services, addrs = append(r.services, s), append(addrs, s.Addr)
		fmt.Fprintf(&nodes, "    - %s\n", s.Addr)
		fmt.Fprintf(&folders, "    %q: %s\n", s.Addr, s.Dir)
		if i < allowed {
			fmt.Fprintf(&commands, "    %q:\n      stop: [%q, %q]\n      start: [%q, %q]\n", s.Addr, s.Stop[0], s.Stop[1], s.Start[0], s.Start[1])
		}
	}
	text := fmt.Sprintf("cluster:\n  username: agent\n  nodes:\n%ssnapshot:\n  data_dirs:\n%srepository:\n  primary: %s\n%sagents:\n  nodes:\n%s", &nodes, &folders, repo[1], strings.Join(more, ""), &commands)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.agent = startAgent(t, r.trust, "", "--config", r.config)
	r.args = slices.Concat([]string{"restore", "latest", "--through-agents", "--user", "coordinator", "--to", strings.Join(addrs, ",")}, r.trust.coordinator, repo)
	for _, addr := range addrs {
		r.args = append(r.args, "--agent", addr+"=https://"+r.agent.addr)
	}
	return r
}

// wantNothingLeft looks that no restore has left anything beside the nodes.
func (r *restored) wantNothingLeft(t *testing.T) {
	t.Helper()
	for _, s := range r.services {
		if _, err := os.Stat(filepath.Join(s.Dir, "slotark-restore")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left in %s: %v", s.Dir, err)
		}
	}
}

// TestRestoreThroughAgents restores an encrypted snapshot by an agent that has the key,
// by the command line, and shows what is refused.
func TestRestoreThroughAgents(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 500, Seed: 61})
	recipient, identity := newIdentity(t)
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, slices.Concat([]string{"snapshot", "--node", c.Addrs()[0], "--recipient", recipient}, repo)...).want(t, exitDone)
	key := []string{"--identity", identity}

	strange := newRestored(t, repo, 2, "  identity_file: "+identity+"\n")
	slotark(t, password, slices.Concat(strange.args, key)...).wantFailure(t, exitRefused, strange.services[2].Addr, "the agent may not do this", "agents.nodes")
	strange.wantNothingLeft(t)
	blind := newRestored(t, repo, 3)
	slotark(t, password, slices.Concat(blind.args, key)...).want(t, exitRefused, "cannot decrypt", "identity")
	blind.wantNothingLeft(t)

	r := newRestored(t, repo, 3, "  identity_file: "+identity+"\n")
	args := slices.Concat(r.args, key)
	slotark(t, password, append(slices.Clone(args), "--plan")...).want(t, exitDone, "not running", "4 place", "what each node has is moved aside", "8 clear", "nothing was changed")
	slotark(t, password, args...).want(t, exitDone, "stage ", "from repo", "equal: 500 keys in 16384 slots", "clear ", "restored ")
	r.wantNothingLeft(t)
	slotark(t, password, slices.Concat([]string{"verify", "latest", "--live", "--node", r.services[1].Addr}, key, repo)...).want(t, exitDone)
	slotark(t, password, args...).wantFailure(t, exitRefused, "belongs to a cluster already", "--replace")
	slotark(t, password, append(slices.Clone(args), "--replace", "default", "--json")...).want(t, exitDone, `"name":"clear"`, "what the nodes held before is gone: 500 keys")
	r.wantNothingLeft(t)

	slotark(t, password, "restore", "latest", "--through-agents", "--to", "10.0.0.1:1", repo[0], repo[1]).want(t, exitUsage, "no agents are named")
	slotark(t, password, "restore", "latest", "--through-agents", "--to-dir", "x", repo[0], repo[1]).want(t, exitUsage, "--through-agents goes with --to")
}

// TestFullDiskThroughAgents gives a node a disk that is too small, and one that only
// seems to be large enough: a tmpfs that its agent alone sees, and what it starts.
func TestFullDiskThroughAgents(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 5000, Seed: 63})
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, slices.Concat([]string{"snapshot", "--node", c.Addrs()[0], "--compression", "none"}, repo)...).want(t, exitDone)
	dumps, err := filepath.Glob(filepath.Join(repo[1], "default", "snapshots", "*", "shard-0", "dump.rdb"))
	if err != nil || len(dumps) != 1 {
		t.Fatalf("%v, %v in %v", dumps, err, objects(t, repo[1]))
	}
	info, err := os.Stat(dumps[0])
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	exactly := (info.Size() + page - 1) / page * page
	for _, disk := range []struct {
		bytes int64
		code  int
		says  []string
	}{
		{exactly / 2 / page * page, exitRefused, []string{"its data needs", "free some on the node"}},
		{exactly, exitFailed, []string{"no space left on device", "no room left in", "nothing was changed on 3 nodes"}},
	} {
		r := newRestored(t, repo, 3)
		r.agent.kill()
		r.agent = startAgentOn(t, r, disk.bytes)
		slotark(t, password, r.args...).want(t, disk.code, disk.says...)
		left, err := os.ReadDir(filepath.Join(fmt.Sprintf("/proc/%d/root", r.agent.cmd.Process.Pid), r.services[0].Dir))
		if err != nil || len(left) > 0 {
			t.Errorf("left on the small disk: %v, %v", left, err)
		}
	}
}

// startAgentOn starts the agent with a small disk at the folder of the first node,
// which does not run.
func startAgentOn(t *testing.T, r *restored, size int64) *agentProcess {
	t.Helper()
	unshare := []string{"-m"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "-r")
	}
	script := fmt.Sprintf(`mount -t tmpfs -o size=%d,mode=0700 tmpfs %q && exec "$@"`, size, r.services[0].Dir)
	return startAgentBy(t, r.trust, r.agent.addr, slices.Concat([]string{"unshare"}, unshare, []string{"sh", "-c", script, "sh"}), "--config", r.config)
}

// TestKilledThroughAgents kills the coordinator, and the agent, as each action begins.
// The first is gone on with by --resume, the other goes on by itself when the agent is
// there again; both come to the same end.
func TestKilledThroughAgents(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 2}, dataset.Options{Keys: 2000, Seed: 62})
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, slices.Concat([]string{"snapshot", "--node", c.Addrs()[0]}, repo)...).want(t, exitDone)
	for _, action := range []string{"stage", "stop", "place", "start", "clear"} {
		for _, victim := range []string{"coordinator", "agent"} {
			t.Run(victim+" at "+action, func(t *testing.T) {
				t.Parallel()
				r := newRestored(t, repo, 3)
				r.killed(t, action, victim)
				r.wantNothingLeft(t)
				slotark(t, password, slices.Concat([]string{"verify", "latest", "--live", "--node", r.services[0].Addr}, repo)...).want(t, exitDone)
			})
		}
	}
}

// killed restores, kills the victim as an action begins, and goes on.
func (r *restored) killed(t *testing.T, action, victim string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := command(ctx, password, r.args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	clustertest.Eventually(t, agentLimit*2, func(context.Context) error {
		if !strings.Contains(r.agent.log.String(), "action="+action) {
			return errors.New("it has not come to it")
		}
		return nil
	})
	if victim == "agent" {
		r.agent.kill()
		<-time.After(200 * time.Millisecond) // the coordinator finds nobody
		r.agent = startAgent(t, r.trust, r.agent.addr, "--config", r.config)
		if err := <-ended; err != nil {
			t.Fatalf("%v: %s", err, &said)
		}
		return
	}
	_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	var exit *exec.ExitError
	if err := <-ended; err == nil {
		return // it had come to its end
	} else if !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("%v: %s", err, &said)
	}
	o := slotark(t, password, append(slices.Clone(r.args), "--resume")...)
	if action == "clear" && o.code == exitRefused { // all was cleared: it is a cluster like any
		return
	}
	o.want(t, exitDone, "went on with a killed restore")
}
