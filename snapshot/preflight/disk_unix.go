//go:build linux || darwin || freebsd

package preflight

import "syscall"

// FreeBytes is what is free on the disk of a folder, for who is not root.
func FreeBytes(path string) (int64, bool) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(path, &disk); err != nil {
		return 0, false
	}
	return int64(disk.Bavail) * int64(disk.Bsize), true
}
