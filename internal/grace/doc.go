// Package grace lets work that is better ended than cut off come to its end.
//
// Invariant: what is granted is bounded. However a context ends, the one
// derived from it ends a fixed time later.
package grace
