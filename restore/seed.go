package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/verify"
	"golang.org/x/sync/errgroup"
)

// Folder is the data folder of one seeded node.
type Folder struct {
	Path    string
	Address string
	Primary bool
	Shard   int // position in Result.Shards
	Keys    uint64
	Start   string // the command that starts the node, for a person
}

// checkSeed proves that nothing is overwritten and nobody is impersonated.
func (r *run) checkSeed(ctx context.Context) error {
	if err := cmp.Or(r.checkSets(), r.checkLayout(), r.checkOne(), r.checkBases()); err != nil {
		return err
	}
	if err := lookInto(r.ToDir, r.nodeID(), r.Resume); err != nil {
		return err
	}
	if err := r.placeSeeds(ctx); err != nil {
		return err
	}
	return r.resolveAll(ctx)
}

// placeSeeds decides which address each folder is for.
func (r *run) placeSeeds(ctx context.Context) error {
	shards := len(r.layout)
	if len(r.At) == 0 && r.reshaped() {
		return hint.Refuse(errors.New("another layout than the snapshot's has other nodes"),
			"Give the addresses that the new nodes will have: --at HOST:PORT,… (the primaries first).")
	}
	if len(r.At) == 0 {
		places, err := originalPlaces(r.manifest, r.Replicas)
		if err != nil {
			return err
		}
		r.places = places
		return r.checkSilence(ctx)
	}
	given, err := parsePlaces(r.At)
	if err != nil {
		return hint.Refuse(err, "give each address once, as HOST:PORT")
	}
	if err := enough(len(given), shards, r.Replicas); err != nil {
		return err
	}
	r.places = distribute(r.zoned(given), shards, r.Replicas)
	r.noteTogether()
	if r.Node > 0 && r.own() < 0 {
		return hint.Refuse(fmt.Errorf("the cluster has %d nodes, and node %d is none of them", len(r.places), r.Node), "Give more --replicas, or leave the node out.")
	}
	return nil
}

// checkSilence asks the snapshot's own addresses. Whoever answers there, even
// with a refusal, or says nothing and takes connections, is alive: nodes seeded with
// the same addresses would fight over them.
func (r *run) checkSilence(ctx context.Context) error {
	alive := make([]string, len(r.places))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, p := range r.places {
		group.Go(func() error {
			node := r.Access.Open(p.given)
			defer node.Close()
			err := node.Ping(ctx)
			if err == nil || !errors.Is(err, cluster.ErrUnreachable) || cluster.Unanswered(err) && r.Access.Accepts(ctx, p.given) {
				alive[i] = p.addr()
			}
			return nil
		})
	}
	_ = group.Wait() // answers are kept one by one
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	alive = slices.DeleteFunc(alive, func(addr string) bool { return addr == "" })
	if len(alive) == 0 {
		return nil
	}
	return hint.Refuse(
		fmt.Errorf("the cluster this snapshot was taken from is alive: %s %s", human.List(alive), plural(len(alive), "answers", "answer")),
		"Give the addresses that the new nodes will have: --at HOST:PORT,… (the primaries first).")
}

// seed writes all folders where nobody takes them for whole.
func (r *run) seed(ctx context.Context) (err error) {
	if _, err := os.Stat(r.ToDir); errors.Is(err, fs.ErrNotExist) {
		r.made = append(r.made, r.ToDir)
	}
	if err := atomicfile.MkdirAll(r.ToDir, 0o700); err != nil {
		return fmt.Errorf("make the target folder: %w", err)
	}
	// Of two restores into one folder the second stops here, and must not take
	// away what is the first's.
	plan, err := r.planID()
	if err != nil {
		return err
	}
	if r.held, err = take(r.ToDir, r.nodeID(), plan, r.Resume); err != nil {
		return err
	}
	r.made = append(r.made, r.held.staging())
	if r.held.before != nil {
		how := "began anew over what was left of a killed "
		if r.held.goesOn(plan) {
			how = "went on with a killed "
		}
		r.outcome.Notes = append(r.outcome.Notes, how+r.held.before.String())
	}
	if err := cmp.Or(r.record(plan), r.held.sweep(r.folderNames())); err != nil {
		return full(err, r.ToDir)
	}
	if r.whole() {
		return nil
	}
	nodes := r.confNodes()
	for _, i := range r.seeds() {
		if err := r.seedNode(ctx, i, nodes); err != nil {
			return full(err, r.ToDir)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range r.seedBundles() {
		group.Go(func() error {
			kept, err := r.keepsSeeded(b)
			if err == nil && !kept {
				err = r.seedBundle(ctx, b)
			}
			if err == nil && !kept {
				err = r.noteSeeded(ctx, b)
			}
			return err
		})
	}
	return full(group.Wait(), r.ToDir)
}

// record says in the staging folder whose it is.
func (r *run) record(plan string) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host's name: %w", err)
	}
	return r.held.write(record{Snapshot: r.manifest.ID, Host: host, PID: os.Getpid(), Begun: r.started, Locked: r.held.locked, Folders: r.folderNames(), Node: r.nodeID(), Plan: plan})
}

func (r *run) folderNames() []string {
	var names []string
	for _, i := range r.seeds() {
		names = append(names, r.folderName(i))
	}
	return names
}

// discard removes what a failed seed has made.
func (r *run) discard(cause error) error {
	for _, path := range slices.Backward(r.made) {
		remove := os.RemoveAll
		if path == r.ToDir {
			remove = os.Remove // somebody may have put something beside ours
		}
		if err := remove(path); err != nil && !(path == r.ToDir && errors.Is(err, fs.ErrExist)) {
			cause = hint.Left(fmt.Errorf("%w (and %s could not be removed: %w)", cause, path, err), "Remove it: it is no restored cluster.")
		}
	}
	return cause
}

// full adds what to do when the disk is.
func full(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return hint.Add(err, "There is no room left in "+dir+": free some, or give a folder on another disk. What was written is removed.")
	}
	return err
}

// folderName is "01-shard-0-primary": the number is the node's place in --at, wherever
// --zone has put it, and without --at among those chosen.
func (r *run) folderName(i int) string {
	p := r.places[i]
	number := i + 1
	if len(r.At) > 0 {
		number = p.rank + 1
	}
	name := fmt.Sprintf("%02d-shard-%d-", number, r.layout[p.shard].Ranges()[0].First)
	if p.primary {
		return name + "primary"
	}
	k := 0
	for _, other := range r.places[:i+1] {
		if other.shard == p.shard && !other.primary {
			k++
		}
	}
	return fmt.Sprintf("%sreplica-%d", name, k)
}

// seedNode makes one node's folder. A replica gets no dump: it takes a full
// sync from its primary in any case.
func (r *run) seedNode(ctx context.Context, i int, nodes []confNode) error {
	dir := r.stagedFolder(i)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a node's folder: %w", err)
	}
	// One that a killed restore has left names other ids.
	if err := os.Remove(filepath.Join(dir, nodesName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old %s: %w", nodesName, err)
	}
	conf := strings.NewReader(formatNodesConf(nodes, i))
	if _, err := atomicfile.Create(ctx, filepath.Join(dir, nodesName), conf); err != nil {
		return fmt.Errorf("write %s: %w", nodesName, err)
	}
	return nil
}

// stagedFolder is a node's folder while it is made.
func (r *run) stagedFolder(i int) string { return filepath.Join(r.held.staging(), r.folderName(i)) }

// seedBundle writes the data of the primaries of a bundle.
func (r *run) seedBundle(ctx context.Context, b bundle) error {
	if !r.same(b) {
		recut := r.recut
		if r.AOF {
			recut = r.recutSets
		}
		return r.fromAnyStore(ctx, "seed",
			func(ctx context.Context, c *copies) error { return recut(ctx, c, b) },
			func() error {
				var failures []error
				for _, shard := range b.onto {
					failures = append(failures, clearSet(r.stagedFolder(shard))) // dumps that failed have left no file
				}
				return errors.Join(failures...)
			})
	}
	dir, target := r.stagedFolder(b.onto[0]), b.onto[0] // the primaries stand first, by shard
	seedOne := func(ctx context.Context, shard int, copied *catalog.Snapshot) error {
		return r.seedDump(ctx, r.dumpPath(dir), shard, target, copied)
	}
	if err := r.seedBases(ctx, b); err != nil {
		return err
	}
	again := func() error { return nil }
	if r.AOF { // a dump beside them would not be read
		seedOne = func(ctx context.Context, shard int, copied *catalog.Snapshot) error {
			return r.seedSet(ctx, dir, shard, target, copied)
		}
		again = func() error { return clearSet(dir) }
	}
	return r.fromAnyStore(ctx, "seed",
		func(ctx context.Context, c *copies) error { return c.each(ctx, b.from, seedOne) }, again)
}

// seedDump writes one shard's dump and inspects it on its way to the disk.
func (r *run) seedDump(ctx context.Context, path string, shard, target int, copied *catalog.Snapshot) (err error) {
	m := r.manifest.Shards[shard]
	body, err := copied.Open(ctx, m.Dump.File)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	task := progress.Event{Task: "shard " + m.Slots.String(), Phase: "seed", Total: m.Dump.Content().Bytes, Detail: r.folderName(target)}
	// The inspector pulls; what it reads goes to the file. The file's reader
	// sees the end only when the inspector found the whole dump sound.
	reader, writer := io.Pipe()
	inspected := make(chan error, 1)
	go func() {
		report, err := rdb.Inspect(ctx, io.TeeReader(body, writer), rdb.InspectOptions{Size: m.Dump.Content().Bytes, Owned: &m.Slots,
			OnProgress: func(done int64, keys uint64) {
				task := task
				task.Done, task.Keys = done, keys
				r.Progress.Emit(task)
			}})
		if err == nil && report.Keys != m.Dump.Keys {
			err = fmt.Errorf("it holds %d keys, the manifest says %d: %w", report.Keys, m.Dump.Keys, verify.ErrDamaged)
		}
		writer.CloseWithError(err) // nil is io.EOF
		inspected <- err
	}()
	_, writeErr := atomicfile.Create(ctx, path, reader)
	reader.CloseWithError(errDiskFailed)
	// What the inspector ran into is the cause of what the writer did, unless
	// the writer stopped first.
	switch err := <-inspected; {
	case err != nil && !errors.Is(err, errDiskFailed):
		return sourceError{err}
	case writeErr != nil:
		return fmt.Errorf("write %s: %w", dumpName, writeErr)
	}
	r.outcome.Shards[target].Keys, r.outcome.Shards[target].Bytes = m.Dump.Keys, r.sizeOf(shard)
	task.Done, task.Keys, task.Ended = m.Dump.Content().Bytes, m.Dump.Keys, true
	r.Progress.Emit(task)
	return nil
}

// errDiskFailed tells the inspector that nobody wants more of the dump.
var errDiskFailed = errors.New("the dump could not be written")
