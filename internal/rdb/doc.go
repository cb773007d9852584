// Package rdb reads the dumps that Redis and Valkey write: reader, records,
// values, as librdb names them.
//
// Invariant: a length from a file is never believed before it is checked
// against what can remain, and what is not understood is damage that names its
// offset, never a guess.
package rdb
