// Package prompt bounds how long a store may take to answer who reads, where
// another store could be read instead.
//
// A region that has gone dark keeps its connections and answers nothing. A
// store's own patience with that is minutes for each request, because an upload
// of hours depends on it; who reads has another copy and need not wait.
//
// Invariant: no Open, Stat or List, and no Read of what Open gave, waits longer
// for the store than the limit, also where the store does not heed the end of
// its context. A store that was once silent for so long is not asked again.
//
// What cannot be ended is left: a system call that hangs in a network file
// system keeps its goroutine, its thread, one buffer and the open file until the
// file system answers or the process ends. There is at most one of each for every
// object that was being read, because the store is not asked again.
package prompt
