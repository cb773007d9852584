package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/manifest"
)

// spot is where something stands in a set.
type spot struct {
	file int // by its number in the order of loading
	at   int64
}

func (p spot) before(q spot) bool { return p.file < q.file || p.file == q.file && p.at < q.at }

// flushes are where the keys of a set were removed for the last time: those of
// all databases, and of each. What stands before makes no key that is there at the
// end, and so a shard's FLUSHALL need not be done where keys of other shards are.
type flushes struct {
	all spot
	db  map[int]spot
}

func noFlushes() flushes { return flushes{all: spot{-1, -1}, db: map[int]spot{}} }

// gone tells whether what a command or a key at p makes in a database was removed
// later.
func (f *flushes) gone(db int, p spot) bool {
	last, flushed := f.db[db]
	return p.before(f.all) || flushed && p.before(last)
}

// findFlushes reads the commands of a set once, for nothing else.
func (s *setReader) findFlushes(ctx context.Context) error {
	crossed := "" // a command that made keys in another database than its own
	for number, f := range s.shard.AOF.Files {
		if f.DumpBytes == f.File.Content().Bytes {
			continue
		}
		err := s.eachCommand(ctx, f, func(r *aof.Record) error {
			switch name := s.named(r.Name); {
			case name == "FLUSHALL":
				s.flushed, crossed = flushes{spot{number, r.Offset}, map[int]spot{}}, ""
			case name == "FLUSHDB" && crossed != "":
				return hint.Add(fmt.Errorf("the command FLUSHDB at byte %d of %s comes after the command %s, which moves keys from one database to another", r.Offset, f.Name, crossed),
					"Restore these append-only files onto the snapshot's own shards, or the dumps onto others: leave --from-aof out.")
			case name == "FLUSHDB":
				s.flushed.db[r.DB] = spot{number, r.Offset}
			case name == "MOVE" || name == "SWAPDB" || name == "COPY" && hasOption(r.Args, 3, "DB"):
				crossed = fmt.Sprintf("%s at byte %d of %s", name, r.Offset, f.Name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachCommand reads the commands of one file, to its end.
func (s *setReader) eachCommand(ctx context.Context, f manifest.AOFFile, do func(*aof.Record) error) (err error) {
	body, err := s.copied.Open(ctx, f.File)
	if err != nil {
		return sourceError{err}
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if _, err := io.CopyN(io.Discard, body, f.DumpBytes); err != nil {
		return sourceError{fmt.Errorf("%s: %w", f.Name, err)}
	}
	reader := aof.NewReader(body, aof.Options{KeepArgs: keptArgs, Offset: f.DumpBytes})
	for {
		record, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return sourceError{fmt.Errorf("%s: %w", f.Name, err)}
		case record.Kind != aof.KindCommand:
			continue
		}
		if err := do(record); err != nil {
			return err
		}
	}
}

// hasOption tells whether a word is among a command's options.
func hasOption(args [][]byte, from int, word string) bool {
	for i := from; i < len(args); i++ {
		if strings.EqualFold(string(args[i]), word) {
			return true
		}
	}
	return false
}
