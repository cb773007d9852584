//go:build linux || darwin || freebsd

package collect

import (
	"os"
	"syscall"
)

// lockFolder makes a private folder known as one that is in use, for as long as
// the file that it returns is open and this process lives. It fails where
// somebody else has it.
func lockFolder(path string) (*os.File, error) {
	folder, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = folder.Close() // nothing was written
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return folder, nil
}

// inUse tells whether an error of lockFolder means that another run holds it.
// Disks that know no locks answer otherwise.
func inUse(err error) bool {
	path, ok := err.(*os.PathError)
	return ok && path.Err == syscall.EWOULDBLOCK
}
