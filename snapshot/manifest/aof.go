package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/storage"
)

// AOF is a shard's append-only files: what the node that gave the dump had
// written of its data and of every command since, cut off at a whole command.
type AOF struct {
	// Manifest is the set's own, as a server reads it: it names Files and no
	// others. The zero File where the set is one old file.
	Manifest     File      `json:"manifest,omitzero"`
	ManifestName string    `json:"manifest_name,omitempty"` // "appendonly.aof.manifest"; empty where Manifest is
	Files        []AOFFile `json:"files"`                   // as a server loads them
	// Aligned tells whether loading the set gives the data of the dump: it is cut
	// off at the byte that the node had written when it forked.
	Aligned  bool      `json:"aligned"`
	Offset   AOFOffset `json:"offset"`
	Commands uint64    `json:"commands"`        // whole ones, in all files
	First    time.Time `json:"first,omitzero"`  // the earliest #TS: of the set
	Last     time.Time `json:"last,omitzero"`   // and the latest
	Cut      int64     `json:"cut,omitempty"`   // bytes of the last file, as the node had it, behind the end
	Linked   time.Time `json:"linked,omitzero"` // when the files were linked, by our clock
}

// AOFOffset is where in the shard's replication stream the set stands.
type AOFOffset struct {
	Start *int64 `json:"start,omitempty"` // where the first increment begins, where the node's manifest says so (Redis 8.0)
	End   int64  `json:"end"`             // the node's offset when it forked; where not aligned, when the files were linked
}

// The kinds of files of a set.
const (
	AOFBase  = "base"  // the data at the last rewrite: a dump, or commands
	AOFIncr  = "incr"  // the commands since
	AOFWhole = "whole" // the one file of servers before Redis 7.0
)

// AOFFile is one file of a set.
type AOFFile struct {
	File
	Name        string `json:"name"` // as the set's manifest has it: "appendonly.aof.1.base.rdb"
	Kind        string `json:"kind"` // one of the constants
	Seq         int64  `json:"seq,omitempty"`
	StartOffset *int64 `json:"start_offset,omitempty"` // where the node's manifest says so
	EndOffset   *int64 `json:"end_offset,omitempty"`
	Commands    uint64 `json:"commands"`
	DumpBytes   int64  `json:"dump_bytes,omitempty"` // of the dump it begins with
}

// Objects are the set's objects in the order in which they are written: its
// manifest last.
func (a *AOF) Objects() []File {
	if a == nil {
		return nil
	}
	var files []File
	for _, f := range a.Files {
		files = append(files, f.File)
	}
	if a.ManifestName != "" {
		files = append(files, a.Manifest)
	}
	return files
}

// Content is how many bytes a server loads.
func (a *AOF) Content() int64 {
	var total int64
	for _, f := range a.Files {
		total += f.File.Content().Bytes
	}
	return total
}

// HasAOF tells whether every shard has a set.
func (m *Manifest) HasAOF() bool {
	return len(m.Shards) > 0 && !slices.ContainsFunc(m.Shards, func(s Shard) bool { return s.AOF == nil })
}

// validate finds what is incoherent in a set.
func (a *AOF) validate() []error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf("aof: "+format, args...)) }
	if (a.ManifestName == "") != (a.Manifest == File{}) {
		report("its manifest has a name and no object, or an object and no name")
	}
	if len(a.Files) == 0 {
		report("it names no file")
	}
	names := map[string]bool{a.ManifestName: true}
	lastSeq := int64(0)
	for i, f := range a.Files {
		switch {
		case names[f.Name] || f.Name == "" || path.Base(f.Name) != f.Name || storage.CheckName(f.Name) != nil:
			report("%q is no name of a file of its own", f.Name)
		case f.Kind == AOFWhole && (a.ManifestName != "" || len(a.Files) > 1):
			report("%s is a set of one file, and there is more", f.Name)
		case f.Kind == AOFBase && (i > 0 || a.ManifestName == ""), f.Kind == AOFIncr && (f.Seq <= lastSeq || a.ManifestName == ""):
			report("%s stands in no order that a server loads", f.Name)
		case f.Kind != AOFBase && f.Kind != AOFIncr && f.Kind != AOFWhole:
			report("%s is of the kind %q", f.Name, f.Kind)
		}
		names[f.Name] = true
		if f.Kind == AOFIncr {
			lastSeq = f.Seq
		}
	}
	if a.ManifestName != "" && !strings.HasSuffix(a.ManifestName, ".manifest") {
		report("%q is no name of a manifest", a.ManifestName)
	}
	return problems
}
