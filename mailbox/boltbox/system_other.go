//go:build !linux

package boltbox

import bolt "go.etcd.io/bbolt"

// forget is for Linux; elsewhere the system decides what stays in memory.
func forget(*bolt.DB, *bolt.Tx) {}

// freeBytes is for Linux; elsewhere a write finds out that the disk is full,
// and no room is kept for acks.
func freeBytes(string) uint64 { return unknownRoom }
