// Command demo shows the whole way once: a real cluster is filled, saved,
// verified, destroyed, rebuilt with the same slot layout, and compared.
//
// Invariant: everything that counts is done by the slotark program itself, run
// as a person would run it; this program only starts and kills servers, fills
// them, and keeps the time. It leaves nothing behind unless KEEP=1 asks for it.
package main
