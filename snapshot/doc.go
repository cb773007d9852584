// Package snapshot captures a cluster: one dump for each shard, inspected
// while it streams, stored in the primary store and the mirrors, and made a
// snapshot by its manifest.
//
// Invariant: whole or nothing. There is no manifest unless every shard's dump
// is fresh, sound, holds only keys of its shard's slots, and was taken while
// the topology stood still.
//
// The algorithm of [Take]:
//
//  1. preflight: the topology as every node sees it, rights, room and versions;
//     what would make a snapshot fail refuses it, see package preflight.
//  2. choose: for each shard a healthy replica that is not too far behind,
//     else the primary, as far as replicas are preferred, required or not wanted.
//  3. capture, all shards beside each other: turn → collect → inspect → seal →
//     put. A turn keeps nodes of one machine from forking together, and bounds the
//     forks in the cluster; it ends with the node's child. (Or all nodes wait for
//     each other and fork together.) The dump passes once, in a stream. The stores
//     see its end only after it was found sound and sealed, so a damaged dump
//     never becomes an object. What the inspection saw of each slot, digests
//     included, is its slot index. Where a node fails, the cluster is let become
//     whole again, and the shard is tried again: the same node once more, then
//     the shard's others. A store that fails ends the snapshot: stores have tries
//     of their own.
//     With append-only files: first each node's own value of the setting that
//     will be changed is recorded in the repository, and what a run that died
//     has left changed is put back. The files follow the dump and its index, cut
//     off where the dump begins, each as it is inspected, their manifest last.
//  4. topology again: of each shard, the primary, its slots, epoch, run and
//     replication stream, and the node that gave the dump must be what they were
//     when the shard was chosen. What changed is discarded and captured again,
//     under names of its own. A dump made while slots came to its node by an
//     atomic migration tells so itself, and does not count either.
//  5. settings: every node is asked for what it is set up with, now that nothing
//     is changed for the dumps; what it does not give is a finding.
//  6. manifest, last: to the primary, then to each mirror that has everything;
//     where mirrors must have it, to those first.
//
// Whatever stops it removes what was put.
package snapshot
