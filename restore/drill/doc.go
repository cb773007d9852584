// Package drill proves that a snapshot restores: it builds a throw-away
// cluster, restores into it by the code of package restore, compares every key,
// and removes it all.
//
// Invariant: a drill can never reach production. Its nodes have generated ids
// and a password of their own and never see an original nodes.conf, so no live
// node knows them and they know no live node. Containers share one network
// namespace that holds nothing but its own loopback: no route, no bridge, no
// address of the host. (An "internal" Docker network is not enough: measured on
// Docker 20.10, a container on one still reaches every address of its host.)
// Slotark gets in by a Unix socket per node. Local processes are the fallback
// where there is no Docker engine: they listen on loopback only, but no wall
// stands around them.
//
// A drill, in steps:
//
//  0. Look at the manifest: one that contradicts itself, or says nothing of some
//     slots, is a finding, and nothing is built.
//  1. Find the runtime: a Docker engine on this machine, else local processes.
//  2. Sweep: remove what drills left whose process is dead. Everything a drill
//     makes carries its owner: host, boot, process id and that process's start,
//     so a process id used again is not mistaken for the owner.
//  3. Find the image or the program, where none is named. The image is of the
//     snapshot's own version: official, or made from the installed server where
//     that is the same. Processes run the installed server, of any version that is
//     not older; so does an image where no registry gives the official one.
//  4. Provision a node for each primary and replica, in parallel, empty.
//  5. Restore into them and compare, by restore.Run, which also tells for how long it
//     waited for the store and for decryption: parts of the load, for all is one stream.
//  6. Probe: by a client that has to be redirected, read some keys, write a few
//     of the drill's own and call functions that write nothing; and whatever else
//     the caller wants to have answered. See package probe.
//     Where the server is not the snapshot's own, find out what it changes.
//  7. Hold, where the caller wants to look around.
//  8. Tear down, on every way out: also after a cancel, and then with a time
//     limit. Then sweep once more: an engine that was making containers for a
//     drill that was killed goes on making them for a moment. What could not be
//     removed is found by the next drill's sweep.
package drill
