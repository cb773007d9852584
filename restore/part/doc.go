// Package part takes some keys out of a snapshot: into a running cluster, whose
// other keys it does not touch, or into a file.
//
// Invariant: nothing is written anywhere before it was found to be what the
// snapshot's manifest says: every dump that was looked into was read to its end; or,
// of a few slots, as they are where keys are given by name, all their keys were
// found, and come to the digests of the slot index (indexed.go): of a dump that was
// written slot by slot nothing else is fetched. A copy that is not is passed over for
// the next store's, and named.
//
//  1. prove: the dumps whose slots may hold such keys are read, and the keys
//     counted. As many values as memory is given to are kept; where there are
//     more, the dumps are read a second time, from the stores that were whole.
//  2. compare: each key is held against the cluster's own, by type, value and
//     expiry (see rdb.Digest). What is equal is left alone, so doing it again
//     after an interruption goes on where it ended.
//  3. write: what is missing by RESTORE; what is there and differs as
//     [Options].Existing says. With Fail the whole comparison comes first, and
//     one key that differs refuses all.
//  4. read back: what was written is compared again. A key that differs was
//     written by somebody else meanwhile, and is a finding.
//
// A key whose expiry has passed is left out: RESTORE with REPLACE would delete
// what is there now.
package part
