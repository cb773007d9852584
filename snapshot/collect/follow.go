package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
)

const (
	// followPause is how long a reader that has all there is waits for more.
	followPause = 10 * time.Millisecond
	// followLimit is how long the child may take to begin its file.
	followLimit = 500 * time.Millisecond
)

// follower reads a dump while the node's child writes it. The file is the
// source's alone once it turned out to be the very file that became the dump, by
// a save that ended well; until then its end is not known, and none is given.
// The file is not embedded: io.Copy would find that it can write itself, and
// take the end of what there is for the dump's.
type follower struct {
	file *os.File
	read int64

	saved chan struct{} // closed when the node has no child any more, and size or err is set
	size  int64
	err   error

	release func() error // of the node, and ends the wait for it
}

// follow opens what the child writes that was just begun; nil where that is not
// sure. Then the save is waited for.
func (s *saving) follow(ctx context.Context) (*os.File, error) {
	// Without a checksum a hole in what was read, as a network's file system may
	// show of a file that grows, would pass for data.
	checked, err := setting(ctx, s.node, "rdbchecksum")
	if err != nil || checked != "yes" {
		return nil, ctx.Err()
	}
	for started := clock.Now(); clock.Since(started) < followLimit; {
		switch found, err := s.childFile(); {
		case err != nil || s.replaced():
			return nil, err
		case found != "":
			file, err := os.Open(found)
			if err != nil { // it may just have become the dump
				return nil, nil
			}
			return file, nil
		}
		if err := (&poll{pollFirst}).next(ctx); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// childFile is the one file of a child that was not there before the save; "" if
// there is none, or more than one.
func (s *saving) childFile() (string, error) {
	all, err := childFiles(s.path)
	found := ""
	for name := range all {
		if s.leftovers[name] {
			continue
		}
		if found != "" {
			return "", err
		}
		found = name
	}
	return found, err
}

// childFiles are the files beside a dump that children write to, before they
// make them the dump (rdbSave in rdb.c): they only ever append.
func childFiles(path string) (map[string]bool, error) {
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, notHere(err)
	}
	found := map[string]bool{}
	for _, e := range entries {
		if is, _ := filepath.Match("temp-*.rdb", e.Name()); is {
			found[filepath.Join(folder, e.Name())] = true
		}
	}
	return found, nil
}

// attach makes the source one that is read while it is written; nil without a
// file.
func (s *saving) attach(ctx context.Context, source *Source, file *os.File) *Source {
	if file == nil {
		return nil
	}
	f := &follower{file: file, saved: make(chan struct{}), release: s.release}
	source.ReadCloser, source.Size, source.Saved = f, -1, f.saved
	go func() {
		defer close(f.saved)
		err := s.await(ctx, source.NotBefore)
		if err == nil {
			f.size, err = s.became(file)
		}
		if err != nil {
			f.err = s.explain(err)
		}
	}()
	return source
}

// became returns the size of the file that has become the dump.
func (s *saving) became(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	dump, err := os.Stat(s.path)
	if err != nil {
		return 0, notHere(err)
	}
	if !os.SameFile(info, dump) {
		return 0, fmt.Errorf("%w: what was read is not what became %s", ErrStale, s.path)
	}
	return info.Size(), nil
}

// Read implements io.Reader. It waits for the child where that is slower.
func (f *follower) Read(p []byte) (int, error) {
	for {
		ended := f.ended() // asked first: what is there then is all there will be
		if ended && f.err != nil {
			return 0, f.err
		}
		n, err := f.file.Read(p)
		f.read += int64(n)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			return 0, err
		}
		if ended && f.read != f.size {
			return 0, fmt.Errorf("read %d bytes of a dump of %d: %w", f.read, f.size, io.ErrUnexpectedEOF)
		}
		if ended {
			return 0, io.EOF
		}
		f.wait()
	}
}

func (f *follower) ended() bool {
	select {
	case <-f.saved:
		return true
	default:
		return false
	}
}

func (f *follower) wait() {
	timer := time.NewTimer(followPause)
	defer timer.Stop()
	select {
	case <-f.saved:
	case <-timer.C:
	}
}

// Close ends the wait for the save, where it is still under way.
func (f *follower) Close() error {
	err := f.release()
	<-f.saved
	return errors.Join(err, f.file.Close())
}

// explained makes an error of a save one that says whose it is, and, of a
// command that was cut short, why it was.
func explained(ctx context.Context, node *cluster.Node) func(error) error {
	return func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // the command knows only of a deadline, not whose
		}
		return fmt.Errorf("bgsave on %s: %w", node.Addr(), err)
	}
}
