// Package sealtest makes the keys with which tests encrypt.
//
// Invariant: no two tests share a key, and none outlives its test: what one test
// has encrypted, no other can open by chance.
package sealtest
