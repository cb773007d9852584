// Package storagetest runs the checks of package contract as the conformance
// suite that every store passes, and has a store in memory for tests of what is
// built on stores.
//
// Invariant: a store that passes may be used for backups.
package storagetest
