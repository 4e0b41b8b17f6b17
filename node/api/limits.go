package api

import "time"

const (
	// Version of the objects: the "v" of each.
	Version = 1

	// MaxRequest is the size of a request's body in bytes.
	MaxRequest = 64 << 10
	// MaxResponse is the size in bytes of a response or of one event that a client takes.
	MaxResponse = 16 << 20
	// MaxText is the size of a message's text in bytes.
	MaxText = 3500
	// MaxSocketPath is the length of a socket's path that every system accepts.
	MaxSocketPath = 103

	maxConns      = 128
	maxHeader     = 8 << 10 // bytes
	maxConsumers  = 64
	maxName       = 64 // bytes of a consumer's name
	maxKeySize    = 128
	defaultCount  = 50 // messages
	maxCount      = 1000
	eventsPerRead = 256

	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 10 * time.Second // of one write to a slow reader
	callTimeout   = 30 * time.Second // of a method that does not wait for people
	maxWait       = 10 * time.Minute // of message_wait
	closeTimeout  = 2 * time.Second
	dialTimeout   = 2 * time.Second

	// waitingGrace is how long message_wait gives the first lookups before it says that no relay is known.
	waitingGrace = 2 * time.Second

	leastRelayBytes = 1 << 20 // less the settings do not take at the next start
	leastBoxBytes   = 8 << 10 // one envelope

	defaultDrain = 24 * time.Hour
	maxDrain     = 30 * 24 * time.Hour

	defaultInviteTTL = 7 * 24 * time.Hour
	defaultOfferTTL  = time.Hour
	maxHistoryDays   = 36_500
	minTTL           = time.Hour
	maxTTL           = 30 * 24 * time.Hour
)
