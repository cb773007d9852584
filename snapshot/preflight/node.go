package preflight

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/human"
)

// The servers that tests run against, and the newest whose dumps are understood.
var (
	oldest = [2]int{7, 0}
	newest = map[string][2]int{"redis": {8, 10}, "valkey": {9, 2}}
)

// versions judges what runs.
func (j *judgement) versions(nodes []*node) {
	running := map[string][]string{}
	for _, n := range nodes {
		name := n.Engine + " " + n.Version
		running[name] = append(running[name], n.Addr)
		last, known := newest[n.Engine]
		switch {
		case before(n.Version, oldest[0], oldest[1]):
			j.of("old-version", n.Addr, "it runs %s", name)
		case !known || !before(n.Version, last[0], last[1]+1):
			j.of("new-version", n.Addr, "it runs %s, and this slotark knows dumps up to those of %s %d.%d", name, n.Engine, last[0], last[1])
		}
	}
	if len(running) < 2 {
		return
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(running)) {
		parts = append(parts, fmt.Sprintf("%s on %s", name, j.name(running[name])))
	}
	j.about("mixed-versions", "cluster", "its nodes do not run one version: %s", human.List(parts))
}

// saves judges how a node's own saves go.
func (j *judgement) saves(n *node) {
	running := func(field string) string {
		return human.Duration(time.Duration(max(0, n.info.Int(field))) * time.Second)
	}
	stops := n.settings["stop-writes-on-bgsave-error"] == "yes" && n.settings["save"] != ""
	failed := n.info.Text("rdb_last_bgsave_status") == "err"
	switch {
	case failed && stops:
		j.of("writes-refused", n.Addr, "its last save failed, and it refuses writes since (stop-writes-on-bgsave-error)")
	case failed && (j.advice || n.source != nil && n.way == Folder):
		j.of("save-failed", n.Addr, "its last save failed")
	case stops && n.source != nil && n.way == Folder:
		j.of("stop-writes", n.Addr, "a save that fails, also one for a snapshot, makes it refuse writes (stop-writes-on-bgsave-error)")
	}
	if n.info.Int("rdb_bgsave_in_progress") == 1 {
		j.of("saving", n.Addr, "a save is running, for %s so far", running("rdb_current_bgsave_time_sec"))
	}
	if n.info.Int("aof_rewrite_in_progress") == 1 || n.info.Int("aof_rewrite_scheduled") == 1 {
		j.of("rewriting", n.Addr, "its append-only file is being rewritten, for %s so far", running("aof_current_rewrite_time_sec"))
	}
	if n.info.Text("aof_last_bgrewrite_status") == "err" {
		j.of("rewrite-failed", n.Addr, "the last rewrite of its append-only file failed")
	}
	if n.info.Text("aof_last_write_status") == "err" {
		j.of("aof-failed", n.Addr, "the last write to its append-only file failed")
	}
}

// lag judges how far replicas are behind.
func (j *judgement) lag(topology *cluster.Topology, most int64) {
	for _, shard := range topology.Shards {
		if shard.Slots.Len() == 0 {
			continue
		}
		for _, r := range shard.Replicas {
			if behind := shard.Primary.Offset - r.Offset; r.Reachable && r.LinkUp && behind > most {
				j.of("replica-lag", r.Addr, "it is %s behind its primary %s", human.Size(behind), shard.Primary.Addr)
			}
		}
	}
}

// disk judges whether a node that saves for us has room for the dump beside the
// last one, which stays until the new one is whole.
func (j *judgement) disk(n *node, m *machine) {
	if n.source == nil || n.way != Folder {
		return
	}
	folder := cmp.Or(n.source.Folder, n.settings["dir"])
	if folder == "" || n.source.Folder == "" && !n.here {
		return // it is on another machine
	}
	free, seen := m.free(folder)
	if !seen {
		return
	}
	// A dump is smaller than the memory it is of, and about as large as the one
	// before, if nothing was deleted since.
	least, most := n.info.Int("used_memory"), n.info.Int("used_memory")
	if last, err := os.Stat(filepath.Join(folder, n.settings["dbfilename"])); err == nil && last.Mode().IsRegular() {
		least, most = min(least, last.Size()), max(most, last.Size())
	} else {
		least = 0
	}
	switch {
	case free < least:
		j.of("disk-full", n.Addr, "%s has %s free, its last dump takes %s", folder, human.Size(free), human.Size(least))
	case free < most:
		j.of("disk-room", n.Addr, "%s has %s free, a dump of its memory may take %s", folder, human.Size(free), human.Size(most))
	}
}

// forkPart is the part of a node's memory that a fork must be able to copy, or
// it is a danger: what writes touch during a save of a few minutes.
const forkPart = 10

// maxmemoryPart is the part of a machine, in hundredths, beyond which maxmemory
// of its nodes leaves a fork no room.
const maxmemoryPart = 80

// memory judges whether the machines have room for the forks. What a machine
// has free is seen from there; from elsewhere it is what its nodes do not use.
func (j *judgement) memory(nodes []*node, m *machine) {
	byHost := map[string][]*node{}
	for _, n := range nodes {
		host, _, _ := net.SplitHostPort(n.Addr)
		byHost[host] = append(byHost[host], n)
	}
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		group := byHost[host]
		var resident, allowed int64
		for _, n := range group {
			resident += n.info.Int("used_memory_rss")
			allowed += n.info.Int("maxmemory")
		}
		total := group[0].info.Int("total_system_memory")
		if total == 0 {
			continue
		}
		left := max(0, total-resident)
		if seen := m.availableBytes(); group[0].here && seen > 0 {
			left = seen
		}
		for _, n := range group {
			used := n.info.Int("used_memory")
			switch {
			case n.source == nil:
			case left < max(used/forkPart, n.info.Int("rdb_last_cow_size")):
				j.of("fork-memory", n.Addr, "its machine has %s of memory left; the node uses %s, and a save copies what is written meanwhile (%s the last time)",
					human.Size(left), human.Size(used), human.Size(n.info.Int("rdb_last_cow_size")))
			case left < used:
				j.of("fork-room", n.Addr, "its machine has %s of memory left, a save copies up to the %s that the node uses", human.Size(left), human.Size(used))
			}
		}
		if allowed > total/100*maxmemoryPart {
			j.about("maxmemory-room", "host "+host, "its nodes may use %s (maxmemory) of %s", human.Size(allowed), human.Size(total))
		}
		if group[0].here {
			j.kernel(host, m)
		}
	}
}

// kernel judges the settings of this machine that forks depend on.
func (j *judgement) kernel(host string, m *machine) {
	switch m.overcommit() {
	case "0":
		j.about("overcommit", "host "+host, "vm.overcommit_memory is 0: the kernel may refuse the fork of a node that uses much of its memory")
	case "2":
		j.about("overcommit-none", "host "+host, "vm.overcommit_memory is 2: the kernel refuses the fork of a node that uses half of its memory")
	}
	if m.hugePages() {
		j.about("huge-pages", "host "+host, "transparent huge pages are always on: forks take long, and copy much")
	}
}

// databases are those that hold keys, beside 0.
func (n *node) databases() []string {
	var names []string
	for field := range n.info {
		if strings.HasPrefix(field, "db") && strings.Trim(field[2:], "0123456789") == "" && field != "db0" && field != "db" {
			names = append(names, field)
		}
	}
	slices.Sort(names)
	return names
}
