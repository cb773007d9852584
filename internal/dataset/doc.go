// Package dataset fills a cluster with keys of every type and encoding that a
// dump can hold, for demonstrations and tests.
//
// Invariant: the keys, their values and their expiry in milliseconds from the
// moment they are written depend on [Options] only, not on the cluster's shape.
// (Two things a server stamps itself: when a stream's consumer was last seen,
// and the instant from which an expiry counts.)
//
// Which encoding a value gets is the server's choice by its size; the sizes
// here lie clearly on one side of the default limits of Redis 6.2 to 8 and
// Valkey 7.2 to 9.
package dataset
