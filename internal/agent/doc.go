// Package agent captures shards beside their nodes, so that their bytes never
// cross the coordinator: a [Server] runs the pipeline of package snapshot and puts
// straight into the stores, a [Client] has it do so and gets back the shard's part
// of the manifest.
//
// Invariant: an agent does what its own settings allow, whatever it is asked: only
// its nodes, folders, stores, recipients and cluster, and only for a snapshot of
// now. No secret crosses in either direction. It deletes only what the job itself
// has put, and only while no manifest names it.
//
// It restores nodes, too, those that its settings have commands for (restore.go). What
// is done there is package restore/host's.
//
// The protocol, version [Protocol], is HTTP/2 over TLS 1.3. Both sides prove
// themselves by certificates of a private authority. Every request and answer
// carries the version in a header. A connection for a job is one POST whose body
// and answer are open at the same time: a JSON message a line, in both directions.
//
//  1. The coordinator makes up an id for the job and opens a connection for it. Its
//     first line is the order: cluster, snapshot, shard, node, names of stores, what
//     the seal must come to. A job that is known is taken up; another is begun, or
//     refused where the line says that it must be known.
//  2. From then on each side says its whole state, with every change and every 5
//     seconds. What counts are differences to what was said before, so a message
//     that was lost, or is heard twice, does no harm. A side that hears nothing for
//     30 seconds takes the connection for lost.
//  3. The agent waits until none of its other jobs is at the same node.
//  4. Right before the node is made to fork the agent asks for its n-th turn, and
//     waits for the n-th grant. When the fork has ended it says so.
//  5. The agent answers with the result, the shard and what each store has of it, or
//     with a failure after it has removed what it put. Text, kind and hints of an
//     error arrive as they were.
//  6. Before the manifest the coordinator asks whether the result still stands. The
//     answer is a promise for another grace.
//  7. Once the manifest is written, or will not be, the coordinator says keep or
//     drop. The agent does so, says that it is done, and forgets the job after a
//     while.
//
// A connection that is lost, at any point, is opened again by the coordinator and
// goes on from the state that both sides have. A job without a connection goes on
// for a grace. Then what is captured is stopped, and what was put is removed,
// unless a store has the snapshot's manifest, or does not say whether it has. An
// agent that was restarted knows no job: taking one up fails, and the coordinator
// begins the shard anew, in a folder that no other attempt uses.
package agent
