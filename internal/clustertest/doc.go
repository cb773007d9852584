// Package clustertest starts real Redis clusters for tests.
//
// Invariant: a cluster it hands out is whole, cluster_state is ok on every node
// and every replica is linked; and nothing of it is left when the test ends.
//
// A cluster is formed by writing each node's nodes.conf before it starts. That
// saves the meeting of the nodes and the gossip that spreads the slots; what
// remains is the two seconds for which a starting node refuses to serve
// (CLUSTER_WRITABLE_DELAY).
package clustertest
