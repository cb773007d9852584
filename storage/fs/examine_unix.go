//go:build linux || darwin || freebsd

package fs

import (
	"context"
	"syscall"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage/contract"
)

const (
	// Below so many bytes, or this part of the disk, a person should look.
	scarceBytes   = 1 << 30
	scarceHundred = 10
)

// Examine implements [contract.Witness]: how much room there is.
func (s *Store) Examine(context.Context, string) []contract.Finding {
	f := contract.Finding{Check: "free space", Result: contract.OK}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.root, &disk); err != nil {
		f.Result, f.Detail = contract.Warn, s.explain(err).Error()
		return []contract.Finding{f}
	}
	free, all := uint64(disk.Bavail)*uint64(disk.Bsize), uint64(disk.Blocks)*uint64(disk.Bsize)
	f.Detail = human.Size(int64(free)) + " of " + human.Size(int64(all))
	if free < scarceBytes || free < all/100*scarceHundred {
		f.Result, f.Advice = contract.Warn, "Free some, or prune: a snapshot that finds no room fails."
	}
	return []contract.Finding{f}
}
