package aof

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/slotark/slotark/internal/rdb"
)

// progressStep is how many bytes lie between two calls of OnProgress.
const progressStep = 4 << 20

// inspectFile reads one file: the dump it may begin with, then the commands. In
// the last one that is loaded an end cut off can be recovered from.
func (s *set) inspectFile(entry Entry, last bool) error {
	s.report.Files = append(s.report.Files, FileReport{Entry: entry, Names: map[string]uint64{}})
	file := &s.report.Files[len(s.report.Files)-1]
	f, err := s.open(file)
	if err != nil || f == nil {
		return err
	}
	err = s.readFile(f, file)
	err = errors.Join(err, f.Close())
	var d *Damage
	if !errors.As(err, &d) {
		return err
	}
	if d.Recoverable && !last {
		d.Recoverable = false
		d.Detail += "; no server drops the end of a file that is not the last"
	}
	s.add(file.Name, d)
	return nil
}

// open opens a file and learns its size. It returns no file and no error where
// there is none to be read.
func (s *set) open(file *FileReport) (fs.File, error) {
	info, err := fs.Stat(s.folder, file.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.add(file.Name, damage(CodeMissing, 0, "the file is not there"))
		return nil, nil
	case errors.Is(err, fs.ErrInvalid):
		s.add(file.Name, damage(CodeManifestName, 0, "%s is no name of a file", quote(file.Name)))
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		s.add(file.Name, damage(CodeMissing, 0, "what is there is not a file: %s", info.Mode()))
		return nil, nil
	}
	file.Bytes = info.Size()
	return s.folder.Open(file.Name)
}

// readFile reads an open file. It gives back no more than its dump's and its
// commands' own damage.
func (s *set) readFile(f fs.File, file *FileReport) error {
	in := &source{ctx: s.ctx, file: f, name: file.Name, tell: s.options.OnProgress, size: file.Bytes, passes: !s.options.ReadAll}
	head, err := in.peek()
	if err != nil {
		return fmt.Errorf("read %s: %w", file.Name, err)
	}
	defer in.finish()
	switch {
	case len(head) == 0 && file.Type == Base && path.Ext(file.Name) == ".rdb":
		return damage(CodeEmpty, 0, "the file is empty, where a dump should be: a server would start without it")
	case file.Type != Incr && BeginsDump(head):
		more, err := s.readDump(in, file)
		if !more || err != nil {
			return err
		}
		return s.readAfterDump(in, file)
	}
	return s.readCommands(in, file)
}

// readDump inspects the dump a file begins with, and tells whether anything
// follows it.
func (s *set) readDump(src io.Reader, file *FileReport) (more bool, err error) {
	file.Dump, err = rdb.Inspect(s.ctx, src, rdb.InspectOptions{
		Size: file.Bytes, Digest: s.options.Digest, Deep: s.options.Deep, Duplicates: s.options.Deep,
	})
	var d *rdb.Damage
	switch {
	case err == nil:
	case !errors.As(err, &d):
		return false, fmt.Errorf("%s: %w", file.Name, err)
	case d.Code == rdb.CodeTrailing:
		// The dump itself is proven whole before what follows it is looked at.
		more = true
	default:
		return false, &Damage{Code: CodeDump, Severity: Error, Offset: d.Offset, Detail: d.Code + ": " + d.Detail, Err: d}
	}
	file.DumpBytes = file.Dump.Bytes
	file.WholeEnd, file.SafeEnd = file.DumpBytes, file.DumpBytes
	return more, nil
}

// readAfterDump reads the commands behind a dump. What read the dump has read
// ahead, so the file is opened once more.
func (s *set) readAfterDump(in *source, file *FileReport) error {
	f, err := s.folder.Open(file.Name)
	if err != nil {
		return err
	}
	err = in.begin(f, file.DumpBytes)
	if err == nil {
		err = s.readCommands(in, file)
	}
	return errors.Join(err, f.Close())
}

// readCommands reads the commands of a file, from behind its dump.
func (s *set) readCommands(src io.Reader, file *FileReport) error {
	r := NewReader(src, Options{Offset: file.DumpBytes})
	c := counter{set: s, file: file, counts: make([]uint64, len(commands)+1)}
	var err error
	for err == nil {
		var rec *Record
		if rec, err = r.Next(); err == nil {
			c.add(rec, r.command)
		}
	}
	c.finish(r)
	var d *Damage
	switch {
	case err == io.EOF:
		return nil
	case errors.As(err, &d):
		return d
	}
	return fmt.Errorf("%s: %w", file.Name, err)
}

// counter sums up the records of a file.
type counter struct {
	set    *set
	file   *FileReport
	counts []uint64 // by command

	hasTime, warned bool
	first, last     int64 // Unix seconds
	unknownName     string
	unknownAt       int64
}

func (c *counter) add(rec *Record, command *command) {
	if rec.Kind != KindCommand {
		c.annotate(rec)
		return
	}
	if !rec.Known && c.counts[unknown.id] == 0 {
		c.unknownName, c.unknownAt = quote(rec.Name), rec.Offset
	}
	c.counts[command.id]++
	c.file.Commands++
	c.file.MaxDB = max(c.file.MaxDB, rec.DB)
	if command.act == actExec {
		c.file.Transactions++
	}
}

// annotate takes an annotation's time, and warns of the first that would lead a
// cut at an instant astray.
func (c *counter) annotate(rec *Record) {
	c.file.Annotations++
	switch {
	case rec.Kind == KindTimestamp && (!c.hasTime || rec.UnixTime >= c.last):
		if !c.hasTime {
			c.hasTime, c.first = true, rec.UnixTime
		}
		c.last = rec.UnixTime
	case rec.Kind == KindTimestamp:
		c.first = min(c.first, rec.UnixTime)
		c.warn(rec, "the time %d is before the time %d of an earlier annotation", rec.UnixTime, c.last)
	case len(rec.Text) >= 4 && string(rec.Text[:4]) == "#TS:":
		c.warn(rec, "%s holds no time", quote(rec.Text))
	}
}

func (c *counter) warn(rec *Record, format string, args ...any) {
	if c.warned {
		return
	}
	c.warned = true
	d := damage(CodeTimestamp, rec.Offset, format, args...)
	d.Severity = Warning
	c.set.add(c.file.Name, d)
}

// finish fills in what is known only at the end.
func (c *counter) finish(r *Reader) {
	file := c.file
	file.Bytes = max(file.Bytes, r.Offset()) // a server may have gone on writing
	file.WholeEnd, file.SafeEnd = r.WholeEnd(), r.SafeEnd()
	file.Slots, file.Unplaced = r.Slots(), r.Unplaced()
	if c.hasTime {
		file.First, file.Last = time.Unix(c.first, 0).UTC(), time.Unix(c.last, 0).UTC()
	}
	for name, command := range commands {
		if n := c.counts[command.id]; n > 0 {
			file.Names[name] = n
		}
	}
	if n := c.counts[unknown.id]; n > 0 {
		file.Names[""] = n
		d := damage(CodeUnknown, c.unknownAt, "%d commands whose keys cannot be found, the first is %s: a server that does not know them refuses the file", n, c.unknownName)
		d.Severity = Warning
		c.set.add(file.Name, d)
	}
}
