package restore

import (
	"context"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/slot"
)

// Plan is a restore before it is run: what its checks found, and what each of its
// steps would do. Making one changes nothing.
type Plan struct {
	Steps  []Step
	Shards []PlannedShard
	Store  string // whose copy would be read
	Fetch  int64  // bytes that come from it, as they are stored
	Bytes  int64  // what they unpack to
	Keys   uint64 // of the snapshot
	Loses  []Held // what running nodes hold, and will have lost
	Expire uint64 // of Keys: those that have an expiry, and may be gone by then
	Notes  []string
}

// Step is one of the steps of a plan.
type Step struct {
	Name string // as in [Phase]
	What string // in words
}

// PlannedShard is one shard of the restored cluster.
type PlannedShard struct {
	Slots    slot.Set
	Primary  Place
	Replicas []Place
	Memory   int64 // bytes that its data needs, about
}

// Place is a node of the restored cluster.
type Place struct {
	Address   string
	Server    string // of a node that is there: "Redis 7.0.15", "not running"; else empty
	MaxMemory int64  // of a running node, bytes; 0 is no limit
	Folder    string // of a seed; else empty
}

// MakePlan checks everything that [Run] checks first, with the same errors, and
// says what it would do.
func MakePlan(ctx context.Context, o Options) (*Plan, error) {
	r, err := begin(o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	steps := r.steps()
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	p := &Plan{Keys: r.manifest.Keys(), Expire: r.manifest.Expiring(), Notes: r.outcome.Notes, Store: r.Snapshot.Stores()[0].Name}
	for _, i := range r.reads() {
		s := r.manifest.Shards[i]
		p.Bytes += r.sizeOf(i)
		files := []int64{s.Dump.File.Bytes}
		if r.AOF {
			files = files[:0]
			for _, f := range s.AOF.Files {
				files = append(files, f.File.Bytes)
			}
		}
		for _, size := range files {
			p.Fetch += size
		}
	}
	for _, s := range steps {
		p.Steps = append(p.Steps, Step{s.name, s.what()})
	}
	for _, t := range r.holding() {
		p.Loses = append(p.Loses, t.held)
	}
	for i, slots := range r.layout {
		p.Shards = append(p.Shards, PlannedShard{Slots: slots, Memory: r.memoryOf(i)})
	}
	for i, at := range r.places {
		place := Place{Address: at.addr()}
		if r.Node > 0 && i == r.own() {
			place.Folder = r.ToDir
		} else if r.ToDir != "" && r.Node == 0 {
			place.Folder = r.folderName(i)
		} else if r.ToDir == "" {
			t := r.targets[i]
			place.Server, place.MaxMemory = t.server(), t.maxMemory
		}
		if shard := &p.Shards[at.shard]; at.primary {
			shard.Primary = place
		} else {
			shard.Replicas = append(shard.Replicas, place)
		}
	}
	return p, nil
}

// What the steps do, in words: a plan's.

func (r *run) saysCheck() string {
	if r.ToDir != "" {
		return fmt.Sprintf("%s can be seeded", r.ToDir)
	}
	if r.through() {
		return r.saysHosts()
	}
	if n := len(r.holding()); n > 0 {
		return fmt.Sprintf("%s large enough and of a version that reads the dumps, and %d may be emptied", isAre(len(r.places)), n)
	}
	return fmt.Sprintf("%s empty, alone, large enough and of a version that reads the dumps", isAre(len(r.places)))
}

// server is what a node runs, in words.
func (t *target) server() string {
	if t.version == "" {
		return "not running"
	}
	return engineName(t.engine) + " " + t.version
}

func isAre(nodes int) string {
	return fmt.Sprintf("%s %s", human.Plural(nodes, "node"), plural(nodes, "is", "are"))
}

func (r *run) saysAssign() string {
	var parts []string
	for i, slots := range r.layout {
		parts = append(parts, r.places[i].addr()+" gets "+slots.String())
	}
	return strings.Join(parts, "; ")
}

func (r *run) saysJoin() string {
	return human.Plural(len(r.places), "node") + " are introduced to each other"
}

func (r *run) saysLoad() string {
	what := "RESTORE"
	if r.AOF {
		what = "RESTORE and the commands of the append-only files"
	}
	if r.Logical {
		what = r.saysLogical()
	}
	text := fmt.Sprintf("%s by %s", human.Plural(r.manifest.Keys(), "key"), what)
	if r.reshaped() {
		text += fmt.Sprintf(", from %s onto %d", human.Plural(len(r.manifest.Shards), "shard"), len(r.layout))
	}
	return text
}

func (r *run) saysFunctions() string {
	libraries := 0
	for _, s := range r.manifest.Shards {
		libraries = max(libraries, s.Dump.Functions)
	}
	if libraries == 0 {
		return "there are none"
	}
	return fmt.Sprintf("%d function %s, on every primary whose dump has them", libraries, plural(libraries, "library", "libraries"))
}

func (r *run) saysReplicas() string {
	replicas := len(r.places) - len(r.layout)
	if replicas == 0 {
		return "there are none"
	}
	return fmt.Sprintf("%s, one at a time, until it is in step", human.Plural(replicas, "replica"))
}

func (r *run) saysCompare() string {
	if why := r.notComparable(); len(why) > 0 {
		return "nothing: " + why[0]
	}
	return "every slot and every key with the snapshot"
}

func (r *run) saysSeed() string {
	what := human.Plural(len(r.layout), "dump")
	switch {
	case r.Node > 0 && r.places[r.own()].primary:
		return fmt.Sprintf("the data of slots %s, and a nodes.conf, into %s, out of sight", r.layout[r.places[r.own()].shard], r.ToDir)
	case r.Node > 0:
		return fmt.Sprintf("a nodes.conf into %s, out of sight: a replica copies its data from its primary", r.ToDir)
	}
	if r.AOF {
		what = human.Plural(len(r.layout), "set") + " of append-only files"
	}
	if r.reshaped() {
		what = fmt.Sprintf("%s, cut anew by slot from the snapshot's %d", what, len(r.manifest.Shards))
	}
	return fmt.Sprintf("%s, and a nodes.conf for each of %s, into %s, out of sight", what, human.Plural(len(r.places), "node"), r.ToDir)
}

func (r *run) saysName() string {
	if r.Node > 0 {
		return "the files get their names, when all are whole"
	}
	return human.Plural(len(r.places), "folder") + " get their names, when all are whole"
}
