package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

var (
	// ErrNotHere is returned when a node's data folder cannot be read from
	// this machine, or is seen not to be that node's. Nothing was asked of the
	// node, or only a BGSAVE that did no harm.
	ErrNotHere = errors.New("the node's data folder cannot be read from here")
	// ErrStale is returned when a node says that it saved, and no new dump
	// came of it.
	ErrStale = errors.New("the dump is not of this run")
)

// BgsaveOptions bounds a collection from the data folder.
type BgsaveOptions struct {
	Folder string        // where the node's "dir" is seen from here; "" asks the node
	Limit  time.Duration // for the whole save, another one in its way included. Default 30 minutes
	// Silence is how long the node may take to answer: it forks inside BGSAVE,
	// and serves nobody meanwhile. Default 1 minute.
	Silence time.Duration
	AOF     *AOFOptions // also the append-only files, in Source.AOF; nil: not
	// Follow lets the dump be read while the node's child still writes it, so that
	// it takes hardly longer than the save. The source's size is not known then,
	// and a save that fails is an error of its Read.
	Follow bool
}

const defaultSaveLimit = 30 * time.Minute

// Bgsave has a node save and opens the dump in its data folder. It believes
// nothing but evidence: BGSAVE's reply, then rdb_bgsave_in_progress 0,
// rdb_last_bgsave_status ok, rdb_last_save_time not before the request, and a
// dump file that is another file than before. The open file stays whole
// whatever the node saves later, because Redis replaces dump.rdb by rename.
func Bgsave(ctx context.Context, access *cluster.Access, addr string, o BgsaveOptions) (*Source, error) {
	if o.Limit == 0 {
		o.Limit = defaultSaveLimit
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limit, fmt.Errorf("the save took over %s", o.Limit))
	patient := *access
	patient.Timeout = o.Silence
	node := patient.Open(addr)
	s := &saving{node: node, explain: explained(ctx, node), release: func() error {
		cancel()
		return node.Close()
	}}
	source, err := s.bgsave(ctx, o)
	if err != nil {
		err = s.explain(err) // before what release does to the context
	}
	if source == nil || source.Saved == nil {
		_ = s.release() // a connection that was of use has no more to say
	}
	return source, err
}

// saving is one save on its way.
type saving struct {
	node      *cluster.Node
	path      string          // of the dump
	before    os.FileInfo     // the dump as it was; nil: there was none
	leftovers map[string]bool // files of children that were there before
	save      func(context.Context) error
	explain   func(error) error
	release   func() error // of node, and ends what waits for it
}

func (s *saving) bgsave(ctx context.Context, o BgsaveOptions) (source *Source, err error) {
	path, err := dumpPath(ctx, s.node, o.Folder)
	if err != nil {
		return nil, err
	}
	s.path, s.save = path, s.bare
	if s.before, err = look(path); err != nil {
		return nil, err
	}
	if s.leftovers, err = childFiles(path); err != nil {
		return nil, err
	}
	if o.AOF == nil {
		source, err = s.trigger(ctx)
	} else {
		source, err = s.triggerWithAOF(ctx, filepath.Dir(path), *o.AOF)
	}
	if err != nil {
		return nil, err
	}
	set := source.AOF
	defer func() {
		if err != nil && set != nil {
			err = errors.Join(err, set.Close())
		}
	}()
	if o.Follow {
		if file, err := s.follow(ctx); file != nil || err != nil {
			return s.attach(ctx, source, file), err
		}
	}
	if err = s.await(ctx, source.NotBefore); err != nil {
		return nil, err
	}
	if err = source.open(path, s.before); err != nil {
		return nil, err
	}
	return source, nil
}

// bare is BGSAVE and nothing else.
func (s *saving) bare(ctx context.Context) error {
	_, err := s.node.Do(ctx, "BGSAVE")
	return err
}

// triggerWithAOF starts a save and holds the append-only files as they are at
// its fork. While the child runs, nobody's rewrite can begin.
func (s *saving) triggerWithAOF(ctx context.Context, dir string, o AOFOptions) (source *Source, err error) {
	set, err := beginAOF(ctx, s.node, dir, o)
	var fork *aofPoint
	if err == nil {
		s.save = func(ctx context.Context) (err error) {
			fork, err = saveAt(ctx, s.node)
			return err
		}
		source, err = s.trigger(ctx)
	}
	if err == nil {
		err = set.link(ctx, s.node, dir, fork)
	}
	if back := set.switchBack(ctx); back != nil {
		// The record stays where the next run finds it.
		set.folder = ""
		err = errors.Join(err, back)
	}
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	if source.AOF = set; fork != nil {
		source.ReplID, source.ReplOffset, source.Exact = fork.replID, fork.offset, true
	}
	return source, nil
}

// dumpPath asks the node where its dump is.
func dumpPath(ctx context.Context, node *cluster.Node, folder string) (string, error) {
	name, err := setting(ctx, node, "dbfilename")
	if err == nil && folder == "" {
		folder, err = setting(ctx, node, "dir")
	}
	if err != nil {
		return "", hint.Add(fmt.Errorf("ask %s for its data folder: %w", node.Addr(), err),
			"give the user the ACL rule +config|get, or collect over the wire: --collect stream")
	}
	if folder == "" { // the node's getcwd failed
		return "", notHere(fmt.Errorf("%s has lost its working folder", node.Addr()))
	}
	if name != filepath.Base(name) { // a server never lets it be a path: this one would have us read something else
		return "", fmt.Errorf("%s says that its dump is called %q, which is no name of a file", node.Addr(), name)
	}
	return filepath.Join(folder, name), nil
}

// setting reads one setting of a node. CONFIG GET takes several names only
// since 7.0.
func setting(ctx context.Context, node *cluster.Node, name string) (string, error) {
	reply, err := node.Do(ctx, "CONFIG", "GET", name)
	if err != nil {
		return "", err
	}
	pair, ok := reply.([]any)
	if !ok || len(pair) != 2 {
		return "", fmt.Errorf("the node knows no setting %q", name)
	}
	value, ok := pair[1].(string)
	if !ok {
		return "", fmt.Errorf("setting %q is no text", name)
	}
	return value, nil
}

// Here tells whether a node's data folder is one of this machine that can be
// read. It asks the node, and has it do nothing.
func Here(ctx context.Context, access *cluster.Access, addr, folder string) bool {
	node := access.Open(addr)
	defer node.Close()
	path, err := dumpPath(ctx, node, folder)
	if err != nil {
		return false
	}
	_, err = look(path)
	return err == nil
}

// look describes the dump as it is now: nil where the node has none yet. It
// is an error when the folder cannot be read.
func look(path string) (os.FileInfo, error) {
	if _, err := os.ReadDir(filepath.Dir(path)); err != nil {
		return nil, notHere(err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, notHere(err)
	}
	return info, nil
}

func notHere(err error) error {
	return hint.Add(fmt.Errorf("%w: %w", ErrNotHere, err),
		"run slotark on the node's machine, name the folder as it is seen from here (--data-dir ADDR=FOLDER), or collect over the wire: --collect stream")
}

// open opens the dump and makes sure that it is a new file.
func (s *Source) open(path string, before os.FileInfo) error {
	file, err := os.Open(path)
	if err != nil {
		return notHere(err)
	}
	after, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if sameFile(before, after) {
		return errors.Join(notHere(fmt.Errorf("%s did not change with the save, so it is not this node's dump", path)), file.Close())
	}
	s.Size = after.Size()
	s.ReadCloser = file
	return nil
}
