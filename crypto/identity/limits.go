package identity

import "time"

// Limits of the records. Sizes are bytes.
const (
	// maxDevices is the number of devices that one list may name.
	maxDevices = 16

	// maxListSize is the size of a device list that names maxDevices devices.
	maxListSize = listFixedSize + maxDevices*deviceEntrySize

	// bundleSize is the exact size of a bundle of suite 1.
	bundleSize = 1 + 2 + 3*32 + 4*8 + 32 + pqKeySize + 4 + signatureSize

	// pqKeySize is the size of an ML-KEM-768 encapsulation key (FIPS 203).
	pqKeySize = 1184

	// ListLifetime is how far ahead a signer sets the freshness mark of a list.
	ListLifetime = 14 * 24 * time.Hour

	// BundleLifetime is how far ahead a signer sets the freshness mark of a bundle.
	BundleLifetime = 7 * 24 * time.Hour

	// maxLifetime bounds NotAfter - Issued of every record.
	maxLifetime = 90 * 24 * time.Hour

	// Grace is how long after its freshness mark a record may still be used
	// when no newer one can be found: the 30 days that mail waits, and a day
	// for clocks that disagree.
	Grace = 30*24*time.Hour + ClockSkew

	// ClockSkew is how far into the future a record may have been issued.
	ClockSkew = 24 * time.Hour
)

// Sizes of parts.
const (
	signatureSize   = 64
	listFixedSize   = 1 + 1 + 32 + 32 + 4 + 32 + signatureSize + 8 + 32 + 8 + 8 + 1 + 1 + signatureSize
	deviceEntrySize = 32 + 32 + 1 + 8
	accountSize     = 1 + 32 + 4 + 32 + signatureSize
	deviceKeysSize  = 1 + 32 + 32
	prekeySize      = 1 + 32 + 32 + 64
	maxUnixSeconds  = 1<<38 - 1 // year 10680: far from the overflow of time.Duration arithmetic
	maxPhraseInput  = 1024      // bytes a person may type before we stop reading
	phraseWords     = 12
	phraseEntropy   = 16 // bytes
)

// Argon2id parameters of the step from phrase to root (RFC 9106, section 4:
// the second recommended option, with its lanes).
const (
	rootArgonTime    = 3
	rootArgonKiB     = 64 * 1024
	rootArgonThreads = 4
)
