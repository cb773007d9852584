// Package tidy is a test that keeps the tree in order: which package may import
// which, how long files and functions grow, which calls belong in one place
// only.
//
// Invariant: every rule here is one that a machine can decide from the source
// alone, and every rule has a case in cases_test.go that makes it speak exactly
// once. A check that cannot fail is a defect.
//
// To add a package, give it a line in [layers]. To add a rule, write it beside
// its kind (imports.go, calls.go, shape.go, words.go) and its case in
// cases_test.go.
package tidy
