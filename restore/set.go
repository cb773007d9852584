package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// setReader reads one shard's append-only files from one store, in the order in
// which a server loads them, and hands on what makes the keys of the shard's
// slots. All commands of one key come in the order in which they ran, and that is
// the only order that matters between keys:
//
//   - MULTI and EXEC are left out. A server writes what a script or a transaction
//     has done as one, in whatever slots; nobody reads the nodes, and nothing is kept
//     of a restore that stops in between. (A running node would even refuse an EXEC
//     of keys of two slots.)
//   - FUNCTION makes the shard's libraries, which are brought in when all is read.
//   - Commands on slots that the shard no longer owned at the end are left out.
//
// Where the keys come onto other shards than their own (divided), what a command
// without a key means of a shard must not be done to the keys of another:
//
//   - Of a FLUSHALL or FLUSHDB all that was before it is left out; see flushes.
//   - Any other command of which the reader does not know its one slot is refused.
type setReader struct {
	*run
	index   int // of the shard in the manifest
	shard   manifest.Shard
	copied  *catalog.Snapshot
	divided bool
	value   *value // gets what is read
	task    *progress.Event
	to      setSink

	names   map[string]string // commands in capitals, so that each need not be made anew
	flushed flushes
	holds   libraries
	file    manifest.AOFFile // at hand
	number  int              // of it
	before  int64            // bytes of the files before
	skipped uint64           // commands and keys of slots that the shard no longer owned
}

// setSink takes what a set holds.
type setSink interface {
	// dump is told of a dump, before its records come.
	dump(*rdb.Reader)
	// record takes a key, or another record that is no library.
	record(*rdb.Record) error
	// command takes a command; its name is in capitals.
	command(name string, r *aof.Record) error
	// source may watch what is read.
	source(io.Reader) io.Reader
}

// read reads the set.
func (s *setReader) read(ctx context.Context) error {
	s.names = map[string]string{}
	s.flushed = noFlushes()
	if s.divided {
		if err := s.findFlushes(ctx); err != nil {
			return err
		}
	}
	for number, f := range s.shard.AOF.Files {
		s.file, s.number = f, number
		if err := s.readFile(ctx); err != nil {
			return err
		}
		s.before += f.File.Content().Bytes
	}
	s.code[s.index] = s.holds.code
	if s.skipped > 0 {
		s.mu.Lock()
		s.outcome.Notes = append(s.outcome.Notes, fmt.Sprintf("shard %s: %d commands and keys of slots that it no longer owned were left out", s.shard.Slots, s.skipped))
		s.mu.Unlock()
	}
	return nil
}

// readFile reads one file: the dump it may begin with, then the commands.
func (s *setReader) readFile(ctx context.Context) (err error) {
	body, err := s.copied.Open(ctx, s.file.File)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	source := s.to.source(body)
	if s.file.DumpBytes > 0 {
		dump := rdb.NewReader(io.LimitReader(source, s.file.DumpBytes), rdb.Options{Size: s.file.DumpBytes, Capture: s.value})
		s.to.dump(dump)
		if err := s.readDump(dump); err != nil {
			return whose(body, err, nil)
		}
	}
	if err := s.readCommands(source); err != nil {
		return whose(body, err, nil)
	}
	return nil
}

// readDump hands on the keys of the dump that a file begins with.
func (s *setReader) readDump(dump *rdb.Reader) error {
	for {
		if err := s.value.reset(); err != nil {
			return err
		}
		record, err := dump.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, new(pipeError)), errors.As(err, new(*spoolError)):
			return err
		case err != nil:
			return sourceError{err}
		case record.Kind == rdb.KindFunction:
			s.holds.load(record.Value)
			continue
		case record.Kind == rdb.KindKey && !s.shard.Slots.Contains(record.Slot):
			s.skipped++
			continue
		case record.Kind == rdb.KindKey && s.flushed.gone(record.DB, spot{s.number, record.Offset}):
			continue
		}
		if err := s.to.record(record); err != nil {
			return err
		}
	}
}

// keptArgs is how many arguments of a command are looked at: those of SET, its
// options included.
const keptArgs = 12

// readCommands hands on the commands of a file. Each file begins in database 0.
func (s *setReader) readCommands(source io.Reader) error {
	reader := aof.NewReader(source, aof.Options{KeepArgs: keptArgs, Offset: s.file.DumpBytes, Capture: s.value})
	for n := 0; ; n++ {
		if err := s.value.reset(); err != nil {
			return err
		}
		record, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, new(pipeError)), errors.As(err, new(*spoolError)):
			return err
		case err != nil:
			return sourceError{fmt.Errorf("%s: %w", s.file.Name, err)}
		case record.Kind != aof.KindCommand:
			continue
		}
		if n%progressKeys == 0 {
			s.task.Done = s.before + record.Offset
			s.Progress.Emit(*s.task)
		}
		if err := s.command(record); err != nil {
			return err
		}
	}
}

// named is a command's name in capitals.
func (s *setReader) named(written []byte) string {
	name, ok := s.names[string(written)]
	if !ok {
		name = strings.ToUpper(string(written))
		s.names[string(written)] = name
	}
	return name
}

// command hands a command on, or leaves it out.
func (s *setReader) command(r *aof.Record) error {
	name := s.named(r.Name)
	switch name {
	case "SELECT", "MULTI", "EXEC": // who takes a command is told its database
		return nil
	case "FUNCTION":
		args, err := s.value.arguments()
		if err == nil {
			err = s.holds.apply(args)
		}
		if err != nil {
			return fmt.Errorf("the command at byte %d of %s: %w", r.Offset, s.file.Name, err)
		}
		return nil
	}
	if r.Slot >= 0 && !s.shard.Slots.Contains(r.Slot) {
		s.skipped++
		return nil
	}
	if s.divided {
		if ofKey, err := s.ofKey(name, r); !ofKey || err != nil {
			return err
		}
	}
	return s.to.command(name, r)
}

// ofKey tells whether a command is sent where its key goes. One that is neither
// that nor to be left out is refused.
func (s *setReader) ofKey(name string, r *aof.Record) (bool, error) {
	if s.flushed.gone(r.DB, spot{s.number, r.Offset}) {
		return false, nil
	}
	var why string
	switch name {
	case "FLUSHALL", "FLUSHDB", "PING", "PUBLISH", "SPUBLISH":
		return false, nil
	case "EVAL", "EVALSHA", "FCALL", "SCRIPT":
		why = "runs a script, which may change keys that it does not name"
	case "TRIMSLOTS":
		if s.trimsOthers(r) {
			s.skipped++
			return false, nil
		}
		why = "removes slots that the shard owned later"
	default:
		switch {
		case r.SlotsDiffer:
			why = "has keys of several slots"
		case r.Slot >= 0:
			return true, nil
		case !r.Known:
			why = "is not known here, nor which keys it changes"
		default:
			why = "names no key by which it could be given to one of several shards"
		}
	}
	return false, hint.Add(fmt.Errorf("the command %s at byte %d of %s %s", quoteKey(r.Name), r.Offset, s.file.Name, why),
		"Restore these append-only files onto the snapshot's own shards, or the dumps onto others: leave --from-aof out.")
}

// trimsOthers tells whether TRIMSLOTS RANGES <n> <first> <last>…, by which a server
// removes the keys of slots that went away (Redis 8.4), is of none that the shard
// owned at the end.
func (s *setReader) trimsOthers(r *aof.Record) bool {
	var ranges []string
	if int64(len(r.Args)) != r.Argc || len(r.Args) < 5 || len(r.Args)%2 == 0 || !strings.EqualFold(string(r.Args[1]), "RANGES") {
		return false
	}
	for i := 3; i < len(r.Args); i += 2 {
		ranges = append(ranges, fmt.Sprintf("%s-%s", r.Args[i], r.Args[i+1]))
	}
	slots, err := slot.Parse(strings.Join(ranges, ","))
	return err == nil && slots.Intersect(s.shard.Slots).Len() == 0
}
