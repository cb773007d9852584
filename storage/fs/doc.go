// Package fs keeps objects as files below a folder.
//
// Invariant: a file below the root that is not a temporary file of
// internal/atomicfile is a whole object, and no call ever writes to it again.
//
// Folders are made with mode 0700 and files with 0600, because a backup holds
// everything that the users of the cluster have stored in it. The root is made by
// the first Put; until then the other methods return storage.ErrNoStore, so
// that a mistyped path is not taken for an empty repository.
package fs
