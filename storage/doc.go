// Package storage says where objects live: a folder, an S3 bucket. It knows
// nothing of Redis.
//
// Invariant: an object is seen whole or not at all, and once it is seen it
// never changes. Names are never reused, so there is no overwrite.
package storage
