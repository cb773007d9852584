// Package config reads slotark.yaml. docs/config.md describes the file and has
// a whole example, which a test of this package reads.
//
// Invariant: nothing in the file is ignored. A key that is not known, a key
// that is there twice, a value that does not fit: each is a problem that names
// its line and its path, and all of them are told at once. What the file leaves
// out has the value of [Default]. No secret stands in the file: it names the
// file or the environment variable that holds one.
package config
