// Package restore rebuilds a cluster from a snapshot, with the same slots on
// the same number of shards or on others: by seeding (data folders for nodes that
// are not started yet) or by replay (RESTORE into running, empty nodes).
//
// Invariant: a restore that did not come to its end never looks like one that
// did. Seeded folders get their names when all of them are whole; replay
// changes only nodes that were proved empty and alone, and makes them so again
// when anything stops it.
//
// Seeding, [Options].ToDir:
//
//  1. check: the folder is empty, the addresses fit the shards, and where the
//     snapshot's own addresses are taken, nobody answers there any more.
//  2. seed: every shard's dump streams from the store into its primary's
//     folder, checked against the manifest and inspected on its way. A store
//     whose copy is damaged is passed over for the next that has one.
//  3. name: each node gets a nodes.conf with a new node id, the snapshot's
//     slots and an epoch of its own. Then the folders get their names.
//
// Until then all stands in a folder of its own, whose record is locked by the
// process. Whoever restores into the folder after a kill finds the lock free and
// begins anew, unless anything is there that the record does not account for, or
// that was written to since (unfinished.go).
//
// With another [Options].Layout the snapshot's shards and the new ones fall into
// bundles that share slots with no others (layout.go). Of a bundle that is more
// than one shard on either side, each key goes to the primary of its slot (lanes.go),
// or its record into a new dump for that (recut.go); a store's damaged copy costs
// the whole bundle another try (copies.go), for what was read of it may be anywhere.
//
// [MakePlan] does the check alone, and says what the other steps would do.
//
// From the end of its check on, a restore has a mark in the repository that
// keeps every prune away from the snapshot; see [catalog.Snapshot.Claim].
//
// Replay, [Options].To:
//
//  1. check: every node is asked for everything that could forbid it. All
//     objections come in one error, and nothing was changed.
//  2. assign: epochs 1 to N, which a node takes only while it knows nobody;
//     then the slots. Both come before MEET: two nodes of one epoch, or of one
//     slot, settle it by deleting keys.
//  3. join: MEET, and wait until every primary finds the cluster whole.
//  4. load: all shards at once, RESTORE pipelined without waiting for answers
//     one by one. A dump's bytes are believed before its checksum is reached,
//     because the time to recover counts; one that turns out damaged is
//     flushed and loaded from the next store that has it.
//  5. functions: after the keys, so that a library that does not load costs no
//     time where it is not missed.
//  6. replicas: when all data is there, one at a time, for each makes its
//     primary fork. A node without slots that is no replica yet does not find
//     the cluster whole for some seconds; as a replica it does.
//  7. compare: every slot and every key with the snapshot, see package verify.
//
// With [Options].AOF the shards' append-only files are restored instead of the
// dumps: seeded as files, read once as a server would load them; or replayed,
// the dump that they begin with by RESTORE and then each command, on one
// connection and in order, with every expiry put off until all is there; see
// ageless. Either way must give what the dumps hold, and is compared with them.
//
// Of a replay that was killed nothing is undone. Its mark in the repository names
// the processes that it had found empty, and [Options].Resume empties these, and no
// others, and begins anew (resume.go).
//
// What stops steps 2 to 5, and an interruption of any, undoes all: FLUSHALL,
// FUNCTION FLUSH and CLUSTER RESET HARD on the nodes that were changed. A
// comparison that cannot be made and a replica that does not follow are
// findings: the data is there, and destroying it would help nobody.
package restore
