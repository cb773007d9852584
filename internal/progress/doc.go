// Package progress carries what a long verb is doing to whoever shows it.
//
// Invariant: the verbs work the same with nobody listening: a nil [Func] is
// valid and costs nothing.
package progress
