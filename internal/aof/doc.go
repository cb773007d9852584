// Package aof reads the append-only files that Redis and Valkey write: the
// manifest of a set, and the commands of its files.
//
// Invariant: what a server would refuse to load, or would load only in part, is
// a finding that names file and offset; what no server writes is one too, even
// where a server would overlook it. No length or count from a file is used to
// allocate: memory is a buffer, the arguments that were asked for, and a
// manifest of bounded size.
//
// # How a set is judged
//
//  1. The manifest names the files: at most one base, then increments in the
//     order of their sequence numbers; history is what a rewrite left to be
//     deleted and is not loaded. See [ParseManifest].
//  2. Each file is commands, and may begin with a dump: a base does unless
//     aof-use-rdb-preamble is no, and so does the one old file of Redis 4.0 to
//     6.2. The dump is internal/rdb's to judge; commands follow it directly.
//  3. A command is a RESP array of bulk strings. Lines that begin with '#' are
//     annotations; "#TS:" and a Unix time in seconds stands before the first
//     command of that second where aof-timestamp-enabled is yes.
//  4. A file may end inside a command, or inside a transaction, only if nothing
//     is loaded after it. A server then drops what follows the last whole
//     command, or the MULTI, and starts (aof-load-truncated yes, the default).
//     A lying length looks just the same: how much would be lost is reported.
//     Where the end is inside a command of a transaction, though, a server (up
//     to 7.4 at least) drops only that command, goes on writing behind the open
//     MULTI, and drops all of that at its next start. Cut such a file back to
//     SafeEnd before it is loaded.
//  5. What is in the folder and not in the manifest is a warning.
//
// Files carry no checksum, except for the dump. A flipped bit inside a value
// cannot be seen here, nor by any server. So the inside of an argument of more
// than 8 KiB is passed over unread where the file allows that: its length and
// the line end behind it are what there is to judge. A block of it that the disk
// cannot give goes unnoticed then; InspectOptions.ReadAll reads it, too.
//
// # Where this is stricter than servers
//
// Numbers are plain digits and every line ends in CR LF, as servers write them;
// their own readers also take signs, spaces and other line ends. An array of no
// elements, EXEC without MULTI, SELECT of no number, an annotation without a
// line end and a dump in an increment are findings, and so is an empty file
// where a dump should be.
//
// Sources: aof.c, redis-check-aof.c, sds.c (sdssplitargs, sdscatrepr) of Redis
// 7.0 to 8.10; the key positions of commands are those of COMMAND.
package aof
