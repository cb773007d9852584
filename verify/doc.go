// Package verify proves things about snapshots: that what is stored is whole,
// and that a cluster holds what a snapshot holds.
//
// Invariant: nothing is called sound or equal that was not read, or that the digests
// taken with the snapshot do not prove. What could not be read is an error or a
// finding, never a pass.
//
// [Run] looks at a snapshot's objects in the stores; [File] and [AppendOnly] at
// what lies in none, which [Find] finds. [ReadKey] shows one key: of a dump that
// it proved sound by then, and it tells where a second reading was not the same.
// [DiffSnapshots] says what became of one snapshot's keys in another.
// [CompareLive] looks at a cluster; its algorithm:
//
//  1. topology: as every node sees it; each of the snapshot's shards must be
//     owned, slot for slot, by one primary.
//  2. count: every primary is asked how many keys it holds in each slot. The
//     answer lies between what the slot index says and that less what had
//     expired by the primary's own clock.
//  3. live, meanwhile: every primary's dump is streamed and summed up by slot. Once it
//     has forked, the primary's clock is read: a key that expires later than that
//     cutoff is certainly in the dump if the primary holds it, and one that expires
//     earlier may or may not be.
//  4. saved: where every slot of a shard comes to the digest and the count of its
//     slot index, expired keys included, and was counted so, the index has proved it
//     (compare_index.go). Else the shard's dump is read again and summed up by slot,
//     less the keys that expire at or before the cutoff of their slot.
//  5. judge: sums and counts must be equal, slot for slot. A sum does not
//     depend on the order of keys, nor on how a value is encoded; it does on
//     every name, type, expiry and value: it is of the keys' digests.
//  6. name: where they are not, the slots that differ are read once more from
//     both sides, and keys that are missing, unexpected or different are named.
//     A value that differs but cannot be proved to be another (hash fields that
//     expire by themselves, modules) is counted, not called a difference.
//
// Memory is bounded: two sums a slot, and in step 6 a fixed number of keys.
package verify
