package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
)

// explain turns an error of the operating system into one of package storage,
// with what a person can do about it.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint.Add(fmt.Errorf("%w: %w", storage.ErrFull, reason(err)),
			"Free some space below "+s.root+", or give it a larger disk or quota.")
	case errors.Is(err, syscall.EROFS):
		return hint.Add(fmt.Errorf("%w: %w", storage.ErrDenied, reason(err)),
			"Mount the file system of "+s.root+" writable.")
	case errors.Is(err, iofs.ErrPermission):
		return hint.Add(fmt.Errorf("%w: %w", storage.ErrDenied, reason(err)),
			fmt.Sprintf("Let user id %d read and write below %s.", os.Geteuid(), s.root))
	case errors.Is(err, iofs.ErrExist):
		return storage.ErrExists
	case errors.Is(err, iofs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return s.missing(err)
	}
	return err
}

// missing tells a missing object from a missing store.
func (s *Store) missing(err error) error {
	info, rootErr := os.Stat(s.root)
	switch {
	case rootErr == nil && info.IsDir():
		// ENOTDIR on a write means that an object is where a folder must be.
		if pathErr := (*iofs.PathError)(nil); errors.As(err, &pathErr) && pathErr.Op == "mkdir" {
			return reason(err)
		}
		return storage.ErrNotFound
	case rootErr == nil, errors.Is(rootErr, syscall.ENOTDIR):
		return hint.Add(fmt.Errorf("%w: %s is not a folder", storage.ErrNoStore, s.root),
			"Name a folder; it is made if it does not exist.")
	case errors.Is(rootErr, iofs.ErrPermission):
		return s.explain(rootErr)
	}
	return hint.Add(fmt.Errorf("%w: the folder %s does not exist", storage.ErrNoStore, s.root),
		"Check the path. The first snapshot makes the folder.")
}

// reason is the error without the path, which may be that of a temporary
// file; the object's name is in the message already.
func reason(err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}
