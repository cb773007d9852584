// Package source reads the body that a store's Put was given.
//
// Invariant: whose error it was is never lost. A body that fails with
// io.ErrUnexpectedEOF must not be taken for a short last block, and a body
// that fails with "no space left" must not be taken for a full store; both
// have been silent data loss elsewhere.
package source
