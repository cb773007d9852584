package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/snapshot/manifest"
)

// set reads the shard's append-only files once: their stored bytes at level
// checksum, and as a server would load them at those that inspect.
func (c *shardCheck) set(ctx context.Context) {
	a := c.shard.AOF
	if a == nil {
		return
	}
	if !c.Level.Inspects() {
		for _, file := range a.Objects() {
			c.object(ctx, file, nil)
		}
		return
	}
	files := &setFS{check: c, ctx: ctx, names: map[string]manifest.File{}, told: map[string]bool{}}
	name := a.Files[0].Name
	if a.ManifestName != "" {
		name = a.ManifestName
		files.names[name] = a.Manifest
	}
	for _, f := range a.Files {
		files.names[f.Name] = f.File
	}
	before := len(c.result.Findings)
	deep := c.Level == Deep
	report, err := aof.Inspect(ctx, files, name, aof.InspectOptions{Deep: deep, Digest: deep, ReadAll: deep})
	for _, file := range a.Objects() {
		files.finish(file) // what the inspection did not come to
	}
	if len(c.result.Findings) > before || ctx.Err() != nil {
		return // what is wrong with the bytes says why they cannot be loaded
	}
	if err != nil {
		c.report("unreadable", a.Objects()[0], "%s", err)
		return
	}
	for _, d := range report.Findings {
		if d.Severity != aof.Error {
			continue
		}
		c.report("aof-"+d.Code, files.names[d.File], "%s", d.Detail)
		c.result.Findings[len(c.result.Findings)-1].Offset = &d.Offset
	}
	if len(c.result.Findings) == before {
		c.agreeSet(report)
	}
}

// agreeSet compares a sound set with what the manifest says of it.
func (c *shardCheck) agreeSet(report *aof.Report) {
	a := c.shard.AOF
	if len(report.Files) != len(a.Files) {
		c.report("aof-files", a.Manifest, "the set loads %d files, the manifest names %d", len(report.Files), len(a.Files))
		return
	}
	for i, f := range a.Files {
		have := report.Files[i]
		if have.Name != f.Name || have.Commands != f.Commands || have.DumpBytes != f.DumpBytes {
			c.report("aof-commands", f.File, "is %s with %d commands behind a dump of %d bytes; the manifest says %s, %d and %d",
				have.Name, have.Commands, have.DumpBytes, f.Name, f.Commands, f.DumpBytes)
		}
	}
}

// setFS is a set as a store has it. What is read of a file the first time is
// held against the manifest; a second reading is only read.
type setFS struct {
	check *shardCheck
	ctx   context.Context
	names map[string]manifest.File
	told  map[string]bool // objects that were read once
}

// Open implements [fs.FS].
func (s *setFS) Open(name string) (fs.File, error) {
	file, ok := s.names[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &setFile{set: s, file: file}, nil
}

// ReadDir implements [fs.ReadDirFS]: the snapshot's manifest says what belongs
// to it, and nothing else is in it.
func (s *setFS) ReadDir(string) ([]fs.DirEntry, error) { return nil, nil }

// finish reads what nobody has, so that each object is checked.
func (s *setFS) finish(file manifest.File) {
	if s.told[file.Object] || s.ctx.Err() != nil {
		return
	}
	s.told[file.Object] = true
	s.check.object(s.ctx, file, func(io.Reader) error { return nil })
}

// setFile is one reading of a file. It begins with the first byte asked for: to
// be asked how large it is, it need not be opened.
type setFile struct {
	set    *setFS
	file   manifest.File
	reader *io.PipeReader
	done   chan struct{}
}

func (f *setFile) Read(p []byte) (int, error) {
	if f.reader == nil {
		f.begin()
	}
	return f.reader.Read(p)
}

// errEnough ends a reading that nobody wants more of.
var errEnough = errors.New("no more is wanted")

// begin has the object read: by the check, which sums its bytes, or without.
func (f *setFile) begin() {
	var writer *io.PipeWriter
	f.reader, writer = io.Pipe()
	f.done = make(chan struct{})
	first := !f.set.told[f.file.Object]
	f.set.told[f.file.Object] = true
	look := func(plain io.Reader) error {
		_, err := io.Copy(writer, plain)
		if errors.Is(err, errEnough) {
			return nil // the check reads the rest
		}
		writer.CloseWithError(err) // nil is io.EOF
		return err
	}
	go func() {
		defer close(f.done)
		if !first {
			body, err := f.set.check.snapshot.Open(f.set.ctx, f.file)
			if err == nil {
				err = errors.Join(look(body), body.Close())
			}
			writer.CloseWithError(err)
			return
		}
		if !f.set.check.object(f.set.ctx, f.file, look) {
			writer.CloseWithError(fmt.Errorf("read %s: %w", f.file.Object, ErrDamaged))
		}
		writer.Close()
	}()
}

// Close waits for what is still said of the object.
func (f *setFile) Close() error {
	if f.reader != nil {
		f.reader.CloseWithError(errEnough)
		<-f.done
	}
	return nil
}

func (f *setFile) Stat() (fs.FileInfo, error) { return setInfo{f.file}, nil }

type setInfo struct{ file manifest.File }

func (i setInfo) Name() string       { return i.file.Object }
func (i setInfo) Size() int64        { return i.file.Content().Bytes }
func (i setInfo) Mode() fs.FileMode  { return 0o600 }
func (i setInfo) ModTime() time.Time { return time.Time{} }
func (i setInfo) IsDir() bool        { return false }
func (i setInfo) Sys() any           { return nil }
