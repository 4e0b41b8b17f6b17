package boltstore

import "time"

const (
	// FileName is the name of the store's file inside the home folder.
	FileName = "node.db"

	// Version of the layout. A store with a higher one is refused.
	Version = 1

	// DefaultTimeout is how long Open waits for another process to let go of the file.
	DefaultTimeout = 200 * time.Millisecond

	fileMode    = 0o600
	maxNameSize = 1<<16 - 1 // bytes of a named bucket's key
	blindSize   = 16        // bytes of a named bucket's stored key, and of a row's digest
	tagSize     = 16        // bytes of the authentication tag that ends a sealed value
)
