// Package s3test starts a real S3 server, versitygw, for one test.
//
// Invariant: nothing outlives the test: the server is a child that dies with
// this process even when that is killed, its data is in the test's own
// folder, and it listens on loopback only.
//
// A missing binary fails the test and never skips it: what is not tested
// against a server is not tested.
package s3test
