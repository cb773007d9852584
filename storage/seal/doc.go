// Package seal turns the bytes of an object into those that a store keeps, and
// back: compressed by zstd, then encrypted by age to public keys. It knows
// nothing of Redis, and nothing in it needs a private key to seal.
//
// Invariant: what comes out of Unseal was authenticated, piece by piece, before
// it is handed on, and the end is given only when the whole was there. Sealing
// gives its end only when the source gave its own. Both stream, in memory that
// does not depend on the size of the object.
//
// With a small window, as the fastest level has, an object is compressed in frames of a
// megabyte, with a table of them behind (table.go): they are opened side by side, and
// OpenParts opens any place without what stands before it. With a larger window an object
// is one stream.
//
// Anything sealed here opens with the programs `age` and `zstd` alone.
package seal
