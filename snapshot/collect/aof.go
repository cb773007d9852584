package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

var (
	// ErrNoAOF is returned for a node that writes no append-only files, or whose
	// files cannot be had: asking again does not help.
	ErrNoAOF = errors.New("no append-only files to be had")
	// errRewritten is a rewrite of somebody else that came in between.
	errRewritten = fmt.Errorf("%w: its append-only files were rewritten meanwhile", ErrStale)
)

// RewriteSetting is the setting that is 0 while files are linked.
const RewriteSetting = "auto-aof-rewrite-percentage"

// AOFOptions ask for a node's append-only files beside its dump.
type AOFOptions struct {
	Node     string // node id
	Snapshot string // id: the private folder is called after it
	// Recorded is the value of RewriteSetting that the run has recorded where the
	// next run finds it; "" where it has recorded none.
	Recorded string
}

// AOFSet is what a node had written of its append-only files, held open. The
// files are never changed below their sizes: a server only appends, or puts
// others in their place.
type AOFSet struct {
	ManifestName string // "" for the one file of servers before Redis 7.0
	Files        []*LinkedFile
	// Aligned tells whether the set ends at the very byte that the node had
	// written, or had ready to be written, when it forked for the dump.
	Aligned bool
	Offset  int64     // the node's replication offset there
	Linked  time.Time // on our clock

	folder  string   // private, "" where none could be made
	lock    *os.File // by which others see that it is in use
	rewrite *rewriting
}

// LinkedFile is one file of a set.
type LinkedFile struct {
	aof.Entry
	*os.File
	Bytes int64 // that belong to the set
	Held  int64 // that the file had when it was last looked at
}

// AOFValue asks a node whether it writes append-only files, and for its value
// of RewriteSetting. It has the node do nothing.
func AOFValue(ctx context.Context, access *cluster.Access, addr string) (string, error) {
	node := access.Open(addr)
	defer node.Close()
	return aofValue(ctx, node)
}

func aofValue(ctx context.Context, node *cluster.Node) (string, error) {
	on, err := setting(ctx, node, "appendonly")
	if err == nil && on != "yes" {
		return "", hint.Add(fmt.Errorf("%w on %s: it runs with appendonly %s", ErrNoAOF, node.Addr(), on),
			"turn it on there (CONFIG SET appendonly yes), or take the snapshot without --aof")
	}
	var value string
	if err == nil {
		value, err = setting(ctx, node, RewriteSetting)
	}
	if err != nil {
		return "", hint.Add(fmt.Errorf("ask %s for its append-only files: %w", node.Addr(), err), "give the user the ACL rules +config|get and +config|set")
	}
	return value, nil
}

// beginAOF makes a node ready: what a run that died has left is put in order, the
// private folder and the record are made, and automatic rewrites are off. What it
// returns is to be closed, also beside an error.
func beginAOF(ctx context.Context, node *cluster.Node, dir string, o AOFOptions) (*AOFSet, error) {
	set := &AOFSet{}
	if _, err := aofValue(ctx, node); err != nil {
		return set, err
	}
	if err := RepairFolder(ctx, node, dir, o.Node); err != nil {
		return set, err
	}
	value, err := aofValue(ctx, node)
	if err != nil {
		return set, err
	}
	set.folder = filepath.Join(dir, PrivatePrefix+o.Snapshot)
	if err := os.Mkdir(set.folder, 0o700); err != nil {
		set.folder = "" // a folder that may only be read: open files are as good on its own disk
	} else if set.lock, err = lockFolder(set.folder); inUse(err) {
		set.folder = "" // another run has just found it without a lock, and removes it
	}
	set.rewrite = &rewriting{node: node, value: value}
	if value == "0" {
		return set, awaitRewrite(ctx, node)
	}
	recorded := o.Recorded == value
	if set.folder != "" {
		if err := writeIntent(ctx, set.folder, Intent{Node: o.Node, Address: node.Addr(), Value: value, Snapshot: o.Snapshot, Begun: clock.Now()}); err != nil {
			return set, err
		}
		recorded = true
	}
	if !recorded {
		return set, hint.Add(fmt.Errorf("%s of %s was changed from %q to %q meanwhile", RewriteSetting, node.Addr(), o.Recorded, value), "take the snapshot again")
	}
	if err := set.rewrite.off(ctx); err != nil {
		return set, err
	}
	return set, awaitRewrite(ctx, node)
}

// awaitRewrite waits until no rewrite runs or is about to.
func awaitRewrite(ctx context.Context, node *cluster.Node) error {
	wait := newPoll()
	for {
		info, err := node.Info(ctx, "persistence")
		switch {
		case err != nil:
			return err
		case info["aof_last_write_status"] == "err":
			return hint.Add(fmt.Errorf("%w on %s: aof_last_write_status is err", ErrNoAOF, node.Addr()), "look at the node's log: most often its disk is full")
		case info.Int("aof_rewrite_in_progress") == 0 && info.Int("aof_rewrite_scheduled") == 0:
			return nil
		}
		if err := wait.next(ctx); err != nil {
			return fmt.Errorf("a rewrite of the append-only files is running: %w", err)
		}
	}
}

// link opens and links the files that the manifest names, settles how much of
// them the dump holds, and looks that the manifest is what it was.
func (s *AOFSet) link(ctx context.Context, node *cluster.Node, dir string, fork *aofPoint) error {
	name, err := setting(ctx, node, "appendfilename")
	if err != nil {
		return err
	}
	files, folder := s.linkOld, dir
	if sub, err := setting(ctx, node, "appenddirname"); err == nil { // Redis 7.0
		files, folder = s.linkAll, filepath.Join(dir, sub)
	}
	unchanged, err := files(folder, name)
	if err != nil {
		return err
	}
	s.Linked = clock.Now()
	if err := s.align(ctx, node, fork); err != nil {
		return err
	}
	return unchanged()
}

// linkAll links the files of a manifest. What it returns tells whether the
// manifest is still the same.
func (s *AOFSet) linkAll(folder, name string) (unchanged func() error, err error) {
	s.ManifestName = name + ".manifest"
	path := filepath.Join(folder, s.ManifestName)
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, notHere(err)
	}
	parsed, err := aof.ParseManifest(strings.NewReader(string(before)))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for _, entry := range parsed.Loaded() {
		if err := s.add(folder, entry); err != nil {
			return nil, err
		}
	}
	if len(s.Files) == 0 {
		return nil, fmt.Errorf("%w: %s names no file to be loaded", ErrNoAOF, path)
	}
	return func() error {
		after, err := os.ReadFile(path)
		if err != nil {
			return notHere(err)
		}
		if string(after) != string(before) {
			return errRewritten
		}
		return nil
	}, nil
}

// linkOld links the one file of servers before Redis 7.0, which a rewrite
// replaces.
func (s *AOFSet) linkOld(folder, name string) (unchanged func() error, err error) {
	if err := s.add(folder, aof.Entry{Name: name, StartOffset: aof.NoOffset, EndOffset: aof.NoOffset}); err != nil {
		return nil, err
	}
	return func() error {
		now, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			return notHere(err)
		}
		held, err := s.Files[0].Stat()
		if err != nil {
			return err
		}
		if !os.SameFile(now, held) {
			return errRewritten
		}
		return nil
	}, nil
}

// add opens one file, and links it where there is a folder on its disk.
func (s *AOFSet) add(folder string, entry aof.Entry) error {
	path := filepath.Join(folder, entry.Name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%s is gone)", errRewritten, entry.Name)
	}
	if err != nil {
		return notHere(err)
	}
	s.Files = append(s.Files, &LinkedFile{Entry: entry, File: file})
	if s.folder != "" {
		// Where it cannot be linked, as over two disks or for want of a right, the
		// open file has to do.
		_ = os.Link(path, filepath.Join(s.folder, entry.Name))
	}
	return nil
}

// look learns the files' sizes and returns their sum.
func (s *AOFSet) look() (total int64, err error) {
	for _, f := range s.Files {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		f.Held = info.Size()
		total += f.Held
	}
	return total, nil
}

// SwitchBack gives the node its own value of RewriteSetting back, unless
// somebody has set another meanwhile. It also works when ctx has ended.
func (s *AOFSet) switchBack(ctx context.Context) error {
	if s.rewrite == nil {
		return nil
	}
	return s.rewrite.back(ctx)
}

// Close closes the files and removes the private folder.
func (s *AOFSet) Close() error {
	var failures []error
	for _, f := range s.Files {
		failures = append(failures, f.File.Close())
	}
	if s.folder != "" {
		failures = append(failures, os.RemoveAll(s.folder))
	}
	if s.lock != nil {
		failures = append(failures, s.lock.Close())
	}
	return errors.Join(failures...)
}
