package restore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

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

// load sends every shard's keys to its primary, all shards at once.
func (r *run) load(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.Parallel)
	for i := range r.manifest.Shards {
		group.Go(func() error {
			t := r.targets[i] // the primaries stand first, by shard
			err := r.fromAnyStore(ctx, i,
				func(copied *catalog.Snapshot) error {
					if r.AOF {
						return r.loadSet(ctx, t, copied)
					}
					return r.loadShard(ctx, t, copied)
				},
				func() error { return t.clear(ctx, r.AOF) })
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("load shard %s: %w", r.manifest.Shards[i].Slots, err)
			}
			return err
		})
	}
	return group.Wait()
}

// sourceError marks what went wrong on the side of the store: another store's
// copy may be better.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// fromAnyStore tries a shard's dump from each store that has the snapshot,
// until one is whole. again brings the target back to where it was. That a
// store's copy was bad is a finding even when another's is good.
func (r *run) fromAnyStore(ctx context.Context, shard int, try func(*catalog.Snapshot) error, again func() error) error {
	var failures []error
	for _, store := range r.Snapshot.Stores() {
		if len(failures) > 0 {
			if err := again(); err != nil {
				return objections(append(failures, err))
			}
		}
		err := try(r.Snapshot.In(store))
		if err == nil {
			r.outcome.Shards[shard].Store = store.Name
			for _, failure := range failures {
				r.note("store-failed", "error", "shard "+r.manifest.Shards[shard].Slots.String(), failure.Error())
			}
			return nil
		}
		if !errors.As(err, new(sourceError)) || ctx.Err() != nil {
			return err
		}
		failures = append(failures, fmt.Errorf("store %s: %w", store.Name, err))
	}
	return hint.Add(objections(failures), "This snapshot cannot be restored as it is stored: slotark verify says what is damaged, slotark list which other snapshots there are.")
}

// loader sends one shard's dump to its primary.
type loader struct {
	*run
	target *target
	shard  manifest.Shard
	pipe   *pipe
	value  value
	reader *rdb.Reader
	db     int
	task   progress.Event
}

// loadShard reads a dump from one store and sends its keys, in one pass.
func (r *run) loadShard(ctx context.Context, t *target, copied *catalog.Snapshot) (err error) {
	shard := r.manifest.Shards[t.shard]
	body, err := copied.Open(ctx, shard.Dump.File)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	p, err := openPipe(ctx, r.Access, t)
	if err != nil {
		return err
	}
	l := &loader{run: r, target: t, shard: shard, pipe: p,
		task: progress.Event{Task: "shard " + shard.Slots.String(), Phase: "load", Total: shard.Dump.Content().Bytes, Detail: t.addr()}}
	defer func() { err = errors.Join(err, l.value.close()) }()
	l.reader = rdb.NewReader(&flushing{body, p}, rdb.Options{Size: shard.Dump.Content().Bytes, Capture: &l.value})
	r.code[t.shard] = nil
	if err := l.records(); err != nil {
		return whose(body, err, p.abort())
	}
	if err := p.finish(); err != nil {
		return whose(body, err, nil)
	}
	if l.task.Keys != shard.Dump.Keys {
		return sourceError{fmt.Errorf("the dump holds %s, the manifest says %s: %w",
			human.Plural(l.task.Keys, "key"), human.Count(shard.Dump.Keys), verify.ErrDamaged)}
	}
	r.outcome.Shards[t.shard].Keys = l.task.Keys
	l.task.Done, l.task.Ended = shard.Dump.Content().Bytes, true
	r.Progress.Emit(l.task)
	return nil
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

// flushing sends what the pipe has before it waits for the store: what is
// sent and not answered is then always the node's to answer, never ours to
// send, and a store that pauses does not look like a node that hangs.
type flushing struct {
	body io.Reader
	pipe *pipe
}

func (f *flushing) Read(p []byte) (int, error) {
	if err := f.pipe.flush(); err != nil {
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
		l.code[l.target.shard] = append(l.code[l.target.shard], bytes.Clone(r.Value))
	case rdb.KindModuleAux:
		l.note("module-aux", "warning", "shard "+l.shard.Slots.String(),
			fmt.Sprintf("the module %q keeps data of its own beside the keys, which replay cannot send; seed instead: --to-dir", r.Name))
	}
	return nil
}

// key sends one key.
func (l *loader) key(r *rdb.Record) error {
	if err := l.sendable(r); err != nil {
		return err
	}
	l.task.Keys++
	if l.task.Keys%progressKeys == 0 {
		l.task.Done = l.reader.Offset()
		l.Progress.Emit(l.task)
	}
	// RESTORE takes 0 for "no expiry": what expired in or before 1970 is gone
	// anyway.
	if r.HasExpiry && r.ExpireAt <= 0 {
		return nil
	}
	if err := l.choose(r.DB); err != nil {
		return err
	}
	command := sent{what: kindKey, name: string(r.Key[:min(len(r.Key), maxKeyBytes+1)]), weight: l.value.size}
	return l.pipe.send(command, func(w *bufio.Writer) error {
		return l.value.writeRestore(w, r, l.reader.Header().Version)
	})
}

// choose has what follows go into a database.
func (l *loader) choose(db int) error {
	if db == l.db {
		return nil
	}
	l.db = db
	return l.pipe.send(sent{what: kindDatabase, name: strconv.Itoa(db)}, func(w *bufio.Writer) error {
		_, err := w.Write(cluster.AppendCommand(w.AvailableBuffer(), "SELECT", db))
		return err
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
func (l *loader) sendable(r *rdb.Record) error {
	if !l.shard.Slots.Contains(r.Slot) {
		return sourceError{fmt.Errorf("%w: key %s is in slot %d, which the shard does not own", verify.ErrDamaged, quoteKey(r.Key), r.Slot)}
	}
	if r.Type == typeTemplateLPRef || r.Type == typeTemplateArrayRef {
		return hint.Add(fmt.Errorf("key %s refers to a hash template, which stands elsewhere in the dump", quoteKey(r.Key)),
			"Replay cannot send such keys: seed instead, with --to-dir.")
	}
	if length := l.value.payloadSize(); length > l.target.maxPayload {
		return hint.Add(fmt.Errorf("key %s is %s, %s takes at most %s at once", quoteKey(r.Key), human.Size(length), l.target.addr(), human.Size(l.target.maxPayload)),
			"Raise proto-max-bulk-len and client-query-buffer-limit on the node, or seed instead, with --to-dir.")
	}
	if r.HasMeta {
		l.note("key-meta", "warning", "key "+quoteKey(r.Key), "a module attached metadata to it, which replay cannot send; seed instead: --to-dir")
	}
	return nil
}
