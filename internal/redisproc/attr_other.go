//go:build !linux

package redisproc

import "syscall"

// attributes put the child in a process group of its own. Only Linux ties a
// child's life to its parent's: elsewhere a killed parent leaves its servers behind.
func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
