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
// goes on: shards that are whole are kept (continued.go), unless other things are to
// be put there; then it begins anew. It refuses when anything is there that the
// record does not account for, or that was written to since (unfinished.go).
//
// With [Options].Node each node is seeded by a process of its own, which reads its
// own shard alone, into the folder that is to be the node's: what is said of folders
// holds of the files, the nodes.conf last. All come to one cluster, because ids,
// epochs and slots follow from what each is given (onenode.go). With
// [Options].AppendOnly a dump is where servers look that do not read dump.rdb
// (bases.go).
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
//  2. empty, with [Options].Replacing alone: nodes that hold something lose it. The
//     name of the snapshot's cluster has to be typed for it, of no cluster is half
//     taken, and until the first is flushed nothing is lost (replace.go, empty.go).
//  3. assign: epochs 1 to N, which a node takes only while it knows nobody;
//     then the slots. Both come before MEET: two nodes of one epoch, or of one
//     slot, settle it by deleting keys.
//  4. join: MEET, and wait until every primary finds the cluster whole.
//  5. load: all shards at once, RESTORE pipelined without waiting for answers
//     one by one. A dump's bytes are believed before its checksum is reached,
//     because the time to recover counts; one that turns out damaged is
//     flushed and loaded from the next store that has it.
//  6. functions: after the keys, so that a library that does not load costs no
//     time where it is not missed.
//  7. replicas: when all data is there, one at a time, for each makes its
//     primary fork. A node without slots that is no replica yet does not find
//     the cluster whole for some seconds; as a replica it does.
//  8. compare: every slot and every key with the snapshot, see package verify.
//  9. enable, with [Options].Apply alone: configuration and ACL users of the snapshot,
//     so that applications get in only to what was found equal (enable.go).
//
// With [Options].Logical values go as the commands that make them, to servers that do
// not read the dumps. What no command makes is looked for in every dump first, and
// refuses the restore (logical.go).
//
// With [Options].AOF the shards' append-only files are restored instead of the
// dumps: seeded as files, read once as a server would load them; or replayed,
// the dump that they begin with by RESTORE and then the commands, all of a key's
// on one connection and in order, with every expiry put off until all is there;
// see ageless. Onto other shards each command goes to where its keys are now
// (set.go): replayed, or seeded as new sets, whose base is cut by slot and whose
// increments are one for each of the shards that they are made of (recutset.go).
// What a command without a key means of one shard alone is worked out before: keys
// that a FLUSHALL removes are not brought at all (flushes.go), of the libraries of
// functions what is left at the end (libraries.go). Either way must give what the
// dumps hold, and is compared with them.
//
// Of a replay that was killed nothing is undone. Its mark in the repository names the
// nodes, what they are to become, and each bundle that is loaded. [Options].Resume goes
// on from there, on whatever machine (resume.go): each step can be done again from
// whatever state it was stopped in, and is passed over where the nodes, or the marks,
// say that it is done. The comparison never is.
//
// Through the hosts, [Options].Hosts, for nodes that run or not (hosts.go; package
// host is what does it beside each):
//
//  1. check: as of a replay, but of nodes that do not run their folders are looked at.
//  2. stage: each host seeds its own node, with [Options].Node, out of the server's
//     sight. None is stopped before all have done so.
//  3. stop, place, start: what the node had is moved aside, what was seeded has its
//     place. Replicas start when the primaries have loaded.
//  4. settle, compare, enable: as of a replay.
//  5. clear: what the nodes had is removed, only where all was found equal. Until then
//     anything that goes wrong brings it back.
//
// The records of the hosts are the journal: each knows what it has done.
//
// What stops steps 2 to 6 of a replay, and an interruption of any, undoes all: FLUSHALL,
// FUNCTION FLUSH and CLUSTER RESET HARD on the nodes that were changed, unless
// [Options].KeepPartial leaves it for Resume, or another process goes on with it. What
// nodes held before step 2 is not brought back, which the error says. A
// comparison that cannot be made and a replica that does not follow are
// findings: the data is there, and destroying it would help nobody.
package restore
