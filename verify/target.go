package verify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/hint"
)

// ErrNothing is returned for a folder that holds nothing to verify.
var ErrNothing = errors.New("nothing to verify")

// Target is one thing to be verified that lies in no repository.
type Target struct {
	Path       string
	AppendOnly bool // for [AppendOnly]; else for [File]
}

// Found is what a path stands for.
type Found struct {
	Targets    []Target
	Folder     bool     // the path is a folder that holds them, not the one itself
	Unfinished []string // names of dumps in it that a server did not write to their end
}

// Find settles what is to be verified at a path: a dump; append-only files, by
// their folder, their manifest or the one old file; or all of these that a
// folder holds, such as a server's data folder. Only a folder's own entries are
// looked at, and the sets that lie directly in it. A file that is neither is
// for [File], which says what is wrong with it.
func Find(path string) (*Found, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("verify %s: it is neither a file nor a folder", path)
	}
	if !info.IsDir() {
		appendOnly, err := isAppendOnly(path)
		return &Found{Targets: []Target{{path, appendOnly}}}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if holdsManifest(entries) {
		return &Found{Targets: []Target{{path, true}}}, nil
	}
	found := &Found{Folder: true}
	for _, entry := range entries {
		if err := found.consider(path, entry); err != nil {
			return nil, err
		}
	}
	if len(found.Targets) == 0 {
		return nil, nothing(path, found, entries)
	}
	return found, nil
}

// nothing is the error of a folder without a target.
func nothing(path string, found *Found, entries []os.DirEntry) error {
	err := fmt.Errorf("verify %s: %w in this folder: no dump and no append-only files", path, ErrNothing)
	if len(found.Unfinished) > 0 {
		err = fmt.Errorf("%w (but %s, not written to its end)", err, found.Unfinished[0])
	}
	for _, entry := range entries {
		if entry.Name() == "slotark.json" {
			return hint.Add(err, "This is a repository: slotark verify latest --repo "+path)
		}
	}
	return hint.Add(err, "Name a dump, a server's data folder (its dir), or its appendonlydir.")
}

// holdsManifest tells a folder of append-only files.
func holdsManifest(entries []os.DirEntry) bool {
	for _, entry := range entries {
		if !entry.IsDir() && strings.HasSuffix(entry.Name(), ".manifest") && !strings.HasPrefix(entry.Name(), "temp-") {
			return true
		}
	}
	return false
}

// consider adds what an entry of a folder is, if it is anything to be verified.
func (f *Found) consider(folder string, entry os.DirEntry) error {
	path := filepath.Join(folder, entry.Name())
	info, err := os.Stat(path) // what a link leads to
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil // it went away, or leads nowhere
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case info.IsDir():
		inside, err := os.ReadDir(path)
		if err == nil && holdsManifest(inside) {
			f.Targets = append(f.Targets, Target{path, true})
		}
		return ignorePermission(err)
	case !info.Mode().IsRegular():
		return nil
	case strings.HasPrefix(entry.Name(), "temp-") && filepath.Ext(entry.Name()) == ".rdb":
		f.Unfinished = append(f.Unfinished, entry.Name())
		return nil
	case filepath.Ext(entry.Name()) == ".aof":
		f.Targets = append(f.Targets, Target{path, true})
		return nil
	}
	isDump := filepath.Ext(entry.Name()) == ".rdb"
	if !isDump {
		head, err := headOf(path)
		if err != nil {
			return ignorePermission(err)
		}
		isDump = aof.BeginsDump(head)
	}
	if isDump {
		f.Targets = append(f.Targets, Target{path, false})
	}
	return nil
}

// ignorePermission passes over what may not be read and is not known to be
// meant: another's folder beside the dumps, a key file.
func ignorePermission(err error) error {
	if err == nil || errors.Is(err, os.ErrPermission) {
		return nil
	}
	return fmt.Errorf("verify: %w", err)
}

// isAppendOnly tells a manifest or a file of commands from what is for [File].
func isAppendOnly(path string) (bool, error) {
	name := filepath.Base(path)
	if strings.HasSuffix(name, ".manifest") || strings.HasSuffix(name, ".aof") {
		return true, nil
	}
	head, err := headOf(path)
	if err != nil {
		return false, fmt.Errorf("verify: %w", err)
	}
	// A manifest, a command, or an annotation such as #TS:.
	return strings.HasPrefix(string(head), "file ") || len(head) > 0 && (head[0] == '*' || head[0] == '#'), nil
}

// headOf reads the first bytes of a file, or as many as it has.
func headOf(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 8)
	n, err := io.ReadFull(file, head)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return head[:n], errors.Join(err, file.Close())
}
