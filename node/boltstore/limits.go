package boltstore

import "time"

const (
	// FileName is the name of the store's file inside the home folder.
	FileName = "node.db"

	// KeyFile is the name of the vault's file beside it.
	KeyFile = "vault.key"

	// FleetingEvery is how old the keys of fleeting rows get.
	FleetingEvery = 24 * time.Hour
	// LastingEvery is how old those of all other rows get.
	LastingEvery = 7 * 24 * time.Hour

	// Version of the layout. A store with a higher one is refused.
	Version = 1

	// DefaultTimeout is how long Open waits for another process to let go of the file.
	DefaultTimeout = 200 * time.Millisecond

	// A rotation of what lasts goes on in steps of so many sealed bytes, with a pause after each for other transactions.
	resealStep  = 1 << 19
	resealPause = 10 * time.Millisecond

	maxKey    = 1 << 12 // bytes of a key; what is longer on disk is damage
	maxValue  = 1 << 24 // bytes of a sealed value
	blindSize = 16      // bytes of a named bucket's stored key, and of a row's digest
	tagSize   = 16      // bytes of the authentication tag that ends a sealed value
)
