// Package host restores one node, beside it: what [restore.Run] with
// [restore.Options].Hosts has an agent do. It seeds the node's data out of sight,
// stops the node, puts the data in the place of what it had, and starts it.
//
// Invariant: what the node had is there, whole, until it is told to clear it; whatever
// it is killed at, the node's folder can be brought to its restored state, or back.
//
// All that is a restore's is in one folder in the node's data folder, and so on its
// file system:
//
//	slotark-restore/restore.json  the record: which restore, the node's file names, whether it ran
//	slotark-restore/new/          what was seeded, until it has its place
//	slotark-restore/aside/        what the node had, while it is moved there, or back
//	slotark-restore/old/          the same, when all of it is there
//
// The name of the last folder is what tells how far a move has come. Where there is no
// old, what is in the node's data folder is the node's own. Where there is, it is what
// was restored, and whole when the nodes.conf has come: it is moved last. To bring
// back is to remove what was restored, to rename old to aside, and to move all of that.
//
// The node's file names are asked of it before it is stopped, for its configuration may
// give them others. They go into the record; a node that does not run is believed to
// have those of [Node].Names.
package host
