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
//  1. topology: as every node sees it; what is unhealthy refuses the snapshot.
//  2. choose: for each shard a healthy replica that is not too far behind,
//     else the primary.
//  3. capture, all shards at once within a bound: collect → inspect → seal →
//     put. The dump passes once, in a stream. The stores see its end only after
//     it was found sound and sealed, so a damaged dump never becomes an object.
//     What the inspection saw of each slot, digests included, is its slot index.
//  4. topology again: it must be what it was.
//  5. settings: every node is asked for what it is set up with, now that nothing
//     is changed for the dumps; what it does not give is a finding.
//  6. manifest, last: to the primary, then to each mirror that has everything;
//     where mirrors must have it, to those first.
//
// Whatever stops it removes what was put.
package snapshot
