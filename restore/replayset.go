package restore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
)

// setLoader sends what one shard's append-only files hold to the primaries that
// own its slots now.
//
// A server that loads such files lets no key expire: that it did is in the
// files, as a DEL. A running node does, and a counter that is counted up after
// its expiry would begin anew, without one. So every expiry is put off by
// ageless on its way, and brought back when all is there.
type setLoader struct {
	*loader
	set    *setReader
	fields uint64 // commands by which a field of a hash has expired by now
}

// loadSet reads a set from one store and sends it.
func (r *run) loadSet(ctx context.Context, index int, onto []*target, copied *catalog.Snapshot) (err error) {
	base, err := r.newLoader(ctx, index, onto)
	if err != nil {
		return err
	}
	l := &setLoader{loader: base}
	l.set = &setReader{run: r, index: index, shard: l.shard, copied: copied, divided: !r.unchanged(index), value: &l.value, task: &l.task, to: l}
	defer func() { err = errors.Join(err, l.value.close()) }()
	if err := l.set.read(ctx); err != nil {
		if ending := l.lanes.abort(); ending != nil {
			return objections{err, ending}
		}
		return err
	}
	if err := l.lanes.finish(); err != nil {
		return err
	}
	l.credit()
	if l.fields > 0 {
		l.note("hash-field-expiry", "warning", "shard "+l.shard.Slots.String(),
			fmt.Sprintf("%d commands let fields of hashes expire whose time has passed meanwhile: what later commands did to those fields can have come out otherwise; seed instead: --to-dir", l.fields))
	}
	l.task.Done, l.task.Keys, l.task.Ended = l.task.Total, l.shard.Dump.Keys, true
	r.Progress.Emit(l.task)
	return nil
}

// settleSets brings the expiries of a bundle's targets back when all their
// commands were sent, and counts their keys.
func (r *run) settleSets(ctx context.Context, b bundle, onto []*target) error {
	for _, t := range onto {
		if err := r.bringBack(ctx, t); err != nil {
			return err
		}
	}
	r.countSets(ctx, b)
	return nil
}

// countSets says how many keys came of the sets of a bundle: those of the dumps, if
// all of them end where these begin; else that is not known.
func (r *run) countSets(ctx context.Context, b bundle) {
	known := !slices.ContainsFunc(b.from, func(source int) bool { return !r.manifest.Shards[source].AOF.Aligned })
	for i, expected := range r.countKeys(ctx, b) {
		if !known {
			expected = counts{}
		}
		r.outcome.Shards[b.onto[i]].Keys = expected.keys
	}
}

func (l *setLoader) dump(r *rdb.Reader) { l.reader = r }

func (l *setLoader) source(body io.Reader) io.Reader { return &flushing{body, l.lanes} }

// record sends a key of a dump.
func (l *setLoader) record(r *rdb.Record) error {
	if r.HasExpiry {
		r.ExpireAt += ageless
	}
	return l.loader.record(r)
}

// command sends one command.
func (l *setLoader) command(name string, r *aof.Record) error {
	change, err := l.expiryOf(name, r)
	if err != nil {
		return err
	}
	way := l.lanes.to(r.Slot) // without a key: the one there is, or the reader has refused it
	if err := way.choose(r.DB); err != nil {
		return err
	}
	way.bytes += r.Length
	command := sent{what: kindCommand, name: name, weight: l.value.size, file: l.set.file.Name, at: r.Offset}
	return way.send(command, func(w *bufio.Writer) error { return l.value.writeChanged(w, change) })
}

// tooOld says that a node cannot tell when a key expires, and so cannot be given
// commands of the past.
func (r *run) tooOld(t *target) []string {
	if release, _ := parseRelease(t.version); !r.AOF || release.atLeast(7, 0) {
		return nil
	}
	return []string{fmt.Sprintf("runs %s %s: append-only files are replayed into 7.0 or later", engineName(t.engine), t.version)}
}

// change is an argument that is sent as another; the zero value is none.
type change struct {
	arg  int
	text string
}

// writeChanged writes the command that was collected, with one argument changed.
func (v *value) writeChanged(w *bufio.Writer, c change) error {
	var raw io.ReaderAt = bytes.NewReader(v.buf)
	if v.size > spoolAbove {
		raw = v.file
	}
	if c.arg == 0 {
		_, err := io.Copy(w, io.NewSectionReader(raw, 0, v.size))
		return err
	}
	begin, end, err := argument(raw, c.arg)
	if err != nil {
		return fmt.Errorf("change an expiry: %w", err)
	}
	if _, err := io.Copy(w, io.NewSectionReader(raw, 0, begin)); err != nil {
		return err
	}
	writeBulk(w, c.text)
	_, err = io.Copy(w, io.NewSectionReader(raw, end, v.size-end))
	return err
}

// arguments are those of the command that was collected.
func (v *value) arguments() (args [][]byte, err error) {
	var raw io.ReaderAt = bytes.NewReader(v.buf)
	if v.size > spoolAbove {
		raw = v.file
	}
	at, err := behindHeader(raw, 0, nil)
	for err == nil && at < v.size {
		var size int64
		if at, err = behindHeader(raw, at, &size); err != nil {
			break
		}
		arg := make([]byte, size)
		_, err = raw.ReadAt(arg, at)
		args = append(args, arg)
		at += size + 2
	}
	return args, err
}

// argument finds where an argument of a command begins, its length included,
// and ends. The command was read before and is well-formed.
func argument(raw io.ReaderAt, index int) (begin, end int64, err error) {
	at, err := behindHeader(raw, 0, nil)
	for i := 0; err == nil; i++ {
		var size int64
		begin = at
		if at, err = behindHeader(raw, at, &size); err != nil {
			break
		}
		if at += size + 2; i == index {
			return begin, at, nil
		}
	}
	return 0, 0, err
}

// behindHeader reads a line of a mark and a number, and returns where it ends.
func behindHeader(raw io.ReaderAt, at int64, number *int64) (int64, error) {
	var line [32]byte
	n, err := raw.ReadAt(line[:], at)
	end := bytes.IndexByte(line[:n], '\n')
	if end < 2 {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	if number != nil {
		if *number, err = strconv.ParseInt(string(line[1:end-1]), 10, 64); err != nil {
			return 0, err
		}
	}
	return at + int64(end) + 1, nil
}
