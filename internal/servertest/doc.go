// Package servertest gives tests the servers of several versions, and holds what
// a parser says of damaged files against what their tools say of them.
//
// Invariant: the machine's own server always takes part; those of SLOTARK_SERVERS
// join it where that is set, and a test that needs four versions has those that
// scripts/images.sh unpacks. A comparison explains each disagreement by a table
// of the test, or fails with the seed that repeats it.
package servertest
