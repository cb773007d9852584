// Package rdb reads the dumps that Redis and Valkey write: reader, records,
// values, as librdb names them.
//
// Invariant: a length from a file is never believed before it is checked
// against what can remain, and what is not understood is damage that names its
// offset, never a guess. Memory does not depend on the dump: only names are
// materialised, and, where digests are asked for, one packed value at a time.
//
// # How a dump is judged
//
//  1. The header says which engine wrote it and in which version; types and
//     opcodes are looked up by both, because Redis and Valkey gave the numbers
//     22, 23, 242 and 243 different meanings.
//  2. Records follow one another without separators. Each is consumed by its
//     own lengths, so one that lies puts everything after it out of step, which
//     the next record or the checksum shows. Where the dump's size is known,
//     a length that cannot fit ends the reading at once.
//  3. A key's slot is computed. Where the dump announces its slots, with counts
//     (Redis 7.4 and Valkey 8 in cluster mode), the keys are held against that.
//  4. Where it is asked for, a name that comes twice in a database is found, by
//     95-bit hashes of names, and values are unpacked: whatever the server's
//     sanitize-dump-payload looks for in ziplists, listpacks, intsets, zipmaps,
//     quicklists, streams and the expiries of fields is looked for, members that
//     come twice and empty collections included.
//  5. The end opcode is followed by the CRC64 of everything up to it, and by
//     nothing. A checksum of zero means the server computed none.
//
// A [Reader] does all of that and yields the records. [Inspect] also holds the
// keys' slots against those of a shard, finds names that come twice, and sums up
// what the dump holds and where each slot lies in it. Where values are unpacked
// it shares the work: one goroutine passes over the values, others check and
// digest them where they were read, and what they find is taken in the dump's order,
// so that report and first damage are those of a Reader. What is odd and harms
// nothing is a [Note]. DIGEST.md says what a [Digest] is.
// [Options.View] shows the values of chosen keys, [Element] by element.
//
// # What it takes
//
// Without options, a buffer and half a megabyte of counters. Names are kept in
// 10 bytes each, at most 20 MiB, and of a dump that is ordered by slot in less
// than a megabyte; members of one value in at most 2 MiB for each worker. Beyond these bounds
// duplicates are not looked for any more, and [Report.DuplicatesUnchecked] says
// so. Packed values, and names of fields that hash templates share, are held
// whole. Shared names that would be hashed over and over, a thousand times the
// dump's own bytes and more, are damage: there is an end to what a dump can ask.
//
// # What makes it fast
//
// Most of a dump is passed over by its lengths, so what costs is the checksum.
// It is made by carry-less multiplication where the processor has that (amd64
// and arm64), some four times as fast as the tables that every other one uses.
// Reading, checksum and judging follow one another in one goroutine: a source
// that is slow to give is wrapped by internal/readahead, as slotark verify does
// with files. Files are read and not mapped: one that is cut off while it is
// read is damage, where a mapping would end the process.
//
// # What cannot be read
//
// Module values are passed over by what they say of themselves; those of the
// Redis 4.0 release candidates (type 6) say nothing. Valkey 9.2's PATH_HASH
// (type 23), its commands inside a forkless save (opcode 242) and its compressed
// envelope (VKCS), Redis's experimental rate limiter (type 33), and functions of
// the 7.0 release candidates (opcode 246) are damage that says so.
//
// Sources: rdb.h and rdb.c of Redis 2.2 to 8.10 and of Valkey 7.2 to 9.2;
// keymeta.c, t_stream.c, listpack.c, ziplist.c, zipmap.c, intset.c of Redis.
package rdb
