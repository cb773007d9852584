// Package redisproc runs one redis-server (or valkey-server) as a child
// process on this machine: drills restore into such servers, and tests use
// them as they are.
//
// Invariant: no server outlives its purpose. A [Process] that was started is
// gone after Stop or Kill returned, with the children that saved for it, is
// reaped by then, and on Linux dies with this process however that ends, SIGKILL
// included; unless it was detached, which hands it over to whoever asked for
// that.
//
// A server listens on the loopback interface unless told otherwise. Passwords
// reach it in a configuration file of mode 0600, never as arguments, which any
// user of the machine can read.
package redisproc
