// Package settings reads what a cluster is set up with beside its keys, for a
// snapshot to keep: configuration, ACL users, functions, modules, builds.
//
// Invariant: reading changes nothing and fails nothing. What a node does not
// give is absent, with the reason, and what a person should do about it is a
// finding. No secret is kept unless it was asked for, and what is local to a
// node (paths, ports, addresses) never is.
package settings
