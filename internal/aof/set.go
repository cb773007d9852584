package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

const (
	manifestSuffix = ".manifest"
	tempPrefix     = "temp-" // of what a server has not finished writing
	// sniffed is how much of a file is looked at to tell what it is.
	sniffed = 4 << 10
	// maxUnnamed is how many files are named that the manifest does not name.
	maxUnnamed = 100
)

// ErrNoManifest is returned where no manifest is to be found, or several are.
var ErrNoManifest = errors.New("no manifest")

// InspectOptions say how a set is inspected.
type InspectOptions struct {
	Digest bool // digest the values of the dumps, see rdb.InspectOptions
	Deep   bool // check their structure too, and that no name comes twice
	// ReadAll reads the inside of large arguments, too. No finding depends on
	// it, but a block that the disk cannot give is then an error.
	ReadAll    bool
	OnProgress func(file string, bytes int64) // nil: none
}

// Report is what a set holds.
type Report struct {
	Name     string       // of the manifest, or of the one old file
	Manifest *Manifest    // nil of one old file
	Files    []FileReport // as a server loads them: the base, then the increments
	Findings []*Damage    // in the order of the files
}

// FileReport is what one file holds, as far as it could be read.
type FileReport struct {
	Entry
	Bytes     int64       // size of the file
	Dump      *rdb.Report // of the dump it begins with; nil: none
	DumpBytes int64       // where the commands begin

	Commands     uint64 // whole ones
	Transactions uint64
	Names        map[string]uint64 // commands by name, in capitals; "" are unknown ones
	Annotations  uint64
	First, Last  time.Time // earliest and latest #TS:, in whole seconds; zero: none
	MaxDB        int       // the highest database selected
	Slots        slot.Set  // of the commands' keys
	Unplaced     uint64    // commands whose keys are not, or not all, in Slots

	WholeEnd int64 // behind the last whole command or annotation, or the dump
	SafeEnd  int64 // the same, or before the MULTI of a transaction open there
}

// Lost is how many bytes a server could not load.
func (f *FileReport) Lost() int64 { return f.Bytes - f.SafeEnd }

// Err is the first finding that is an error; nil where a server loads all of
// the set.
func (r *Report) Err() error {
	for _, d := range r.Findings {
		if d.Severity == Error {
			return d
		}
	}
	return nil
}

// Loadable tells whether a server with aof-load-truncated yes would start with
// the set, though perhaps without its end.
func (r *Report) Loadable() bool {
	return !slices.ContainsFunc(r.Findings, func(d *Damage) bool { return d.Severity == Error && !d.Recoverable })
}

// Base is the report of the dump the set begins with, nil if there is none.
func (r *Report) Base() *rdb.Report {
	if len(r.Files) == 0 {
		return nil
	}
	return r.Files[0].Dump
}

// Slots are those of all keys that the commands name, without the dump's.
func (r *Report) Slots() slot.Set {
	var all slot.Set
	for i := range r.Files {
		all = all.Union(r.Files[i].Slots)
	}
	return all
}

// Range returns the earliest and the latest #TS: of all files; zero: none. What
// a base holds is older than all of it.
func (r *Report) Range() (first, last time.Time) {
	for i := range r.Files {
		f := &r.Files[i]
		if f.First.IsZero() {
			continue
		}
		if first.IsZero() || f.First.Before(first) {
			first = f.First
		}
		if f.Last.After(last) {
			last = f.Last
		}
	}
	return first, last
}

// Inspect reads a whole set in a folder: that of the manifest called name, of
// the only manifest there is where name is "", or the one file called name, as
// servers before Redis 7.0 wrote it. What is wrong with the set is in the
// report's findings; an error is that of the folder, of a read or of ctx, and
// the report is filled as far as it came.
func Inspect(ctx context.Context, folder fs.FS, name string, o InspectOptions) (*Report, error) {
	s := &set{ctx: ctx, folder: folder, options: o, report: &Report{Name: name}}
	if err := s.inspect(); err != nil {
		return s.report, fmt.Errorf("inspect append-only files: %w", err)
	}
	return s.report, nil
}

type set struct {
	ctx     context.Context
	folder  fs.FS
	options InspectOptions
	report  *Report
}

func (s *set) inspect() error {
	isManifest, err := s.findManifest()
	if err != nil {
		return err
	}
	if !isManifest {
		return s.inspectFile(Entry{Name: s.report.Name, StartOffset: NoOffset, EndOffset: NoOffset}, true)
	}
	if ok, err := s.readManifest(); !ok || err != nil {
		return err
	}
	loaded := s.report.Manifest.Loaded()
	for i, entry := range loaded {
		if err := s.inspectFile(entry, i == len(loaded)-1); err != nil {
			return err
		}
	}
	return s.findUnnamed()
}

// findManifest settles which file is meant, and whether it is a manifest.
func (s *set) findManifest() (bool, error) {
	if s.report.Name != "" {
		info, err := fs.Stat(s.folder, s.report.Name)
		if err != nil {
			return false, err
		}
		if !info.Mode().IsRegular() {
			return false, fmt.Errorf("%s is not a file: %s", s.report.Name, info.Mode())
		}
		if strings.HasSuffix(s.report.Name, manifestSuffix) {
			return true, nil
		}
		return s.looksLikeManifest()
	}
	entries, err := fs.ReadDir(s.folder, ".")
	if err != nil {
		return false, fmt.Errorf("list folder: %w", err)
	}
	var found []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), manifestSuffix) && !strings.HasPrefix(e.Name(), tempPrefix) {
			found = append(found, e.Name())
		}
	}
	switch len(found) {
	case 1:
		s.report.Name = found[0]
		return true, nil
	case 0:
		return false, hint.Add(fmt.Errorf("%w in the folder", ErrNoManifest),
			"Name the folder that appenddirname of the server names, or the one file of a server before Redis 7.0.")
	}
	return false, hint.Add(fmt.Errorf("%w is the only one: there are %s", ErrNoManifest, strings.Join(found[:min(len(found), 10)], ", ")),
		"Name the manifest that is meant.")
}

// looksLikeManifest tells whether the first line of the named file that is no
// comment begins with "file".
func (s *set) looksLikeManifest() (bool, error) {
	f, err := s.folder.Open(s.report.Name)
	if err != nil {
		return false, err
	}
	head := make([]byte, sniffed)
	n, err := io.ReadFull(f, head)
	if err = errors.Join(ignoreShort(err), f.Close()); err != nil {
		return false, fmt.Errorf("read %s: %w", s.report.Name, err)
	}
	for line := range strings.Lines(string(head[:n])) {
		if line[0] != '#' {
			return strings.HasPrefix(strings.ToLower(line), "file"), nil
		}
	}
	return false, nil
}

func ignoreShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// readManifest reads the manifest and tells whether a server would go on.
func (s *set) readManifest() (ok bool, err error) {
	f, err := s.folder.Open(s.report.Name)
	if err != nil {
		return false, err
	}
	s.report.Manifest, err = ParseManifest(f)
	err = errors.Join(err, f.Close())
	var d *Damage
	if errors.As(err, &d) {
		s.add(s.report.Name, d)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	entries := s.report.Manifest.Entries
	loaded := s.report.Manifest.Loaded()
	if len(loaded) == 0 {
		d := damage(CodeManifestEmpty, 0, "none of its %d files is loaded: a server would start with no data", len(entries))
		s.add(s.report.Name, d)
	}
	seen := map[string]bool{}
	for _, e := range loaded {
		if seen[e.Name] {
			d := damage(CodeManifestTwice, 0, "%s would be loaded twice", quote(e.Name))
			d.Line = e.Line
			s.add(s.report.Name, d)
		}
		seen[e.Name] = true
	}
	return true, nil
}

func (s *set) add(file string, d *Damage) {
	d.File = file
	s.report.Findings = append(s.report.Findings, d)
}

// findUnnamed finds files that the manifest does not name: those of a rewrite
// that did not come to its end, and those of another set.
func (s *set) findUnnamed() error {
	entries, err := fs.ReadDir(s.folder, ".")
	if err != nil {
		return fmt.Errorf("list folder: %w", err)
	}
	named := map[string]bool{s.report.Name: true}
	for _, e := range s.report.Manifest.Entries {
		named[e.Name] = true
	}
	count := 0
	for _, e := range entries {
		if named[e.Name()] {
			continue
		}
		if count++; count > maxUnnamed {
			continue
		}
		detail := "the manifest does not name it: no server loads it"
		if strings.HasPrefix(e.Name(), tempPrefix) {
			detail += "; a rewrite left it that did not come to its end"
		}
		s.add(e.Name(), &Damage{Code: CodeUnnamed, Severity: Warning, Detail: detail})
	}
	if count > maxUnnamed {
		s.add("", &Damage{Code: CodeUnnamed, Severity: Warning, Detail: fmt.Sprintf("%d more files that the manifest does not name", count-maxUnnamed)})
	}
	return nil
}
