package restore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
	"golang.org/x/sync/errgroup"
)

// What a pipe carries, for errors.
const (
	kindKey      = "key"
	kindDatabase = "database"
	kindFunction = "function library"
	kindCommand  = "command"
)

// progressKeys is after how many keys a loader says how far it is.
const progressKeys = 1 << 13

// load sends every key to the primary that owns its slot, all shards at once.
func (r *run) load(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range r.bundles() {
		group.Go(func() error { return r.loadBundle(ctx, b) })
	}
	return group.Wait()
}

func (r *run) loadBundle(ctx context.Context, b bundle) error {
	if r.keeps(b) {
		return nil
	}
	var onto []*target
	for _, i := range b.onto {
		onto = append(onto, r.targets[i]) // the primaries stand first, by shard
	}
	again := func() error {
		return errors.Join(each(onto, func(t *target) error { return t.flush(ctx) })...)
	}
	if r.before != nil { // what it has sent of the bundle
		if err := again(); err != nil {
			return err
		}
	}
	err := r.whileWhole(ctx, again, func() error { return r.loadOnto(ctx, b, onto, again) })
	if err == nil && r.AOF {
		err = r.settleSets(ctx, b, onto)
	}
	if err == nil {
		r.noteLoaded(ctx, b)
	}
	return err
}

// allLoaded tells whether the journal has every bundle.
func (r *run) allLoaded(context.Context) (bool, error) {
	return !slices.ContainsFunc(r.bundles(), func(b bundle) bool { return !r.keeps(b) }), nil
}

// wholeTries is how often a bundle is loaded while the nodes lose sight of each
// other.
const wholeTries = 3

// whileWhole loads, and once more when a node refused a key because it took the
// cluster for down: nodes and networks under load lose each other for a moment.
func (r *run) whileWhole(ctx context.Context, again, load func() error) error {
	for try := 1; ; try++ {
		err := load()
		if try == wholeTries || ctx.Err() != nil || !cluster.IsCode(err, "CLUSTERDOWN") {
			return err
		}
		// What a person should know of, and need not do anything about.
		r.mu.Lock()
		r.outcome.Notes = append(r.outcome.Notes, "loaded anew, because the nodes lost sight of each other: "+err.Error())
		r.mu.Unlock()
		if down := wait(ctx, joinLimit, func(ctx context.Context) (string, error) { return r.notJoined(ctx, false) }); down != nil {
			return fmt.Errorf("%w (%w)", err, down)
		}
		if failed := again(); failed != nil {
			return fmt.Errorf("%w (%w)", err, failed)
		}
	}
}

// loadOnto loads a bundle, from the first store whose copies are whole.
func (r *run) loadOnto(ctx context.Context, b bundle, onto []*target, again func() error) error {
	return r.fromAnyStore(ctx, "load",
		func(ctx context.Context, c *copies) error {
			for _, t := range onto {
				r.outcome.Shards[t.shard].Keys, r.outcome.Shards[t.shard].Bytes = 0, 0
			}
			return c.each(ctx, b.from, func(ctx context.Context, shard int, copied *catalog.Snapshot) error {
				if r.AOF {
					return r.loadSet(ctx, shard, onto, copied)
				}
				return r.loadShard(ctx, shard, onto, copied)
			})
		},
		again)
}

// loader sends one shard's dump to the primaries that own its slots now.
type loader struct {
	*run
	index  int // of the shard in the manifest
	shard  manifest.Shard
	lanes  lanes
	value  value
	reader *rdb.Reader
	// The key that is being sent as commands; nil: it has expired, or none is.
	writing *writing
	task    progress.Event
}

// newLoader opens the ways to the primaries.
func (r *run) newLoader(ctx context.Context, index int, onto []*target) (*loader, error) {
	shard := r.manifest.Shards[index]
	r.code[index], r.types[index] = nil, rdb.Encodings{}
	l := &loader{run: r, index: index, shard: shard,
		task: progress.Event{Task: "shard " + shard.Slots.String(), Phase: "load", Total: r.sizeOf(index)}}
	var err error
	l.lanes, err = r.openLanes(ctx, shard.Slots, onto)
	l.task.Detail = l.lanes.String()
	return l, err
}

// loadShard reads a dump from one store and sends its keys, in one pass.
func (r *run) loadShard(ctx context.Context, index int, onto []*target, copied *catalog.Snapshot) (err error) {
	shard := r.manifest.Shards[index]
	body, err := copied.Open(ctx, shard.Dump.File)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	l, err := r.newLoader(ctx, index, onto)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.value.close()) }()
	options := rdb.Options{Size: shard.Dump.Content().Bytes, Capture: &l.value}
	if r.Logical {
		options.Capture, options.View = nil, l.view
	}
	l.reader = rdb.NewReader(&flushing{body, l.lanes}, options)
	if err := l.records(); err != nil {
		return whose(body, err, l.lanes.abort())
	}
	if err := l.lanes.finish(); err != nil {
		return whose(body, err, nil)
	}
	if l.task.Keys != shard.Dump.Keys {
		return sourceError{fmt.Errorf("the dump holds %s, the manifest says %s: %w",
			human.Plural(l.task.Keys, "key"), human.Count(shard.Dump.Keys), verify.ErrDamaged)}
	}
	l.credit()
	l.task.Done, l.task.Ended = l.task.Total, true
	r.Progress.Emit(l.task)
	return nil
}

// credit adds what was sent to the shards that it was sent to.
func (l *loader) credit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, way := range l.lanes {
		shard := &l.outcome.Shards[way.target.shard]
		shard.Keys += way.keys
		shard.Bytes += way.bytes
	}
	if len(l.lanes) == 1 && l.shard.Slots == l.layout[l.lanes[0].target.shard] {
		l.outcome.Shards[l.lanes[0].target.shard].Bytes = l.sizeOf(l.index)
	}
}

// whose says why a shard was not loaded. A node refuses a damaged value before
// the dump's checksum is reached; so the rest of the object is read, to know
// whether it was the store's fault.
func whose(body io.Reader, err, ending error) error {
	if errors.As(err, new(cluster.ServerError)) {
		if _, drained := io.Copy(io.Discard, body); errors.Is(drained, verify.ErrDamaged) {
			err = sourceError{fmt.Errorf("%w (which is why %w)", drained, err)}
		}
	}
	if ending != nil {
		return objections{err, ending}
	}
	return err
}

// flushing sends what the pipes have before it waits for the store: what is
// sent and not answered is then always the node's to answer, never ours to
// send, and a store that pauses does not look like a node that hangs.
type flushing struct {
	body  io.Reader
	lanes lanes
}

func (f *flushing) Read(p []byte) (int, error) {
	if err := f.lanes.flush(); err != nil {
		return 0, pipeError{err}
	}
	return f.body.Read(p)
}

// pipeError marks what came through the dump's reader and is not the store's.
type pipeError struct{ error }

func (e pipeError) Unwrap() error { return e.error }

// records passes over the records.
func (l *loader) records() error {
	for {
		if err := l.value.reset(); err != nil {
			return err
		}
		record, err := l.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, new(pipeError)), errors.As(err, new(*spoolError)):
			return err
		case err != nil:
			return sourceError{err}
		}
		if err := l.record(record); err != nil {
			return err
		}
	}
}

func (l *loader) record(r *rdb.Record) error {
	switch r.Kind {
	case rdb.KindKey:
		return l.key(r)
	case rdb.KindFunction:
		l.code[l.index] = append(l.code[l.index], bytes.Clone(r.Value))
	case rdb.KindModuleAux:
		l.note("module-aux", "warning", "shard "+l.shard.Slots.String(),
			fmt.Sprintf("the module %q keeps data of its own beside the keys, which replay cannot send; seed instead: --to-dir", r.Name))
	}
	return nil
}

// key sends one key.
func (l *loader) key(r *rdb.Record) error {
	if !l.shard.Slots.Contains(r.Slot) {
		return sourceError{fmt.Errorf("%w: key %s is in slot %d, which the shard does not own", verify.ErrDamaged, quoteKey(r.Key), r.Slot)}
	}
	l.types[l.index].Count(r)
	way := l.lanes.to(r.Slot)
	if err := l.sendable(way, r); err != nil {
		return err
	}
	way.keys++
	way.bytes += r.ValueOffset + r.ValueLen - r.Offset
	l.task.Keys++
	if l.task.Keys%progressKeys == 0 {
		l.task.Done = l.reader.Offset()
		l.Progress.Emit(l.task)
	}
	if l.Logical {
		return l.endOf(r)
	}
	// RESTORE takes 0 for "no expiry": what expired in or before 1970 is gone
	// anyway.
	if r.HasExpiry && r.ExpireAt <= 0 {
		return nil
	}
	if err := way.choose(r.DB); err != nil {
		return err
	}
	command := sent{what: kindKey, name: string(r.Key[:min(len(r.Key), maxKeyBytes+1)]), weight: l.value.size}
	return way.send(command, func(w *bufio.Writer) error {
		return l.value.writeRestore(w, r, l.reader.Header().Version)
	})
}

// Types of hashes whose field names stand in a registry elsewhere in the dump
// (Redis 8.10): rdb.h, RDB_TYPE_HASH_TMPL_LP_REF and _ARRAY_REF. Valkey's
// types of these numbers do not exist.
const (
	typeTemplateLPRef    = 30
	typeTemplateArrayRef = 32
)

// sendable finds the keys that no RESTORE can carry, before the node does.
func (l *loader) sendable(way *lane, r *rdb.Record) error {
	if r.Type == typeTemplateLPRef || r.Type == typeTemplateArrayRef {
		return hint.Add(fmt.Errorf("key %s refers to a hash template, which stands elsewhere in the dump", quoteKey(r.Key)),
			"Replay cannot send such keys: seed instead, with --to-dir.")
	}
	if has := way.target.modules; r.Family == rdb.Module && has != nil && len(has) == 0 {
		return hint.Add(fmt.Errorf("key %s is a value of type %s, and %s has no modules", quoteKey(r.Key), r.Name, way.target.addr()), hintModules)
	}
	if length := l.value.payloadSize(); length > way.target.maxPayload {
		return hint.Add(fmt.Errorf("key %s is %s, %s takes at most %s at once", quoteKey(r.Key), human.Size(length), way.target.addr(), human.Size(way.target.maxPayload)),
			"Raise proto-max-bulk-len and client-query-buffer-limit on the node, or seed instead, with --to-dir.")
	}
	if r.HasMeta {
		l.note("key-meta", "warning", "key "+quoteKey(r.Key), "a module attached metadata to it, which replay cannot send; seed instead: --to-dir")
	}
	return nil
}
