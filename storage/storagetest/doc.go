// Package storagetest is the conformance suite that every store passes, and a
// store in memory for tests of what is built on stores.
//
// Invariant: each line of the contract of [storage.Store] has a subtest that
// fails when the line is broken. A store that passes may be used for backups.
package storagetest
