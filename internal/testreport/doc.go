// Command testreport runs `go test` with the arguments it is given and shows
// what came of it: a line for each package as it ends, the whole output of what
// failed, and as the last line, alone,
//
//	N passed, N failed, N skipped
//
// A test with subtests counts as its subtests. What fails outside a test (a
// build, a panic in TestMain, a time limit) counts as one failed, and so does
// each word of TESTREPORT_FAILED, the names of checks that ran before.
//
// Invariant: it ends with 0 only if `go test` did and no test failed, and, with
// CI=true in the environment, none was skipped.
package main
