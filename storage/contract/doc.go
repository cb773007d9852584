// Package contract is the contract of [storage.Store] as checks that are plain
// functions: the conformance suite of every store runs them in tests, and
// `slotark storage check` against a person's own bucket or folder. So the two
// cannot drift apart.
//
// Invariant: each line of the contract has a check that fails when the line is
// broken. A check touches nothing outside the store it is given, which is
// empty; see [Below].
package contract
