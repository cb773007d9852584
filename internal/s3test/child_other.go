//go:build !linux

package s3test

import "syscall"

// Only Linux can tie a child's life to its parent's; elsewhere Stop must do.
func childAttributes() *syscall.SysProcAttr { return nil }
