// Package collect gets one dump out of one node: from its data folder after a
// BGSAVE, or over the wire as a replica would.
//
// Invariant: what is returned belongs to this run. A [Source] names the
// earliest instant, on the node's own clock, at which its dump may have been
// made; a dump whose AUX ctime is older is stale, however perfect it looks, and
// the caller refuses it. Of the node's settings one is changed, and only where
// append-only files are asked for; it is recorded before and put back.
//
// # A dump that is still written
//
// With [BgsaveOptions.Follow] a dump is read from the file that the child writes,
// and that becomes the dump by a rename at its end: reading, sealing and storing
// then cost hardly any time beside the save. The source gives its end only when
// the node says that the save ended well, and that file is the dump. It is not
// done where the node computes no checksum, since nothing would tell then that a
// file system showed a growing file wrongly.
//
// # Append-only files
//
// [Bgsave] takes them with the dump, by the servers' own procedure:
//
//  1. what a run that died has left in the data folder is put in order;
//  2. the node's value of [RewriteSetting] is recorded in a private folder
//     beside its data, then set to 0, and a rewrite that runs is waited for;
//  3. BGSAVE, in one piece with the node's count of the bytes that it has
//     appended: where that is the same before and after, the dump holds just
//     those bytes' commands. While its child runs no rewrite can begin;
//  4. the manifest is read, the files it names are opened and linked, what the
//     node's count is off by is learned, and the manifest is read again: one that
//     changed makes all of it stale;
//  5. the node gets its value back, unless somebody has set another.
//
// Sources: rdb.c (rdbSave, rdbSaveBackground), replication.c (syncCommand,
// replconfCommand) and redis-cli.c (getRDB) of Redis 7.0.
package collect
