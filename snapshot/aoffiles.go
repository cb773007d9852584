package snapshot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
)

// heldFS is a set's files, each as far as it belongs to the set, and the
// manifest that names them.
type heldFS struct {
	files map[string]*io.SectionReader
	names []string
}

func newHeldFS(set *collect.AOFSet, own []byte) heldFS {
	h := heldFS{files: map[string]*io.SectionReader{}}
	if set.ManifestName != "" {
		h.add(set.ManifestName, io.NewSectionReader(bytes.NewReader(own), 0, int64(len(own))))
	}
	for _, f := range set.Files {
		h.add(f.Entry.Name, io.NewSectionReader(f.File, 0, f.Bytes))
	}
	return h
}

func (h *heldFS) add(name string, content *io.SectionReader) {
	h.files[name] = content
	h.names = append(h.names, name)
}

// Open implements [fs.FS]. The file can be read at any offset.
func (h heldFS) Open(name string) (fs.File, error) {
	content, ok := h.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &heldFile{io.NewSectionReader(content, 0, content.Size()), setFile{name, content.Size()}}, nil
}

// ReadDir implements [fs.ReadDirFS] for the folder itself.
func (h heldFS) ReadDir(string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for _, name := range h.names {
		all = append(all, fs.FileInfoToDirEntry(setFile{name, h.files[name].Size()}))
	}
	return all, nil
}

type heldFile struct {
	*io.SectionReader
	info setFile
}

func (f *heldFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *heldFile) Close() error               { return nil }

// setFile describes one file of a set.
type setFile struct {
	name  string
	bytes int64
}

func (f setFile) Name() string       { return f.name }
func (f setFile) Size() int64        { return f.bytes }
func (f setFile) Mode() fs.FileMode  { return 0o600 }
func (f setFile) ModTime() time.Time { return time.Time{} }
func (f setFile) IsDir() bool        { return false }
func (f setFile) Sys() any           { return nil }

// puttingFS is a set as the inspection reads it: what it reads of a file goes to
// the sealer and the stores at the same time, each byte once, however often it
// is read. Files are read by one goroutine, from their beginning on.
type puttingFS struct {
	own  []byte // the set's manifest
	name string // of it
	all  []*putting
}

// putting is one file on its way.
type putting struct {
	source *collect.LinkedFile
	reader *io.PipeReader
	writer *io.PipeWriter
	sent   atomic.Int64 // bytes given away

	done chan struct{} // closed when file and err are set
	file manifest.File
	err  error
}

// add begins to put a file.
func (p *puttingFS) add(source *collect.LinkedFile, put func(*putting)) {
	body := &putting{source: source, done: make(chan struct{})}
	body.reader, body.writer = io.Pipe()
	p.all = append(p.all, body)
	go func() {
		defer close(body.done)
		put(body)
		body.reader.CloseWithError(errors.Join(body.err, io.ErrClosedPipe)) // nobody waits for a reader that has gone
	}()
}

// sent is how much of all files has gone.
func (p *puttingFS) sent() int64 {
	var total int64
	for _, f := range p.all {
		total += f.sent.Load()
	}
	return total
}

// finish gives every file its end, or the reason why it has none, and waits for
// the stores. A store's failure that ended the inspection is what is told.
func (p *puttingFS) finish(verdict error) error {
	for _, f := range p.all {
		if verdict == nil {
			_, verdict = io.Copy(io.Discard, &puttingFile{body: f, at: f.sent.Load()})
		}
	}
	var failures []error
	for _, f := range p.all {
		f.writer.CloseWithError(verdict) // nil is io.EOF
	}
	for _, f := range p.all {
		<-f.done
		if f.err != nil && !errors.Is(f.err, verdict) {
			failures = append(failures, f.err)
		}
	}
	if len(failures) > 0 {
		return errors.Join(failures...)
	}
	return verdict
}

func (p *puttingFS) find(name string) *putting {
	at := slices.IndexFunc(p.all, func(f *putting) bool { return f.source.Entry.Name == name })
	if at < 0 {
		return nil
	}
	return p.all[at]
}

// Open implements [fs.FS].
func (p *puttingFS) Open(name string) (fs.File, error) {
	if name == p.name && name != "" {
		return &heldFile{io.NewSectionReader(bytes.NewReader(p.own), 0, int64(len(p.own))), setFile{name, int64(len(p.own))}}, nil
	}
	if f := p.find(name); f != nil {
		return &puttingFile{body: f}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements [fs.ReadDirFS]: there is nothing that nobody names.
func (p *puttingFS) ReadDir(string) ([]fs.DirEntry, error) { return nil, nil }

// puttingFile is one reading of a file.
type puttingFile struct {
	body *putting
	at   int64
}

func (f *puttingFile) Stat() (fs.FileInfo, error) {
	return setFile{f.body.source.Entry.Name, f.body.source.Bytes}, nil
}

func (f *puttingFile) Close() error { return nil }

func (f *puttingFile) Read(to []byte) (int, error) {
	left := f.body.source.Bytes - f.at
	if left == 0 {
		return 0, io.EOF
	}
	n, err := f.body.source.ReadAt(to[:min(int64(len(to)), left)], f.at)
	if err == io.EOF && n > 0 {
		err = nil
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF // a file of a set never becomes shorter
	}
	if fresh := f.at + int64(n) - f.body.sent.Load(); fresh > 0 {
		if _, failed := f.body.writer.Write(to[int64(n)-fresh : n]); failed != nil {
			return 0, failed
		}
		f.body.sent.Add(fresh)
	}
	f.at += int64(n)
	return n, err
}
