// Package catalog is the snapshots of a repository and what is known of them:
// which store has each, what was verified, what was drilled.
//
// Invariant: nothing here is stored twice. A snapshot exists in a store when
// its manifest is there, because the manifest is written last; what a snapshot
// is worth is read from the records of verifications and drills.
package catalog
