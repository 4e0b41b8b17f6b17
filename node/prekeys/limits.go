package prekeys

import (
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// The life of secrets.
const (
	// Keep is how long a secret lives at least after its bundle was superseded:
	// senders look a record up anew only when it is old.
	Keep = 72 * time.Hour
	// Settle is how long after that the drain begins that ends it.
	Settle = 48 * time.Hour
	// Cap is how long a secret lives at most: nothing that was sealed for its
	// bundle while that was fresh (7 days) travels longer (30 days).
	Cap = 37 * 24 * time.Hour
	// fresh is the part of it in which a bundle is used.
	fresh = identity.BundleLifetime
	// Patience is for how long after the start the cap waits for boxes that
	// cannot be emptied because their relays do not answer.
	Patience = 7 * 24 * time.Hour
)

// Openings.
const (
	// Old is the age of a bundle at which there is a newer one, if its device is
	// there: they are made every 24 h, give or take a fifth.
	Old = 30 * time.Hour
	// lookPatience is how long a session waits for that newer one.
	lookPatience = 2 * time.Second
	// askPatience is how long it waits for a one-time bundle. To dial the device
	// takes as long before relays get a copy.
	askPatience = 250 * time.Millisecond
	// openingLife is how long answers are good for a session that has not begun.
	openingLife = time.Hour
)

// travels is how long mail lives at a relay after its last moment to be left there.
const travels = 30 * 24 * time.Hour

const (
	maxLive    = 256  // secrets of bundles that were given to whoever asked
	maxStocked = 1024 // ... and of those that were left at relays
)
