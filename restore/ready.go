package restore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
)

const (
	hintMinReplicas = "Set min-replicas-to-write to 0 on the node until the restore is done: replicas are attached when all keys are there."
	hintDisk        = "Mend its disk and run BGSAVE; or set stop-writes-on-bgsave-error to no until the restore is done."
	hintAppend      = "Mend the disk of its append-only file, or set appendonly to no until the restore is done."
	hintAuth        = "Set masterauth (and masteruser, where it is an ACL user) on the node, as on the snapshot's own nodes."
)

// configured are the settings of a target that a restore goes by, and what each is
// where the node does not say.
var configured = map[string]string{
	"cluster-databases": "1", "proto-max-bulk-len": "", "min-replicas-to-write": "0", "save": "", "appendonly": "", "appendfsync": "",
	"stop-writes-on-bgsave-error": "no", "maxmemory-policy": "", "requirepass": "", "masterauth": "",
}

// readConfig asks a node for its settings, one by one: servers before 7.0 take no
// more at once. What is not told, or not allowed to be asked, is absent.
func (t *target) readConfig(ctx context.Context) {
	t.config = map[string]string{}
	var names []string
	var commands [][]any
	for name := range configured {
		names, commands = append(names, name), append(commands, []any{"CONFIG", "GET", name})
	}
	replies, _ := t.node.Pipeline(ctx, commands) // each command's failure is in the place of its reply
	for i, reply := range replies {
		if pair, ok := reply.([]any); ok && len(pair) == 2 {
			t.config[names[i]] = fmt.Sprint(pair[1])
		}
	}
}

// setting is one of the settings; known is false where the node did not tell it.
func (t *target) setting(name string) (value string, known bool) {
	if value, known = t.config[name]; !known {
		value = configured[name]
	}
	return value, known
}

// number is a setting that is a number.
func (t *target) number(name string, otherwise int64) int64 {
	text, _ := t.setting(name)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return otherwise
}

// noDatabases says that a node has not the database that a key was in. Only
// Valkey 9 has more than one in cluster mode.
func (r *run) noDatabases(t *target) []string {
	need := r.maxDB(t.shard)
	if need == 0 || t.number("cluster-databases", 1) > int64(need) {
		return nil
	}
	return []string{fmt.Sprintf("has no database %d, in which the snapshot has keys", need)}
}

// refusesWrites says that a node would take no keys, whatever else stands well with
// it: MISCONF and NOREPLICAS are refusals of every write.
func (t *target) refusesWrites(info cluster.Info) (facts []string, advice string) {
	save, _ := t.setting("save")
	stops, _ := t.setting("stop-writes-on-bgsave-error")
	switch {
	case info.Text("aof_last_write_status") == "err":
		return []string{"cannot write its append-only file, and so takes no writes"}, hintAppend
	case info.Text("rdb_last_bgsave_status") == "err" && stops == "yes" && save != "":
		return []string{"could not save to its disk, and so takes no writes"}, hintDisk
	case t.primary && t.number("min-replicas-to-write", 0) > 0:
		return []string{fmt.Sprintf("takes no writes before it has %d replicas", t.number("min-replicas-to-write", 0))}, hintMinReplicas
	}
	return nil, ""
}

// notFollowers says of replicas that they would not be let in by their primaries: a
// first sync that fails would be waited for, for minutes.
func (r *run) notFollowers() []error {
	var against []error
	for _, t := range r.targets {
		if t.primary || t.config == nil {
			continue
		}
		primary := r.targets[t.shard]
		asks, _ := primary.setting("requirepass")
		has, known := t.setting("masterauth")
		if asks != "" && has == "" && known {
			against = append(against, objection(t, []string{"has no masterauth, and " + primary.addr() + ", which it is to follow, asks for a password"}, hintAuth))
		}
	}
	return against
}

// noteTargets says what a person should know of nodes before applications come:
// nothing of it stands in the way of the restore.
func (r *run) noteTargets() {
	if r.Passing {
		return
	}
	r.noteOf(func(t *target) bool {
		save, known := t.setting("save")
		appends, knownToo := t.setting("appendonly")
		return known && knownToo && save == "" && appends == "no"
	}, "keeps", "keep", "nothing on disk (save \"\" and appendonly no): what is restored is gone with a restart")
	r.noteOf(func(t *target) bool {
		policy, known := t.setting("maxmemory-policy")
		return known && t.maxMemory > 0 && policy != "noeviction"
	}, "evicts", "evict", "keys when memory is full (maxmemory-policy): one that is gone when the cluster is compared is a difference")
	r.noteOf(func(t *target) bool {
		appends, _ := t.setting("appendonly")
		sync, _ := t.setting("appendfsync")
		return appends == "yes" && sync == "always"
	}, "waits", "wait", "for the disk at every command (appendfsync always): loading takes long")
}

// noteOf adds one note of all targets that something holds of.
func (r *run) noteOf(holds func(*target) bool, one, many, what string) {
	var names []string
	for _, t := range r.targets {
		if t.config != nil && holds(t) {
			names = append(names, t.addr())
		}
	}
	if len(names) > 0 {
		r.outcome.Notes = append(r.outcome.Notes, few(names)+" "+plural(len(names), one, many)+" "+what)
	}
}

// maxNamed keeps a sentence readable.
const maxNamed = 3

// few names some nodes, or says how many they are.
func few(names []string) string {
	if len(names) > maxNamed {
		return human.Plural(len(names), "node")
	}
	return human.List(names)
}

// objection is what stands against a node, in words, with what to do about it.
func objection(t *target, facts []string, advice string) error {
	return hint.Add(fmt.Errorf("%s %s", t.addr(), human.List(facts)), advice)
}
