package blobs

import "time"

const (
	// MaxClaims is how many owners one chunk may have.
	MaxClaims = 8
	// DefaultFloor is how much room on the disk is left to others, in bytes.
	DefaultFloor = 256 << 20

	// maxGroup is how many changes share a commit at most.
	maxGroup = 256
	// sweepStep is how many claims of a day that is over one commit forgets.
	sweepStep = 128
	// copyBuffer is what one transfer holds in memory, in bytes.
	copyBuffer = 256 << 10
	// lockWait is how long Open waits for the lock of another process.
	lockWait = time.Second
)
