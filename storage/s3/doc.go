// Package s3 keeps objects in a bucket of S3 or of a server that speaks its
// protocol.
//
// Invariant: when Put returns nil, the server has confirmed the object's
// length and checksum by an own request; when Put returns an error, neither
// the object nor parts of it are left, as far as the server can still be
// reached.
//
// How Put works:
//
//  1. HEAD: a name that is taken is refused before the body is read. This
//     also protects objects on servers that ignore conditional requests.
//  2. A body of at most one part goes by PutObject; a longer one by multipart
//     upload, several parts in flight. Each body goes with its CRC32C and, as
//     part of the signature, its SHA-256; one that the server finds changed is
//     sent again. Memory is bounded by one part for each Put and sharedBytes
//     for all of them together.
//  3. Both are made conditional with If-None-Match: "*", so that of two
//     racing processes one wins. The end of a multipart upload also carries
//     the whole object's CRC32C and size.
//  4. HEAD: length and checksum are compared. Servers have been seen that
//     report success for an object that is not there.
//
// An answer can be lost while the request was carried out; the repeated
// request then says "taken" or "no such upload". Each Put therefore writes a
// token of its own into the object's metadata, and step 4 tells by it whose
// the object is (settle.go).
//
// In a bucket with versions [Store.AsOf] shows an earlier state: for each name
// the newest version that is not younger than the instant, and nothing where
// that is a delete marker.
//
// Why not feature/s3/transfermanager: its part size is fixed, which ends at
// 80 GiB for 8 MiB parts and an unknown length; it keeps reading the body
// after a part has failed; it aborts the upload when the answer to the
// completion was lost although the object may exist; and it logs to stderr.
package s3
