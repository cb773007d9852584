// Package hint attaches to an error the sentence that tells a person what to
// do next.
//
// Invariant: a hint never changes what an error is: errors.Is and errors.As
// see through it.
package hint
