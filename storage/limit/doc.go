// Package limit bounds how many bytes a second go into a store and come out of
// it. The rates may be changed while bytes move.
//
// Invariant: over any time, all objects of a store together move at most the
// rate times that time, and 64 KiB. What is counted is the objects' bytes as
// they are handed to the store and taken from it: a store that collects a part
// before it sends it, as S3 does, sends the part as quickly as the line lets it.
package limit
