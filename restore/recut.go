package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// cut is a new dump that is made of records of others.
type cut struct {
	shard int // in the layout
	owned slot.Set
	pipe  *io.PipeWriter
	ended chan error // how the file ended, once

	mu    sync.Mutex // several dumps are dealt out at once
	dump  *rdb.Writer
	keys  uint64
	bytes int64
}

// recut deals the dumps of a bundle out into new ones, by slot: the records as
// they are, under a header, functions and a checksum of their own. The new dumps
// get their names only when every source was read to its end and found whole.
func (r *run) recut(ctx context.Context, c *copies, b bundle) error {
	header, err := r.commonHeader(b)
	if err == nil {
		err = r.seedBases(ctx, b)
	}
	if err != nil {
		return err
	}
	var cuts []*cut
	expected := r.countKeys(ctx, b)
	for i, shard := range b.onto {
		cuts = append(cuts, r.openCut(ctx, r.dumpPath(r.stagedFolder(shard)), shard, header, b, expected[i]))
	}
	return r.finishCuts(cuts, c.each(ctx, b.from, func(ctx context.Context, shard int, copied *catalog.Snapshot) error {
		return r.deal(ctx, shard, cuts, copied)
	}))
}

// finishCuts ends new dumps, all of them with the error that there is, or all with
// none.
func (r *run) finishCuts(cuts []*cut, err error) error {
	for _, cut := range cuts {
		if err == nil {
			err = r.finishCut(cut)
		}
		cut.pipe.CloseWithError(err) // nil is the file's end
	}
	for _, cut := range cuts {
		if failure := <-cut.ended; err == nil {
			err = failure
		}
	}
	return err
}

// commonHeader is the header of a dump of which every source's records may be
// part: types of values are only ever added.
func (r *run) commonHeader(b bundle) (rdb.Header, error) {
	header := rdb.Header{Engine: "redis"}
	for _, i := range b.from {
		version := r.manifest.Shards[i].Dump.RDBVersion
		redis, valkey := min(version, header.Version), max(version, header.Version)
		if valkey >= valkeyRDB && redis >= 12 && redis < valkeyRDB {
			return header, hint.Refuse(fmt.Errorf("dumps of versions %d and %d cannot become one: one is Redis's, one Valkey's", redis, valkey),
				"Restore onto the snapshot's own slots.")
		}
		header.Version = valkey
	}
	if header.Version >= valkeyRDB {
		header.Engine = "valkey"
	}
	return header, nil
}

// openCut begins a new dump, with how many keys it will have.
func (r *run) openCut(ctx context.Context, path string, shard int, header rdb.Header, b bundle, expected counts) *cut {
	reader, writer := io.Pipe()
	out := &cut{shard: shard, owned: r.layout[shard], pipe: writer, ended: make(chan error, 1), dump: rdb.NewWriter(writer, header)}
	go func() {
		_, err := atomicfile.Create(ctx, path, reader)
		reader.CloseWithError(err)
		if err != nil {
			err = fmt.Errorf("write %s: %w", filepath.Base(path), err)
		}
		out.ended <- err
	}()
	name := "redis-ver"
	if header.Engine == "valkey" {
		name = "valkey-ver"
	}
	out.dump.Aux(name, r.manifest.Server.Version)
	out.dump.Aux("redis-bits", "64")
	created := slices.MaxFunc(b.from, func(x, y int) int {
		return r.manifest.Shards[x].Dump.Created.Compare(r.manifest.Shards[y].Dump.Created)
	})
	out.dump.Aux("ctime", strconv.FormatInt(r.manifest.Shards[created].Dump.Created.Unix(), 10))
	if r.AOF {
		out.dump.Aux("aof-base", "1")
	}
	// Slots are not announced one by one (Redis 7.4, Valkey 8): that would promise
	// an order by slot. Servers share the count out over their slots. In which
	// database how many keys are, where there are several, no index says.
	if r.maxDB(shard) == 0 {
		out.dump.Counts(0, expected.keys, expected.expiring)
	}
	return out
}

// dealer deals one shard's dump out.
type dealer struct {
	*run
	index  int // in the manifest
	shard  manifest.Shard
	cuts   []*cut
	value  value
	reader *rdb.Reader
	task   progress.Event
}

// deal reads a dump from one store and writes each key to the dump of its slot.
func (r *run) deal(ctx context.Context, index int, cuts []*cut, copied *catalog.Snapshot) (err error) {
	shard := r.manifest.Shards[index]
	body, err := copied.Open(ctx, shard.Dump.File)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	d := &dealer{run: r, index: index, shard: shard, cuts: cuts,
		task: progress.Event{Task: "shard " + shard.Slots.String(), Phase: "seed", Total: r.sizeOf(index), Detail: "by slot"}}
	defer func() { err = errors.Join(err, d.value.close()) }()
	r.code[index] = nil
	d.reader = rdb.NewReader(body, rdb.Options{Size: shard.Dump.Content().Bytes, Capture: &d.value})
	if err := d.records(ctx); err != nil {
		return err
	}
	if d.task.Keys != shard.Dump.Keys {
		return sourceError{fmt.Errorf("the dump holds %s, the manifest says %s: %w",
			human.Plural(d.task.Keys, "key"), human.Count(shard.Dump.Keys), verify.ErrDamaged)}
	}
	d.task.Done, d.task.Ended = d.task.Total, true
	r.Progress.Emit(d.task)
	return nil
}

func (d *dealer) records(ctx context.Context) error {
	for {
		if err := d.value.reset(); err != nil {
			return err
		}
		record, err := d.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, new(*spoolError)):
			return err
		case err != nil:
			return sourceError{err}
		}
		if err := d.record(ctx, record); err != nil {
			return err
		}
	}
}

func (d *dealer) record(ctx context.Context, r *rdb.Record) error {
	switch r.Kind {
	case rdb.KindFunction:
		d.code[d.index] = append(d.code[d.index], bytes.Clone(r.Value))
	case rdb.KindModuleAux:
		d.note("module-aux", "warning", "shard "+d.shard.Slots.String(),
			fmt.Sprintf("the module %q keeps data of its own beside the keys, which is left out where dumps are cut anew", r.Name))
	case rdb.KindKey:
		return d.key(ctx, r)
	}
	return nil
}

// key writes one key to the dump of its slot.
func (d *dealer) key(ctx context.Context, r *rdb.Record) error {
	at := slices.IndexFunc(d.cuts, func(c *cut) bool { return c.owned.Contains(r.Slot) })
	switch {
	case at < 0 && d.Node > 0 && d.shard.Slots.Contains(r.Slot): // another node's
		d.task.Keys++
		return nil
	case at < 0 || !d.shard.Slots.Contains(r.Slot):
		return sourceError{fmt.Errorf("%w: key %s is in slot %d, which the shard does not own", verify.ErrDamaged, quoteKey(r.Key), r.Slot)}
	case !r.Portable():
		return hint.Add(fmt.Errorf("key %s refers to what stands elsewhere in its dump, a hash template or a module's metadata", quoteKey(r.Key)),
			"Such a dump cannot be cut: restore onto the snapshot's own slots.")
	}
	if d.task.Keys++; d.task.Keys%progressKeys == 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.task.Done = d.reader.Offset()
		d.Progress.Emit(d.task)
	}
	out := d.cuts[at]
	out.mu.Lock()
	defer out.mu.Unlock()
	out.keys++
	out.bytes += r.ValueOffset + r.ValueLen - r.Offset
	out.dump.Key(r)
	return d.value.writeRaw(out.dump)
}

// finishCut writes the libraries of functions and the dump's end.
func (r *run) finishCut(c *cut) error {
	for _, code := range r.librariesOf(c.shard) {
		c.dump.Function(code)
	}
	r.outcome.Shards[c.shard].Keys, r.outcome.Shards[c.shard].Bytes = c.keys, c.bytes
	return c.dump.Close()
}
