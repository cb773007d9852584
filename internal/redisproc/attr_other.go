//go:build !linux

package redisproc

import "syscall"

// attributes are the default ones: only Linux ties a child's life to its
// parent's. Elsewhere a killed parent leaves its servers behind.
func attributes(bool) *syscall.SysProcAttr { return nil }
