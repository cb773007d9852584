// Package cluster talks to the nodes of a Redis or Valkey cluster and reads
// from them who owns which slot.
//
// Invariant: a [Topology] is what every reachable node said, not what one node
// believes. Where views differ, [Discover] returns an error and no topology;
// so a caller never has to ask itself whose view it holds.
//
// # How a topology is found
//
//  1. The seeds are tried in turn; the first that answers names all nodes.
//  2. Every node is asked, in parallel, in one round trip each: CLUSTER NODES,
//     CLUSTER INFO, CLUSTER SHARDS (7.0 and later), INFO server, replication,
//     persistence and memory. The last tells of atomic slot migrations of
//     Valkey 9, as CLUSTER INFO does of those of Redis 8.4; only a node that has
//     some is asked which (CLUSTER GETSLOTMIGRATIONS).
//  3. The views are compared. What may be gossip still under way is asked again
//     for at most five seconds; what remains is an [UnhealthyError].
//
// # What the user needs to be allowed
//
// With ACLs (Redis 6 and later), discovery needs exactly:
//
//	ACL SETUSER slotark on >PASSWORD resetkeys resetchannels -@all
//	    +info +cluster|nodes +cluster|info +cluster|shards
//
// AUTH needs no rule. HELLO, which every new connection tries, may be refused:
// nothing depends on it, but without +hello each try shows in ACL LOG. Redis
// 6.2 has no CLUSTER SHARDS and takes the rule all the same. Without
// +cluster|getslotmigrations a running slot migration is seen, but not of which
// slots. The other methods
// of [Node] need the command they are named after: +ping, +time,
// +cluster|countkeysinslot. A missing right is [ErrAuth], and names the command.
//
// # Addresses
//
// Members carry the address that the cluster announces. Only dialing looks at
// [Access.NAT], so that what is stored in a manifest is the cluster's own
// truth and not the coordinator's point of view.
package cluster
