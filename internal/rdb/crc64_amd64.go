package rdb

import "golang.org/x/sys/cpu"

// canFold tells whether foldCRC64 can be called: all processors since 2010.
var canFold = cpu.X86.HasPCLMULQDQ

// foldCRC64 returns sixteen bytes with the checksum of those behind crc
// followed by p, whose length is a multiple of foldBlock and not zero.
//
//go:noescape
func foldCRC64(crc uint64, p []byte) (first, second uint64)
