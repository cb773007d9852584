package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/manifest"
)

// One node alone, [Options].Node: each node of the new cluster is seeded by a
// process of its own, beside it, that knows nothing of the others. All come to one
// cluster because everything in a nodes.conf follows from what all are given: the
// epochs and slots from the place in At, the ids from the restore's name too.

// DefaultNamesLimit is how long the names of At are waited for.
const DefaultNamesLimit = 10 * time.Minute

// nameEvery is the pause between two looks at names: what answers is a cache, which
// keeps a no for seconds.
const nameEvery = time.Second

// SeededID is the node id of a node of a restore that seeds each alone, from 1 on: never the source's, and for
// each name another.
func SeededID(name string, id manifest.ID, node int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "slotark node\n%d\n%s\n%s", node, id, name))
	return hex.EncodeToString(sum[:20])
}

// Seeded tells whether a folder is that of a node which a restore of this name has
// seeded: as it left it, or with what its server has written since. A folder of
// another node is refused. Nothing but the folder is asked, so a node starts again
// when the stores are gone, and the snapshot with them.
func Seeded(dir, name string, id manifest.ID, node int) (bool, error) {
	text, err := os.ReadFile(filepath.Join(dir, nodesName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into the node's folder: %w", err)
	}
	nodes, err := cluster.ParseNodes(string(text))
	self := slices.IndexFunc(nodes, func(n cluster.NodeLine) bool { return n.Has("myself") })
	switch want := SeededID(name, id, node); {
	case err != nil || self < 0:
		return false, hint.Refuse(fmt.Errorf("%s holds a nodes.conf that says of no node that it is this one", dir), "Look at it; give an empty folder. Nothing is ever overwritten.")
	case nodes[self].ID != want:
		return false, hint.Refuse(fmt.Errorf("%s is the folder of another node: its id is %s, node %d of the restore %q of %s has the id %s", dir, nodes[self].ID, node, name, id, want),
			"Give an empty folder; nothing is ever overwritten. Where this is the node, give the name, the id and the place that it was seeded with.")
	}
	return true, finishOne(dir)
}

// finishOne does what a restore would have done next that was killed when all had
// its name: it removes the staging folder.
func finishOne(dir string) error {
	u := &unfinished{dir: dir}
	switch err := u.lock(os.O_RDWR); {
	case errors.Is(err, fs.ErrNotExist): // killed in the last of all steps
		_ = os.Remove(filepath.Join(u.staging(), wholeName))
		if err := os.Remove(u.staging()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a killed restore has left: %w", err)
		}
		return nil
	case err != nil:
		return err
	}
	if r := readRecord(u.file); r != nil {
		for _, name := range r.Folders {
			_ = os.Remove(filepath.Join(u.staging(), name)) // empty, or end says so
		}
	}
	return errors.Join(u.end(), u.close())
}

// checkOne refuses what contradicts one node alone, and says which it is.
func (r *run) checkOne() error {
	switch {
	case r.Node == 0:
		return nil
	case r.Node < 0 || r.Node > len(r.At):
		return hint.Refuse(fmt.Errorf("node %d of %d addresses", r.Node, len(r.At)), "Give the node's place among the addresses of --at, from 1 on.")
	case r.Name == "":
		return hint.Refuse(errors.New("a node that is seeded alone needs the name of the restore"), "Give each node the same, and no other restore's: --restore-name TEXT.")
	}
	return nil
}

// own is the position of the one node's place, -1 where the cluster goes without it.
func (r *run) own() int {
	return slices.IndexFunc(r.places, func(p place) bool { return p.rank == r.Node-1 })
}

// seeds are the positions of the places whose folders are made.
func (r *run) seeds() []int {
	if r.Node > 0 {
		return []int{r.own()}
	}
	all := make([]int, len(r.places))
	for i := range all {
		all[i] = i
	}
	return all
}

// seedBundles are the bundles of which anything is seeded. Of one that is cut anew
// one node alone takes its own part.
func (r *run) seedBundles() []bundle {
	bundles := r.bundles()
	if r.Node == 0 {
		return bundles
	}
	self := r.places[r.own()]
	if !self.primary {
		return nil
	}
	at := slices.IndexFunc(bundles, func(b bundle) bool { return slices.Contains(b.onto, self.shard) })
	return []bundle{{from: r.sourcesOf(self.shard), onto: bundles[at].onto[slices.Index(bundles[at].onto, self.shard):][:1]}}
}

// reads are the snapshot's shards that a restore reads.
func (r *run) reads() []int {
	var all []int
	if r.Node == 0 {
		for i := range r.manifest.Shards {
			all = append(all, i)
		}
		return all
	}
	for _, b := range r.seedBundles() {
		all = append(all, b.from...)
	}
	return all
}

// resolveAll finds the IPs of all places. One node alone waits for names that are
// not known yet: an orchestrator gives them as it starts the others.
func (r *run) resolveAll(ctx context.Context) error {
	look := func(ctx context.Context) error {
		var unresolved []error
		for i := range r.places {
			unresolved = append(unresolved, r.places[i].resolve(ctx))
		}
		return refuse(unresolved)
	}
	err := look(ctx)
	if r.Node == 0 || err == nil {
		return err
	}
	limit := r.NamesLimit
	if limit <= 0 {
		limit = DefaultNamesLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(nameEvery)
	defer tick.Stop()
	for {
		r.Progress.Emit(progress.Event{Task: "restore", Phase: "check", Detail: "waiting for names"})
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("after %s: %w", limit, err)
		case <-tick.C:
		}
		now := look(limited)
		if now == nil {
			return nil
		}
		if limited.Err() == nil { // else it was cut off, and says nothing of the names
			err = now
		}
	}
}

// nameOne moves what was seeded into the node's own folder, the nodes.conf last: it
// says that all is there.
func (r *run) nameOne(ctx context.Context, staged string) error {
	from := filepath.Join(r.held.staging(), staged)
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it is gone where a killed restore had moved all
		return fmt.Errorf("move the node's files: %w", err)
	}
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int { return rank(a) - rank(b) })
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(r.ToDir, e.Name())
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(notEmpty(r.ToDir, e.Name(), 0), err)
		}
		err := error(nil)
		if e.Name() == nodesName {
			err = atomicfile.SyncDir(r.ToDir)
		}
		if err == nil {
			err = os.Rename(filepath.Join(from, e.Name()), path)
		}
		if err != nil {
			return fmt.Errorf("move the node's files: %w", err)
		}
		r.made = append(r.made, path)
		r.Progress.Emit(progress.Event{Task: "restore", Phase: "name", Detail: e.Name()})
	}
	if err := os.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("move the node's files: %w", err)
	}
	return nil
}

func rank(e os.DirEntry) int {
	if e.Name() == nodesName {
		return 1
	}
	return 0
}

// nodeID is the id of the one node that is seeded, "" where all are.
func (r *run) nodeID() string {
	if r.Node == 0 {
		return ""
	}
	return SeededID(r.Name, r.manifest.ID, r.Node)
}
