package transfer

import "time"

const (
	// AutoSize is the largest file of a contact that is fetched without being asked for, in bytes.
	AutoSize = 8 << 20
	// autoRoom is how much of one person's is, before the rest waits to be asked for.
	autoRoom = 1 << 30
	// maxUnasked is how many of one person's are fetched unasked at once: tries in vain take places too.
	maxUnasked = 16
	// MaxFiles is how many files one message has at most.
	MaxFiles = 8
	// MaxPreview is the largest preview, in bytes.
	MaxPreview = 64 << 10
	// MaxName is the longest name of a file, in bytes of UTF-8, that is sent or made.
	MaxName = 120
	// maxType is the longest media type.
	maxType = 80
	// maxRelays is how many relays a descriptor names.
	maxRelays = 5
	// maxSources is how many are asked for one file.
	maxSources = 12
	// maxStrikes is how many failures in a row end a source for one run.
	maxStrikes = 2
	// maxActive is how many jobs run at once.
	maxActive = 8
	// maxGuests of these fetch what nobody asked for, maxGuestsOf for one author.
	maxGuests, maxGuestsOf = 4, 2

	// Life is how long a sender's device keeps what it sent, and how long a device keeps its copy of a file after it
	// was saved.
	Life = 30 * day
	day  = 24 * time.Hour

	retryMin = 2 * time.Second
	retryMax = 10 * time.Minute
	// hurryAfter is the least pause between two tries that a new connection causes.
	hurryAfter = 5 * time.Second
)
