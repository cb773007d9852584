package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	tempPrefix  = ".slotark-tmp-"
	bufferBytes = 256 << 10
	// After so many more bytes the disk begins with them. Otherwise most of a
	// large file waits in memory for the Sync at its end, and then who wants the
	// file waits for the disk.
	writeOutBytes = 8 << 20
)

// IsTemp tells whether a file name, without its folder, is that of a
// temporary file of this package.
func IsTemp(base string) bool { return strings.HasPrefix(base, tempPrefix) }

// Create writes body, up to its io.EOF, to a new file with mode 0600. The
// folder must exist. An error is fs.ErrExist when the name is taken. The end
// of ctx is looked at between two reads of body.
func Create(ctx context.Context, path string, body io.Reader) (fs.FileInfo, error) {
	// Asked early so that nobody streams an hour into a name that is taken.
	// What counts is the answer of publish.
	if _, err := os.Lstat(path); err == nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return nil, err
	}
	info, err := fill(ctx, temp, body)
	if err == nil {
		err = publish(temp.Name(), path)
	}
	// A rename has moved the temporary name already, a link has not.
	if removeErr := os.Remove(temp.Name()); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	if err != nil {
		return nil, err
	}
	if err := SyncDir(dir); err != nil {
		// Nobody may trust a name that a power cut can take back.
		return nil, errors.Join(err, os.Remove(path))
	}
	return info, nil
}

// fill writes body to the temporary file, checks it, and closes it.
func fill(ctx context.Context, temp *os.File, body io.Reader) (info fs.FileInfo, err error) {
	defer func() { err = errors.Join(err, temp.Close()) }()
	written, err := copyTo(ctx, temp, body)
	if err != nil {
		return nil, err
	}
	if err := temp.Sync(); err != nil {
		return nil, err
	}
	info, err = temp.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != written {
		return nil, fmt.Errorf("write %s: it holds %d bytes of %d", temp.Name(), info.Size(), written)
	}
	return info, nil
}

// copyTo is io.Copy that ends with ctx, with a buffer large enough that a
// dump of many gigabytes does not drown in system calls.
func copyTo(ctx context.Context, to *os.File, body io.Reader) (written int64, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	f := &filling{ctx: ctx, file: to}
	if self, ok := body.(io.WriterTo); ok { // from where its bytes lie
		return self.WriteTo(f)
	}
	return io.CopyBuffer(f, body, make([]byte, bufferBytes))
}

// filling is a file on its way to the disk.
type filling struct {
	ctx     context.Context
	file    *os.File
	written int64
	begun   int64 // up to where the disk has begun
}

func (f *filling) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	if err != nil {
		return n, err
	}
	if f.written += int64(n); f.written-f.begun >= writeOutBytes {
		writeOut(f.file, f.begun, f.written-f.begun)
		f.begun = f.written
	}
	if f.ctx.Err() != nil {
		return n, context.Cause(f.ctx)
	}
	return n, nil
}

// publish gives the temporary file its name unless the name is taken. After a
// link the temporary name is still there.
func publish(temp, path string) error {
	err := os.Link(temp, path)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		// NFS repeats a request whose answer was lost and then reports that
		// its own first attempt has taken the name.
		if sameFile(temp, path) {
			return nil
		}
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EOPNOTSUPP),
		errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EMLINK):
		// FAT, many FUSE file systems and some network shares have no links.
		return renameNoReplace(temp, path)
	}
	return err
}

func sameFile(a, b string) bool {
	infoA, errA := os.Lstat(a)
	infoB, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	// Some file systems cannot sync a folder and need not.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// MkdirAll is os.MkdirAll that also makes each new folder's name durable.
func MkdirAll(dir string, mode fs.FileMode) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return err
	}
	if err := MkdirAll(parent, mode); err != nil {
		return err
	}
	// Somebody else may make the same folder at the same time.
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}
