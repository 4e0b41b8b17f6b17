//go:build !linux

package boltbox

import bolt "go.etcd.io/bbolt"

// forget is for Linux; elsewhere the system decides what stays in memory.
func forget(*bolt.DB, *bolt.Tx) {}
