package restore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// setLoader sends one shard's append-only files to its primary.
//
// A server that loads such files lets no key expire: that it did is in the
// files, as a DEL. A running node does, and a counter that is counted up after
// its expiry would begin anew, without one. So every expiry is put off by
// ageless on its way, and brought back when all is there.
type setLoader struct {
	*loader
	copied  *catalog.Snapshot
	file    string
	names   map[string]string // commands, so that each need not be copied
	before  int64             // bytes of the files before
	skipped uint64            // commands and keys of slots that the shard no longer owned
	fields  uint64            // commands by which a field of a hash has expired by now
}

// loadSet reads a set from one store and sends it, in one pass.
func (r *run) loadSet(ctx context.Context, index int, onto []*target, copied *catalog.Snapshot) (err error) {
	base, err := r.newLoader(ctx, index, onto)
	if err != nil {
		return err
	}
	l := &setLoader{copied: copied, names: map[string]string{}, loader: base}
	defer func() { err = errors.Join(err, l.value.close()) }()
	for _, f := range l.shard.AOF.Files {
		if err := l.load(ctx, f); err != nil {
			return err // the pipes are aborted
		}
		l.before += f.File.Content().Bytes
	}
	if err := l.lanes.finish(); err != nil {
		return err
	}
	l.tell()
	l.task.Done, l.task.Keys, l.task.Ended = l.task.Total, l.shard.Dump.Keys, true
	r.Progress.Emit(l.task)
	return nil
}

// settleSet brings the expiries of a target back when all its commands were sent,
// and counts its keys.
func (r *run) settleSet(ctx context.Context, t *target) error {
	if err := r.bringBack(ctx, t); err != nil {
		return err
	}
	outcome := &r.outcome.Shards[t.shard]
	source := r.sourcesOf(t.shard)[0]
	outcome.Bytes = r.sizeOf(source)
	if shard := r.manifest.Shards[source]; shard.AOF.Aligned {
		outcome.Keys = shard.Dump.Keys
	}
	return nil
}

// load sends one file: the dump it may begin with, then the commands.
func (l *setLoader) load(ctx context.Context, f manifest.AOFFile) (err error) {
	body, err := l.copied.Open(ctx, f.File)
	if err != nil {
		return errors.Join(sourceError{err}, l.lanes.abort())
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	l.file = f.Name
	source := &flushing{body, l.lanes}
	if f.DumpBytes > 0 {
		l.reader = rdb.NewReader(io.LimitReader(source, f.DumpBytes), rdb.Options{Size: f.DumpBytes, Capture: &l.value})
		if err := l.dump(); err != nil {
			return whose(body, err, l.lanes.abort())
		}
	}
	if err := l.commands(source, f); err != nil {
		return whose(body, err, l.lanes.abort())
	}
	return nil
}

// dump sends the keys and libraries of the dump that a file begins with.
func (l *setLoader) dump() error {
	for {
		if err := l.value.reset(); err != nil {
			return err
		}
		record, err := l.reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return l.libraries()
		case errors.As(err, new(pipeError)), errors.As(err, new(*spoolError)):
			return err
		case err != nil:
			return sourceError{err}
		case record.Kind == rdb.KindKey && !l.shard.Slots.Contains(record.Slot):
			l.skipped++
			continue
		case record.Kind == rdb.KindKey && record.HasExpiry:
			record.ExpireAt += ageless
		}
		if err := l.record(record); err != nil {
			return err
		}
	}
}

// libraries sends the dump's libraries before the commands, among which there
// may be some that change them.
func (l *setLoader) libraries() error {
	for _, code := range l.code[l.index] {
		name, _, _ := strings.Cut(string(code[:min(len(code), maxKeyBytes)]), "\n")
		err := l.lanes[0].send(sent{what: kindFunction, name: name, weight: int64(len(code))}, func(w *bufio.Writer) error {
			_, err := w.Write(cluster.AppendCommand(w.AvailableBuffer(), "FUNCTION", "LOAD", "REPLACE", code))
			return err
		})
		if err != nil {
			return err
		}
	}
	l.code[l.index] = nil
	return nil
}

// keptArgs is how many arguments of a command are looked at: those of SET, its
// options included.
const keptArgs = 12

// commands sends the commands of a file. Each file begins in database 0.
func (l *setLoader) commands(source io.Reader, f manifest.AOFFile) error {
	reader := aof.NewReader(source, aof.Options{KeepArgs: keptArgs, Offset: f.DumpBytes, Capture: &l.value})
	for n := 0; ; n++ {
		if err := l.value.reset(); err != nil {
			return err
		}
		record, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, new(pipeError)), errors.As(err, new(*spoolError)):
			return err
		case err != nil:
			return sourceError{fmt.Errorf("%s: %w", f.Name, err)}
		case record.Kind != aof.KindCommand:
			continue
		}
		if n%progressKeys == 0 {
			l.task.Done = l.before + record.Offset
			l.Progress.Emit(l.task)
		}
		if err := l.command(record); err != nil {
			return err
		}
	}
}

// name is a command's name in capitals.
func (l *setLoader) name(written []byte) string {
	name, ok := l.names[string(written)]
	if !ok {
		name = strings.ToUpper(string(written))
		l.names[string(written)] = name
	}
	return name
}

// command sends one command, or leaves it out: one on a key whose slot the
// shard no longer owned at the end, when it held no such key any more.
func (l *setLoader) command(r *aof.Record) error {
	name := l.name(r.Name)
	if name == "SELECT" {
		return nil // who comes next says where
	}
	if r.Slot >= 0 && !l.shard.Slots.Contains(r.Slot) {
		l.skipped++
		return nil
	}
	change, err := l.expiryOf(name, r)
	if err != nil {
		return err
	}
	way := l.lanes[0] // the one there is: sets are restored onto their own shards
	if err := way.choose(r.DB); err != nil {
		return err
	}
	command := sent{what: kindCommand, name: name, weight: l.value.size, file: l.file, at: r.Offset}
	return way.send(command, func(w *bufio.Writer) error { return l.value.writeChanged(w, change) })
}

// tell says what was left out, and what could not be held up.
func (l *setLoader) tell() {
	l.mu.Lock()
	if l.skipped > 0 {
		l.outcome.Notes = append(l.outcome.Notes, fmt.Sprintf("shard %s: %d commands and keys of slots that it no longer owned were left out", l.shard.Slots, l.skipped))
	}
	l.mu.Unlock()
	if l.fields > 0 {
		l.note("hash-field-expiry", "warning", "shard "+l.shard.Slots.String(),
			fmt.Sprintf("%d commands let fields of hashes expire whose time has passed meanwhile: what later commands did to those fields can have come out otherwise; seed instead: --to-dir", l.fields))
	}
}

// clear makes a target empty for the next store's copy. A set brings libraries.
func (t *target) clear(ctx context.Context, libraries bool) error {
	if err := t.flush(ctx); err != nil || !libraries {
		return err
	}
	_, err := t.node.Do(ctx, "FUNCTION", "FLUSH", "SYNC")
	return err
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
