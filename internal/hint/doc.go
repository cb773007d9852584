// Package hint attaches to an error the sentence that tells a person what to
// do next.
//
// It also marks two things that a person must be able to tell apart whatever
// went wrong: that a guard refused, so nothing was changed ([Refuse]), and that
// something of what was begun is left behind ([Left]).
//
// Invariant: a hint never changes what an error is: errors.Is and errors.As
// see through it.
package hint
