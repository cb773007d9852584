// Package fault is a store that goes wrong at one chosen call, for tests: each
// kind of fault at each call in turn is how what stands on a store is shown to
// be right or to fail, and never to lie.
//
// Invariant: a store with a fault does at one call what its [Kind] says, and is
// the store beneath it at all others.
package fault
