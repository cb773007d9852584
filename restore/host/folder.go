package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/preflight"
	"golang.org/x/sys/unix"
)

// freeIn is how many bytes are free on a folder's file system.
func freeIn(folder string) (int64, error) {
	free, ok := preflight.FreeBytes(folder)
	if !ok {
		return 0, errors.New("how much is free on its disk cannot be told")
	}
	return free, nil
}

func writable(folder string) bool { return unix.Access(folder, unix.W_OK|unix.X_OK) == nil }

// owned gives what root has made to whom the node's folder belongs.
func owned(dir, folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	of, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(of.Uid), int(of.Gid))
	})
}

// full adds what to do when the disk is.
func full(err error, folder string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return hint.Add(err, "There is no room left in "+folder+": free some. What the node has is kept beside the restored data until that was compared.")
	}
	return err
}
