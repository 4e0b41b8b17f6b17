package p2p

import (
	"time"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/link"
)

// Protocols of this package.
const (
	// DirectProtocol carries envelopes between two devices on a held stream.
	DirectProtocol = "/kith/direct/1"
	// LinkProtocol adds a device to an identity.
	LinkProtocol = "/kith/link/1"
)

// keysEvery is how often the node looks whether the keys of its store are due.
const keysEvery = time.Hour

// maxSignals is how many events that are kept nowhere wait for those who stream
// events and are slow.
const maxSignals = 64

// Limits of the loop.
const (
	// maxBatch is how many inputs share one transaction.
	maxBatch = 256
	// maxCalls bounds the queue of local callers, maxInputs that of peers and
	// performers. They are apart so that a flood from the network never keeps
	// the person's own commands out.
	maxCalls  = 256
	maxInputs = 1024
	// lazyWait is how long the news that a frame went out waits for company. It
	// is short beside every deadline of the engine.
	lazyWait = 25 * time.Millisecond
	// minTick is the shortest time between two ticks.
	minTick = 2 * time.Millisecond
	// maxWait is the longest the loop sleeps: it bounds the error that a step
	// of the wall clock makes in the engine's deadlines.
	maxWait = 10 * time.Minute
	// stuckMin and stuckMax bound the back-off while the store cannot write.
	stuckMin = 500 * time.Millisecond
	stuckMax = 30 * time.Second
)

// Limits of direct streams.
const (
	// maxEnvelope is the largest envelope in bytes, and so the largest frame.
	maxEnvelope = session.MaxEnvelope
	// frameHead is the size of a frame's length, in bytes.
	frameHead = 2
	// maxPending is how many envelopes of one peer wait for their commit; its
	// stream is not read further until one is through.
	maxPending = 32
	// framesPerSecond and frameBurst bound how fast one peer is read.
	framesPerSecond = 1000
	frameBurst      = 1000
	// maxPeerStreams is how many direct streams one peer may hold: two after a
	// simultaneous open, more only while an old connection dies.
	maxPeerStreams = 4
	// maxDirectStreams bounds all of them; the longest silent is closed for a new one.
	maxDirectStreams = 512
	// directDepth is how many envelopes wait for one peer's stream.
	directDepth = 256
	// maxDirectPeers is how many peers may have envelopes waiting at once.
	maxDirectPeers = 256
)

// Deadlines.
const (
	dialWithin       = 10 * time.Second
	firstFrameWithin = 10 * time.Second // a new direct stream says something
	bodyWithin       = 10 * time.Second // a frame, from its length to its end
	writeWithin      = 10 * time.Second // one frame out
	depositWithin    = 20 * time.Second // one request to a relay
	workWithin       = 20 * time.Second // proof of work for one deposit
	lookWithin       = 20 * time.Second // one directory lookup
	putWithin        = 45 * time.Second // one directory put
)

// Limits of the performers: requests at once, requests waiting, peers.
const (
	relayWidth   = 16
	relayDepth   = 1024
	maxRelays    = 256
	lookWidth    = 8
	lookDepth    = 512
	askWidth     = 2 // questions to the DNS
	askDepth     = 256
	putWidth     = 2
	putDepth     = 64
	connectWidth = 8
	connectDepth = 128
	advertWidth  = 4
	advertDepth  = 64
	// maxCollectors is how many relays hold a collect stream for us.
	maxCollectors = 32
	// maxWorkBits is the most work we do for one deposit: 2^22 hashes, about a second.
	maxWorkBits = 22
	// workStep is how many nonces are tried between two looks at the deadline.
	workStep = 1 << 14
)

// Collect streams.
const (
	collectMin    = time.Second
	collectMax    = 2 * time.Minute
	collectSteady = time.Minute    // a stream that lived this long resets the back-off
	collectFresh  = 10 * time.Hour // to 12.5 h: then a stream is replaced
)

// Connections.
const (
	mailIdle  = 5 * time.Minute // a relay that we ask nothing for so long is let go
	firstThin = 2 * time.Minute // after the start: to join the directory leaves dozens of connections that nothing needs
	keepPeers = 1               // that nothing else needs: the device's own host keeps them for the directory
)

// The relay role.
const (
	heartbeatEvery = 6 * time.Hour
	storeWithin    = 15 * time.Second // for the store to close
	scrubRate      = 16 << 20         // bytes a second: a scrub leaves the disk to deposits
	// relayHeap is what the collector holds a relay's memory to, unless GOMEMLIMIT says otherwise: a flood of frames
	// makes garbage faster than it comes round by itself.
	relayHeap = 400 << 20
)

// Adverts.
const (
	advertEvery   = 10 * time.Hour  // an advert lives at most a day
	advertRetry   = 5 * time.Minute // doubles up to advertEvery
	advertLife    = 24 * time.Hour
	advertSweep   = 10 * time.Minute
	maxCandidates = 256 // peers remembered for when to ask again
)

// Linking. Both sides close a stream that breaks one of these.
const (
	maxLinkHello   = 4 << 10 // bytes
	maxLinkWelcome = link.MaxPairFrame
	maxLinkRecord  = 16 << 10 // bytes
	maxLinkListed  = 64 << 10 // bytes
	linkWithin     = 30 * time.Second
	linkHelloIn    = 5 * time.Second // the first frame: whoever has none to say makes room
	maxLinkStreams = 64              // of all peers together
	linkPerMinute  = 600             // ... tries
	linkBurst      = 100
	maxLinkOpen    = 2  // of one peer, or one address
	linkEachMinute = 10 // ... tries
	linkEachBurst  = 6
	maxLinkAskers  = 1024 // peers and addresses remembered
	maxLinkFound   = 4    // peers that a new device tries
	linkRetry      = time.Second
	linkRetryMax   = 8 * time.Second
	// maxLinkDeclined is how often the other device may say no before we believe it: once it may just be busy.
	maxLinkDeclined = 3
)

// Modes of what the home folder holds.
const (
	folderMode = 0o700
	fileMode   = 0o600
)
