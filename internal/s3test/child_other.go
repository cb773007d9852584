//go:build !linux

package s3test

import (
	"syscall"
	"testing"
)

// Only Linux can tie a child's life to its parent's; elsewhere Stop must do.
func childAttributes() *syscall.SysProcAttr { return nil }

// awaitStopped has nothing to look at where there is no /proc.
func awaitStopped(testing.TB, int) {}
