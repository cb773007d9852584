package restore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// The names of a set that is cut anew: those that a server would give its first.
const (
	setBase      = setPrefix + ".1.base.rdb"
	setIncrement = setPrefix + ".%d.incr.aof"
	setManifest  = setPrefix + ".manifest"
)

// recutSets deals the append-only files of a bundle out into new sets, by slot: the
// keys of the dumps that they begin with into a new base, and of each of them the
// commands into an increment of its own, as they were read. The libraries of
// functions, as they are at the end of all, stand in the base. What is left out of
// the commands says setReader; of annotations nothing is kept, since the times of one
// increment would not follow those of the one before. The manifest comes last.
func (r *run) recutSets(ctx context.Context, c *copies, b bundle) error {
	header, err := r.commonHeader(b)
	if err != nil {
		return err
	}
	for _, shard := range b.onto {
		if err := os.Mkdir(r.setFolder(shard), 0o700); err != nil {
			return fmt.Errorf("make the folder of append-only files: %w", err)
		}
	}
	var bases []*cut
	expected := r.countKeys(ctx, b)
	for i, shard := range b.onto {
		bases = append(bases, r.openCut(ctx, filepath.Join(r.setFolder(shard), setBase), shard, header, b, expected[i]))
	}
	err = r.finishCuts(bases, c.each(ctx, b.from, func(ctx context.Context, shard int, copied *catalog.Snapshot) error {
		return r.dealSet(ctx, shard, header, bases, copied)
	}))
	if err != nil {
		return err
	}
	r.countSets(ctx, b)
	for _, shard := range b.onto {
		if err := r.finishSet(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

// setFolder is where a shard's primary has its append-only files.
func (r *run) setFolder(shard int) string { return filepath.Join(r.stagedFolder(shard), setFolder) }

// increment is the file of a new set that the commands of one source go to.
type increment struct {
	to    *cut // the set's base
	w     *bufio.Writer
	pipe  *io.PipeWriter
	ended chan error // how the file ended, once
	db    int        // that was selected last; -1 for none
	bytes int64
}

// openIncrement begins the file of the commands that a source has for a set.
func (r *run) openIncrement(ctx context.Context, base *cut, source int) *increment {
	reader, writer := io.Pipe()
	out := &increment{to: base, pipe: writer, w: bufio.NewWriterSize(writer, pipeBuffer), ended: make(chan error, 1), db: -1}
	name := fmt.Sprintf(setIncrement, slices.Index(r.sourcesOf(base.shard), source)+1)
	go func() {
		_, err := atomicfile.Create(ctx, filepath.Join(r.setFolder(base.shard), name), reader)
		reader.CloseWithError(err)
		if err != nil {
			err = fmt.Errorf("write %s: %w", name, err)
		}
		out.ended <- err
	}()
	return out
}

// add writes a command, which was collected, in its database.
func (i *increment) add(db int, command *value) error {
	if db != i.db {
		chosen := cluster.AppendCommand(i.w.AvailableBuffer(), "SELECT", db)
		if _, err := i.w.Write(chosen); err != nil {
			return err
		}
		i.db = db
		i.bytes += int64(len(chosen))
	}
	i.bytes += command.size
	return command.writeRaw(i.w)
}

// close ends the file: without error it gets its name.
func (i *increment) close(err error) error {
	if err == nil {
		err = i.w.Flush()
	}
	i.pipe.CloseWithError(err) // nil is the file's end
	if failure := <-i.ended; err == nil {
		err = failure
	}
	return err
}

// setDealer deals one shard's append-only files out.
type setDealer struct {
	*dealer
	ctx        context.Context
	header     rdb.Header
	increments []*increment // for each of the cuts; nil where nothing of the shard goes there
}

// dealSet reads a set from one store and writes what it holds to the sets of its
// slots.
func (r *run) dealSet(ctx context.Context, index int, header rdb.Header, bases []*cut, copied *catalog.Snapshot) (err error) {
	shard := r.manifest.Shards[index]
	d := &setDealer{ctx: ctx, header: header, dealer: &dealer{run: r, index: index, shard: shard, cuts: bases,
		task: progress.Event{Task: "shard " + shard.Slots.String(), Phase: "seed", Total: r.sizeOf(index), Detail: "by slot"}}}
	defer func() { err = errors.Join(err, d.value.close()) }()
	for _, base := range bases {
		var out *increment
		if base.owned.Intersect(shard.Slots).Len() > 0 {
			out = r.openIncrement(ctx, base, index)
		}
		d.increments = append(d.increments, out)
	}
	set := &setReader{run: r, index: index, shard: shard, copied: copied, divided: true, value: &d.value, task: &d.task, to: d}
	err = set.read(ctx)
	for _, out := range d.increments {
		if out == nil {
			continue
		}
		if failure := out.close(err); err == nil {
			err = failure
		}
		out.to.mu.Lock()
		out.to.bytes += out.bytes
		out.to.mu.Unlock()
	}
	if err != nil {
		return err
	}
	d.task.Done, d.task.Keys, d.task.Ended = d.task.Total, shard.Dump.Keys, true
	r.Progress.Emit(d.task)
	return nil
}

func (d *setDealer) source(body io.Reader) io.Reader { return body }

func (d *setDealer) dump(r *rdb.Reader) { d.reader = r }

// record writes a key of a dump to the base of its slot. The dump may be older than
// the snapshot's, and of another version.
func (d *setDealer) record(r *rdb.Record) error {
	if h := d.reader.Header(); h.Version > d.header.Version {
		return fmt.Errorf("the append-only files of shard %s begin with a dump of version %d, the snapshot's dumps are of version %d", d.shard.Slots, h.Version, d.header.Version)
	}
	return d.dealer.record(d.ctx, r)
}

// command writes a command to the increment of its slot.
func (d *setDealer) command(_ string, r *aof.Record) error {
	at := slices.IndexFunc(d.cuts, func(c *cut) bool { return c.owned.Contains(r.Slot) })
	if at < 0 && d.Node > 0 { // another node's
		return nil
	}
	return d.increments[at].add(r.DB, &d.value)
}

// finishSet writes a set's manifest and reads all of it as a server would.
func (r *run) finishSet(ctx context.Context, shard int) error {
	entries := []aof.Entry{{Name: setBase, Seq: 1, Type: aof.Base, StartOffset: aof.NoOffset, EndOffset: aof.NoOffset}}
	for i := range r.sourcesOf(shard) {
		entries = append(entries, aof.Entry{Name: fmt.Sprintf(setIncrement, i+1), Seq: int64(i + 1), Type: aof.Incr, StartOffset: aof.NoOffset, EndOffset: aof.NoOffset})
	}
	var text []byte
	for _, e := range entries {
		var err error
		if text, err = e.AppendText(text); err != nil {
			return err
		}
	}
	folder := r.setFolder(shard)
	if _, err := atomicfile.Create(ctx, filepath.Join(folder, setManifest), bytes.NewReader(text)); err != nil {
		return fmt.Errorf("write %s: %w", setManifest, err)
	}
	report, err := aof.Inspect(ctx, os.DirFS(folder), setManifest, aof.InspectOptions{})
	if err == nil {
		err = report.Err()
	}
	if err == nil && report.Slots().Minus(r.layout[shard]).Len() > 0 {
		err = fmt.Errorf("commands on slots %s are among them", report.Slots().Minus(r.layout[shard]))
	}
	if err != nil {
		return fmt.Errorf("read the new append-only files of shard %s: %w", r.layout[shard], err)
	}
	return nil
}

// setOf is the set that a shard of the layout is started with, as far as its names
// go: the snapshot's own, or the zero value where it is cut anew.
func (r *run) setOf(shard int) *manifest.AOF {
	if source := r.sourcesOf(shard)[0]; r.unchanged(source) {
		return r.manifest.Shards[source].AOF
	}
	return &manifest.AOF{ManifestName: setManifest}
}
