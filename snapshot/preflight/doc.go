// Package preflight looks at a live cluster before anything is asked of it:
// what would make a snapshot fail, what would make it poor, and where the
// cluster falls short of good practice.
//
// Invariant: it changes nothing and has no node do any work. Each finding is
// told once, however many nodes show it, and says what to do. What the user may
// not see is no finding against the cluster: it is named once, as unseen.
//
// The algorithm of [Run]:
//
//  1. topology: as every node sees it, with all problems.
//  2. sources: the caller says which nodes would give the dumps, and how.
//  3. facts: every node is asked for INFO, and what it is to do is tried: each
//     command that the way of collecting takes, in a form that the server
//     refuses for its arguments after it has looked at the user's rights.
//  4. findings: errors refuse a snapshot, warnings go with it, and the rest is
//     advice, for `slotark doctor` alone.
//
// For a snapshot that is one round trip to each node beside the topology's, and a
// second one to a node whose last save failed: whether it refuses writes. For
// advice a second connection without a password is tried, which tells whether
// the node lets everybody in.
package preflight
