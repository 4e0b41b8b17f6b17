package vault

// Sizes in bytes, counts, and the cost of a passphrase.
const (
	keySize   = 32
	saltSize  = 16
	nonceSize = 24 // XChaCha20-Poly1305
	tagSize   = 16
	sumSize   = 32 // SHA-256
	blindSize = 16

	// MaxKeys is the number of store keys of one class that a vault holds at
	// once: the current one and those whose values are still being sealed again.
	MaxKeys = 16

	// Overhead is by how much a sealed value is longer than its plaintext.
	Overhead = 1 + nonceSize + tagSize

	// MaxFile is the size of the largest vault file.
	MaxFile = len(magic) + 1 + saltSize + nonceSize + maxKeyring + tagSize + sumSize

	keyEntry   = 8 + keySize // when it was made, and the key
	maxKeyring = keySize + classes*(4+1+MaxKeys*keyEntry)

	nameSize = 4 + 8 // of a key in a mark
	markSize = nameSize + blindSize

	// MaxPassphrase bounds a passphrase.
	MaxPassphrase = 1024

	// Argon2id (RFC 9106, section 4: the second recommended option).
	argonTime    = 3
	argonKiB     = 64 * 1024
	argonThreads = 4
)
