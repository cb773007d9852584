// Package collect gets one dump out of one node: from its data folder after a
// BGSAVE, or over the wire as a replica would.
//
// Invariant: what is returned belongs to this run. A [Source] names the
// earliest instant, on the node's own clock, at which its dump may have been
// made; a dump whose AUX ctime is older is stale, however perfect it looks, and
// the caller refuses it. No setting of the node is changed.
//
// Sources: rdb.c (rdbSave, rdbSaveBackground), replication.c (syncCommand,
// replconfCommand) and redis-cli.c (getRDB) of Redis 7.0.
package collect
