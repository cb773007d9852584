package preflight

import (
	"net"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/human"
)

const (
	quorum = 3 // primaries, below which none can be lost

	// cluster-node-timeout, in milliseconds, that is neither hasty nor sleepy.
	leastTimeout, mostTimeout = 5000, 60000

	// A ratio of resident to used memory from which memory is wasted, and the
	// memory below which the ratio says nothing: a server has its fixed cost.
	fragmented      = 1.5
	fragmentedBytes = 64 << 20

	// backlogSeconds is how long a link may be down without a full sync, at least.
	backlogSeconds = 60

	// bufferPart is the part of a node's memory, in hundredths, that may be
	// written during a full sync of it, at least.
	bufferPart = 10
)

// practice judges where the cluster falls short of good practice; what stands
// where only of a sound topology.
func (j *judgement) practice(topology *cluster.Topology, nodes []*node, o Options, sound bool) {
	if sound {
		j.layout(topology)
	}
	var elsewhere []string
	for _, n := range nodes {
		j.door(n)
		j.persistence(n)
		j.limits(n)
		if n.Role == cluster.RolePrimary {
			j.replication(n)
		}
		if names := n.modules; len(names) > 0 {
			j.of("modules", n.Addr, "it has modules: %s", human.List(names))
		}
		if names := n.databases(); len(names) > 0 {
			j.of("databases", n.Addr, "keys are in databases beside 0: %s", human.List(names))
		}
		if n.unseen {
			j.of("unseen", n.Addr, "its settings may not be read: CONFIG GET is refused")
		}
		if !n.here {
			elsewhere = append(elsewhere, n.Addr)
		}
	}
	j.advise("unseen", "To have them looked at too, which no snapshot needs: %s", setUser(o.Access.Username, []string{"+config|get"}))
	if len(elsewhere) > 0 {
		j.about("elsewhere", human.Plural(len(elsewhere), "node"), "on other machines than this: room on disks, overcommit and huge pages cannot be seen from here")
		j.list[len(j.list)-1].Nodes = elsewhere
	}
}

// layout judges what stands where.
func (j *judgement) layout(topology *cluster.Topology) {
	host := func(m cluster.Member) string { h, _, _ := net.SplitHostPort(m.Addr); return h }
	hosts, primaries := map[string]bool{}, 0
	for _, m := range topology.Members() {
		hosts[host(m)] = true
	}
	for _, shard := range topology.Shards {
		if shard.Slots.Len() == 0 {
			continue
		}
		primaries++
		living := 0
		for _, r := range shard.Replicas {
			if r.Reachable {
				living++
			}
			if len(hosts) > 1 && host(r) == host(shard.Primary) {
				j.of("same-host", r.Addr, "it is on the machine of its primary, %s", shard.Primary.Addr)
			}
		}
		if living == 0 {
			j.of("no-replica", shard.Primary.Addr, "it has no replica that answers")
		}
	}
	if primaries < quorum {
		j.about("few-primaries", "cluster", "%s with slots", human.Plural(primaries, "primary node"))
	}
	if len(hosts) == 1 && j.nodes > 1 {
		j.about("one-host", "cluster", "all %d nodes are on one machine", j.nodes)
	}
}

// door judges who is let in.
func (j *judgement) door(n *node) {
	if n.open {
		j.of("no-password", n.Addr, "it answers whoever connects, without a password")
	}
	if n.settings["protected-mode"] == "no" {
		j.of("unprotected", n.Addr, "protected-mode is off")
	}
}

// persistence judges what a node has after a restart.
func (j *judgement) persistence(n *node) {
	save, seen := n.settings["save"]
	if seen && save == "" && n.info.Int("aof_enabled") == 0 {
		j.of("no-persistence", n.Addr, "it keeps nothing: no save points, and appendonly no")
	}
	if n.settings["rdbchecksum"] == "no" {
		j.of("no-checksum", n.Addr, "its dumps have no checksum (rdbchecksum no)")
	}
	timeout, err := strconv.Atoi(n.settings["cluster-node-timeout"])
	if err == nil && (timeout < leastTimeout || timeout > mostTimeout) {
		j.of("node-timeout", n.Addr, "cluster-node-timeout is %d ms", timeout)
	}
	if n.settings["cluster-require-full-coverage"] == "yes" {
		j.of("full-coverage", n.Addr, "it serves nothing while a slot has no owner (cluster-require-full-coverage yes)")
	}
}

// limits judges a node's memory.
func (j *judgement) limits(n *node) {
	used := n.info.Int("used_memory")
	policy := n.info.Text("maxmemory_policy")
	switch limit, told := n.info["maxmemory"]; {
	case told && limit == "0":
		j.of("no-maxmemory", n.Addr, "it has no maxmemory")
	case told && policy != "noeviction" && policy != "":
		j.of("eviction", n.Addr, "it evicts keys when its memory is full (%s)", policy)
	}
	ratio, err := strconv.ParseFloat(n.info.Text("mem_fragmentation_ratio"), 64)
	if err == nil && ratio >= fragmented && used >= fragmentedBytes {
		j.of("fragmentation", n.Addr, "it takes %.1f times the memory that it uses (%s)", ratio, human.Size(used))
	}
}

// replication judges what a primary keeps for its replicas.
func (j *judgement) replication(n *node) {
	replicas := n.info.Int("connected_slaves")
	if replicas == 0 {
		return
	}
	// Lines of four: class, hard limit, soft limit, seconds.
	fields := strings.Fields(n.settings["client-output-buffer-limit"])
	for i := 0; i+3 < len(fields); i += 4 {
		hard, err := strconv.ParseInt(fields[i+1], 10, 64)
		isReplica := fields[i] == "replica" || fields[i] == "slave"
		if isReplica && err == nil && hard > 0 && hard < n.info.Int("used_memory")/100*bufferPart {
			j.of("replica-buffer", n.Addr, "it drops a replica for which it holds back %s, and a full sync carries %s", human.Size(hard), human.Size(n.info.Int("used_memory")))
		}
	}
	rate, err := strconv.ParseFloat(n.info.Text("instantaneous_output_repl_kbps"), 64) // KiB a second, of all replicas
	size := n.info.Int("repl_backlog_size")
	if perReplica := rate * 1024 / float64(replicas); err == nil && n.info.Int("rdb_bgsave_in_progress") == 0 && perReplica*backlogSeconds > float64(size) {
		j.of("backlog", n.Addr, "its backlog of %s holds what is written in %.0f s", human.Size(size), float64(size)/perReplica)
	}
}
