// Command slotark backs up Redis Cluster and Valkey Cluster, and proves that
// the backups restore.
//
// Invariant: this package is wiring: flags, config, output, the one table of
// exit codes, the one place where stores are opened and stacked. What a verb
// does is in the package that is named after it.
package main
