package rdb_test

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain collects garbage late: the tests read hundreds of thousands of small
// dumps, and most of their time went into clearing up after each few of them.
func TestMain(m *testing.M) {
	debug.SetGCPercent(1600)
	debug.SetMemoryLimit(512 << 20) // for those that read large ones
	os.Exit(m.Run())
}
