package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeOut has the kernel begin to bring a part of the file to the disk. Where
// it cannot, the Sync at the end does everything; and of an error on the way
// that one tells.
func writeOut(file *os.File, offset, length int64) {
	_ = unix.SyncFileRange(int(file.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}
