package drill

import "strconv"

// nodeSettings are the settings of every drill node beside its address and
// password, as lines of its configuration file. They suit a cluster that lives
// for seconds and is measured.
var nodeSettings = []string{
	"cluster-enabled yes",
	// Nothing is kept: a dump written here would only cost time and disk.
	`save ""`,
	"appendonly no",
	// A full sync goes from memory to memory, and at once: the replicas of a
	// drill are all there.
	"repl-diskless-sync yes",
	"repl-diskless-sync-delay 0",
	"repl-diskless-load on-empty-db",
	// What a replica or a comparison reads goes over loopback, once: compressing it would
	// take longer than it saves.
	"rdbcompression no",
	// Nor is it summed by the way: the comparison's digests are of all that arrives, so
	// what did not arrive as it was is a difference. It never is taken for equal.
	"rdbchecksum no",
	// A replica that attaches to a primary that was just loaded must not be cut
	// off because its dump is large.
	"client-output-buffer-limit replica 0 0 0",
	// A key evicted while loading would be a difference that is no damage.
	"maxmemory 0",
	"maxmemory-policy noeviction",
	// Nodes that nothing is wrong with hear from each other every half of this,
	// so views agree soon after MEET (with the default of 15 s that can take
	// 7.5 s). Less would take a node that is busy with one huge value for dead.
	"cluster-node-timeout 5000",
	// The roles are what the restore made them.
	"cluster-allow-replica-migration no",
}

// settings are the node settings, with what the snapshot needs besides.
func (o order) settings() []string {
	lines := append([]string(nil), nodeSettings...)
	if o.databases > 1 {
		// Only Valkey (9.0) has more than one database in cluster mode, and only
		// with this setting; another server would not know the word.
		lines = append(lines, "cluster-databases "+strconv.Itoa(o.databases))
	}
	return lines
}
