// Package slot knows the hash slots of Redis Cluster: which slot a key belongs
// to, and sets of slots written as the ranges an operator reads.
//
// Invariant: a slot is a number from 0 to 16383, and a [Set] holds nothing else.
//
// Source: the Redis Cluster specification, "Key distribution model" and "Hash
// tags"; crc16.c and cluster.c (keyHashSlot) of Redis 7.0.
package slot
