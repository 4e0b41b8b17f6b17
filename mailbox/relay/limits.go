package relay

import "time"

// Limits of one frame and of what a peer may hold.
const (
	// MaxFrame bounds the body of every frame, in bytes.
	MaxFrame = 64 << 10
	// maxFields bounds the protobuf fields of one message and of each message
	// nested in it, so that a small frame cannot ask for a large memory.
	maxFields = 1100

	// MaxBoxesPerStream is how many boxes one collect stream may watch.
	MaxBoxesPerStream = 32
	// MaxCoresPerCommit is how many set cores one commit may show, and how
	// many boxes one reserve may name.
	MaxCoresPerCommit = 8

	// MaxInFlight is how many requests of one stream the relay works on at
	// once; it reads no further frame until one is answered.
	MaxInFlight = 256
	// MaxStreamsPerPeer bounds the held streams of one peer, of both kinds.
	MaxStreamsPerPeer = 6
	// MaxStreams bounds the held streams of a relay.
	MaxStreams = 24_000

	// MaxCreditItems and MaxCreditBytes bound the window of a collect stream.
	MaxCreditItems = 4096
	MaxCreditBytes = 4 << 20
)

// Deadlines. A held stream may idle for ever between frames.
const (
	// firstFrameWithin is how long a new stream may take to say what it is for.
	firstFrameWithin = 10 * time.Second
	// bodyWithin is how long a frame may take from its first byte to its last.
	bodyWithin = 10 * time.Second
	// writeWithin is how long one flush may take.
	writeWithin = 20 * time.Second
	// answerWithin is how long a client waits for one answer when its context
	// sets no earlier deadline.
	answerWithin = 30 * time.Second
	// dialWithin bounds opening a held stream, the dial included.
	dialWithin = 15 * time.Second
)

// Rates of one peer, in requests.
const (
	// RatePerSecond is how fast the bucket of a peer fills.
	RatePerSecond = 200
	// RateBurst is the size of the bucket.
	RateBurst = 2000
	// maxBuckets is how many peers' buckets are remembered.
	maxBuckets = 16_384
)

// Sizes of buffers, in bytes.
const (
	readBuffer = 16 << 10
	// flushAt is how much one write gathers at most before it is sent.
	flushAt = 256 << 10
)
