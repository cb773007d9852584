//go:build !linux

package rdb

func adviseHuge([]uint64) {}
