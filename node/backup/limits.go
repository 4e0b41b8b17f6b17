package backup

import "github.com/kith-im/kith/crypto/vault"

const (
	// Version of the format. A file of a later one is refused by name.
	Version = 1

	// MaxRecord is the size of one record in bytes.
	MaxRecord = 40 << 10

	// MaxPassphrase bounds a passphrase, in bytes.
	MaxPassphrase = vault.MaxPassphrase

	// PageRoom is how many bytes of records a page has, and at most one record more than that.
	PageRoom = 256 << 10

	saltSize   = 16
	encSize    = 1120 // of MLKEM768-X25519
	secretSize = 32
	lengthSize = 4
	pastAtOnce = 256 // messages of a step
	maxHeads   = 3   // as in talk
	maxRelays  = 64
	maxStages  = 512 // devices of a message
)
