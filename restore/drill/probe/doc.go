// Package probe asks a restored cluster what its applications would ask it: the
// probes that a person wrote down, and samples of every drill.
//
// Invariant: every command for a key goes by a client that takes each slot to be on
// a wrong node ([cluster.Client]), so what is answered was found by redirection.
// What a key holds is never repeated: a result tells what the probe itself says,
// and of an answer its type, its length or how long it still lives.
//
// Probes may write: they are asked of a cluster that is thrown away, after it was
// compared. Samples write keys of their own only, and remove them. A function of
// the snapshot is called only where it says that it writes nothing (no-writes),
// without keys and arguments: whatever it answers, and be it an error of its own, it
// is there and runs.
package probe
