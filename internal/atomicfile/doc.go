// Package atomicfile makes a file that is seen whole or not at all.
//
// Invariant: when [Create] returns nil the file's bytes and its name are on
// the disk, and no earlier file was replaced. When it returns an error the
// name is as it was before, and the temporary file is gone.
//
//  1. Write to a temporary name in the same folder, so that the last step
//     stays within one file system.
//  2. Compare the length with what was read.
//  3. fsync the file: otherwise a power cut can leave a name without bytes.
//     The disk begins with them long before, while more is written.
//  4. Give it its name in one step that fails if the name is taken: link(2),
//     or renameat2(2) with RENAME_NOREPLACE where there are no hard links.
//  5. fsync the folder: otherwise a power cut can take the name back.
//
// A process that is killed leaves its temporary file. [IsTemp] knows it.
package atomicfile
