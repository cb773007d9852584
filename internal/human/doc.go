// Package human writes numbers, sizes and times the way a person reads them.
//
// Invariant: one form for each kind of figure, wherever it is shown, so that
// two outputs can be compared at a glance.
package human
