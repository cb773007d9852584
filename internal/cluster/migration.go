package cluster

import (
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/human"
)

// Migration is one atomic slot migration of Valkey 9, as one of its two nodes
// tells of it. Unlike a slot moved by CLUSTER SETSLOT it shows in no node list:
// its slots belong to the source until all of them change hands at once.
type Migration struct {
	Operation string // "EXPORT" on the source, "IMPORT" on the target
	Slots     string // "0-99 200-200"
	Source    string // node id
	Target    string // node id
	State     string // "snapshotting", "receiving-snapshot"; "success", "failed", "cancelled" where it has ended
}

// ended are the states in which a migration goes on no more (Valkey 9.1,
// cluster_migrateslots.c).
var ended = []string{"success", "failed", "cancelled", "canceled"}

// running are the migrations that have not ended: the server keeps a log of
// those that have.
func running(all []Migration) []Migration {
	return slices.DeleteFunc(all, func(m Migration) bool { return slices.Contains(ended, m.State) })
}

// parseMigrations reads CLUSTER GETSLOTMIGRATIONS: an array of flat lists of
// names and values. What is not understood is passed over.
func parseMigrations(reply any) []Migration {
	list, _ := reply.([]any)
	var found []Migration
	for _, item := range list {
		job := pairs(item)
		text := func(name string) string { value, _ := job[name].(string); return value }
		if text("operation") == "" {
			continue
		}
		found = append(found, Migration{
			Operation: text("operation"), Slots: text("slot_ranges"), Source: text("source_node"), Target: text("target_node"), State: text("state"),
		})
	}
	return found
}

// transfers tells whether slots are on their way into or out of a node of
// Valkey 9: the connection that carries them takes memory, which INFO counts.
// So it takes no right but +info to see that something moves.
func (v *view) transfers() bool {
	return v.info.Int("mem_cluster_slot_import")+v.info.Int("mem_cluster_slot_export") > 0
}

// moving says which atomic slot migration a node takes part in; "" for none.
func (v *view) moving() string {
	// Redis 8.4 counts in CLUSTER INFO. What was moved away is deleted by and
	// by: until that has ended, a dump's own counts of its slots are wrong.
	tasks, trims := v.state.Int("cluster_slot_migration_active_tasks"), v.state.Int("cluster_slot_migration_active_trim_running")
	switch {
	case tasks > 0:
		return human.Plural(tasks, "atomic slot migration") + " runs on it"
	case trims > 0:
		return "it still deletes the keys of slots that were moved away"
	case len(v.jobs) > 0:
		m := v.jobs[0]
		return fmt.Sprintf("an atomic slot migration runs: %s of slots %s, %s", m.Operation, m.Slots, m.State)
	case v.transfers():
		return "an atomic slot migration runs on it"
	}
	return ""
}
