// Package mirror writes the same objects to a primary store and to mirrors of
// it, in one pass over each body and in bounded memory.
//
// Invariant: an object is in a mirror only if it is in the primary, and a
// mirror that has missed one object of a [Writer] gets none of its later
// ones. Since a snapshot's manifest is its last object, a mirror that holds
// the manifest holds the whole snapshot. Where a number of stores must have
// it, [Writer.Commit] turns the order of that last object round: it is in the
// primary only if it is in as many mirrors.
//
// How a Put works:
//
//  1. Each store's own Put runs beside the others and reads from a feed, at its
//     own pace. The body is read in chunks that all feeds share. A mirror may be
//     behind the primary by what a budget holds that all Puts of the process
//     share; then the others wait for it. A mirror that is waited for is dropped
//     when nothing moves on its way for StallTimeout, also within a part that
//     its store has read long before, or when it was waited for longer than
//     Patience in all.
//  2. At the body's end only the primary is told so. The mirrors wait with
//     everything they were sent and nothing that anybody can see.
//  3. Once the primary has the object, the mirrors are told. If it has not,
//     their Puts are aborted, so nothing has to be deleted anywhere: the
//     credentials that take backups need not be able to.
package mirror
