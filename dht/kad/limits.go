package kad

import (
	"time"

	"github.com/kith-im/kith/dht"
)

const (
	// PublicK is the bucket size and the number of holders of a record in the
	// public network; small simulations use 8.
	PublicK = 20
	// MaxRecordAge is how long a node holds a record that nobody republishes.
	MaxRecordAge = 40 * 24 * time.Hour

	// alpha is how many peers a walk asks at once.
	alpha = 5
	// maxAsked bounds how many peers one walk asks: four times a public bucket.
	maxAsked = 4 * PublicK
	// patience is how long a walk lets an unanswered question fill one of its
	// alpha places; the answer still counts when it comes.
	patience = 400 * time.Millisecond
	// requestTimeout bounds one request to one peer, dial excluded.
	requestTimeout = 2500 * time.Millisecond
	// dialTimeout bounds one dial within a walk.
	dialTimeout = 3 * time.Second
	// walkTimeout bounds a lookup or a put whose caller has set no deadline.
	walkTimeout = 15 * time.Second
	// refineTimeout bounds how long Get looks for something newer than the
	// valid local copy that it could already return.
	refineTimeout = 3 * time.Second

	// maxPeerAddrs is how many addresses a named peer may have.
	maxPeerAddrs = 32
	// maxMessage bounds one message of the DHT protocol that we read: K peers
	// with addresses and one record fit several times.
	maxMessage = 128 << 10
	// maxIdle is how many unused streams are kept open to one peer.
	maxIdle = 2

	// maxConnectedAsked is how many connected peers a lookup asks directly.
	maxConnectedAsked = 8
	// maxServed is how many requests on /kith/record/1 are served at once;
	// more are reset.
	maxServed = 64
	// maxRequestFrame and maxAnswerFrame bound the frames of /kith/record/1.
	maxRequestFrame = 64
	maxAnswerFrame  = dht.MaxRecord + 16

	// cacheFor is how long a value found or confirmed by the network is
	// returned without asking again: long enough for a burst of lookups, short
	// enough for an engine that asks because what it has does not work.
	cacheFor = 15 * time.Second
	// confirmations is how many peers must hold nothing newer than our own copy
	// before a lookup ends with it.
	confirmations = 3
	// maxCached bounds the values kept in memory (at most 8 KiB each).
	maxCached = 512
	// maxClaims bounds the verified claims kept in memory (about 150 B each).
	maxClaims = 8192

	// maxEntries and maxBytes bound the values held for others.
	maxEntries = 32 << 10
	maxBytes   = 64 << 20
	// maxStored is the largest stored value: a record, its key and its time.
	maxStored = dht.MaxRecord + 256
	// sweepEvery is how often expired values are deleted; sweepPause is the
	// least time between two sweeps that a full store asks for.
	sweepEvery = time.Hour
	sweepPause = 10 * time.Minute

	// openTimeout is how long Open waits for the file's lock.
	openTimeout = 2 * time.Second
	// batchDelay is how long bbolt collects puts for one fsync.
	batchDelay = 2 * time.Millisecond

	// maxKnownPeers bounds the peer cache; maxKnownAge is when a peer that was
	// not in use is forgotten.
	maxKnownPeers = 128
	maxKnownAge   = 60 * 24 * time.Hour
	// rememberEvery is how often the peer cache is saved.
	rememberEvery = 10 * time.Minute
	// refreshEvery is how often the routing table is refreshed when it does not grow. It holds servers alone, which stay,
	// and every lookup drops those that do not answer.
	refreshEvery = 6 * time.Hour
	// redialMin and redialMax bound the back-off between rounds of dialling
	// while no kith peer is connected; dialsAtOnce is how many run at a time,
	// dialApart how long one is waited for before the next begins.
	redialMin   = 2 * time.Second
	redialMax   = 2 * time.Minute
	dialsAtOnce = 8
	dialApart   = 250 * time.Millisecond
)

// IP diversity of the routing table, as in the public IPFS network: at most
// this many peers of one /16 (IPv4) or AS (IPv6) per bucket and in all.
const (
	maxPerBucketGroup = 2
	maxPerGroup       = 3
)
