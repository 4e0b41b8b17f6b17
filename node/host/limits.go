package host

import "time"

// agentVersion is what identify tells others: the name and nothing more, so that a version is no fingerprint.
const agentVersion = "kith"

// dialWithin bounds one dial.
const dialWithin = 10 * time.Second

// addrLife is how long libp2p remembers addresses that we gave it.
const addrLife = 30 * time.Minute

// maxSelfAddrs is how many addresses a node tells of itself.
const maxSelfAddrs = 8

// Connections that are kept: below low none is closed, above high the least useful are closed down to low.
const (
	personLow  = 48
	personHigh = 96
	relayLow   = 5000
	relayHigh  = 6000
	connGrace  = 30 * time.Second
)

// Resources that libp2p may take, system-wide.
const (
	personMemory      = 64 << 20 // bytes: libp2p counts the whole receive window of a stream, 256 KiB, full or not
	relayMemory       = 3 << 30  // bytes, of windows: 12,288 streams of TCP; what they really hold the relay bounds itself
	personConns       = 192
	relayConns        = 8192
	streamsPerConn    = 8
	personConnsPerIP  = 16
	relayConnsPerIP   = 256
	peerStreams       = 64 // with one peer
	peerStreamsIn     = 16 // of these, opened by it: each is negotiated before any protocol of ours can refuse it
	peerConns         = 8
	peerMemory        = 16 << 20 // bytes
	minFileDescriptor = 256
	prefix6           = 56 // bits: what one IPv6 customer has
)

// How an idle connection is kept and judged.
const (
	muxerPing  = time.Minute            // between two pings of yamux; one that is not answered in 10 s ends the connection
	muxerRare  = 10 * time.Minute       // the same where the other side pings, and between two measures of the way there and back
	probeIdle  = 30 * time.Second       // TCP: silence before the kernel asks; libp2p sets the same
	probeEvery = 5 * time.Second        // between two questions that nobody answers
	probes     = 3                      // unanswered ones before the connection is given up
	unheard    = 30 * time.Second       // TCP: how long what was sent may stay unacknowledged
	quicLater  = 750 * time.Millisecond // how much later QUIC is dialled where TCP is wanted
)
