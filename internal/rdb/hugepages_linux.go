package rdb

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of one where Linux has two sizes of pages.
const hugePage = 2 << 20

// adviseHuge asks for large pages under a table that is looked up all over: it
// has then some twenty of them, which a processor remembers, where it had ten
// thousand. It is advice: nothing depends on its being taken.
func adviseHuge(table []uint64) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(table))), 8*len(table))
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(table))) % hugePage
	if whole := (len(bytes) - int(skip)) / hugePage * hugePage; whole > 0 {
		_ = unix.Madvise(bytes[skip:][:whole], unix.MADV_HUGEPAGE)
	}
}
