// Package readahead reads a source in a goroutine of its own, a few blocks
// ahead of who reads from it, so that waiting for the source, or the kernel's
// copying, and what is done with the bytes happen at the same time.
//
// Invariant: what is read is what the source gave, in its order, and the
// source's error comes after the last byte before it. The goroutine ends with
// [Reader.Close] at the latest, and memory is a fixed number of blocks.
package readahead
