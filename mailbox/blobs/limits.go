package blobs

import (
	"time"

	"github.com/kith-im/kith/mailbox"
)

const (
	// MaxClaims is how many owners one chunk may have.
	MaxClaims = 8
	// DefaultFloor is how much room on the disk is left to others, in bytes.
	DefaultFloor = 256 << 20

	// ChunkCost is what a chunk costs beside its bytes, in bytes of quotas: a file
	// and a row. Without it tiny chunks would fill a disk's inodes.
	ChunkCost = 16 << 10

	// maxGroup is how many changes share a commit at most.
	maxGroup = 256
	// sweepStep is how many claims of a day that is over one commit forgets.
	sweepStep = 128
	// copyBuffer is what one transfer holds in memory, in bytes.
	copyBuffer = 256 << 10
	// scrubTicks is how many ticks lie between two looks at all chunks, a day;
	// scrubRate how many bytes a second are read then.
	scrubTicks = int(24 * time.Hour / mailbox.TickEvery)
	scrubRate  = 16 << 20
	// lockWait is how long Open waits for the lock of another process.
	lockWait = time.Second
	// closeWithin is how long Close waits for the index to close.
	closeWithin = 5 * time.Second

	// MaxDigests is how many chunks one question may name.
	MaxDigests = 1024

	// maxStreamsPerPeer bounds the streams of one peer, maxStreams those of a
	// server: there the one that idles longest makes room.
	maxStreamsPerPeer = 8
	maxStreams        = 1024
	// maxEnding is how many streams beyond that may be in the middle of ending.
	maxEnding = 64
	// maxTransfers is how many chunks a server moves at once, each through one
	// buffer of copyBuffer: 32 MiB. maxTransfersOfGroup are those with one group
	// of addresses; loopback has no such limit.
	maxTransfers        = 128
	maxTransfersOfGroup = 32
	// streamsPerServer is how many streams a client holds to one server; a call
	// has one to itself.
	streamsPerServer = 4

	// maxDetail bounds the detail of a refusal, in bytes.
	maxDetail = 120
)

// Rates, in tokens: a question costs one, and one more for every 64 digests.
const (
	ratePerSecond  = 200
	rateBurst      = 2000
	groupPerSecond = 1000
	groupBurst     = 10_000
	// badCost is what a question costs whose signature did not hold, or whose
	// bytes were others than it said.
	badCost    = 50
	maxBuckets = 16_384
	// digestsPerToken is how many digests cost a token.
	digestsPerToken = 64
)

// Deadlines.
const (
	// idleWithin is how long a stream may be silent between two questions.
	idleWithin = time.Minute
	// pieceWithin is how long a frame may take, and how long some bytes of a chunk
	// may take to come or to go; chunkWithin is for all of a chunk.
	pieceWithin = 15 * time.Second
	chunkWithin = 3 * time.Minute
	// roomWithin is how long a question waits for its turn and for its rate.
	roomWithin = 10 * time.Second
	// answerWithin is how long a client waits for an answer; it covers the wait for
	// room and the commit.
	answerWithin = 45 * time.Second
	// dialWithin bounds opening a stream, the dial included.
	dialWithin = 15 * time.Second
	// restWithin is how long a client keeps a stream that it does not use; less
	// than idleWithin, so that it rarely meets one that is closed.
	restWithin = 30 * time.Second
)
