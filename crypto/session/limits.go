package session

import "time"

// Sizes in bytes. docs/protocol.md, section "Session", draws the layouts.
const (
	keySize    = 32   // every symmetric key, X25519 key and hash
	tagSize    = 8    // lookup tag of a message
	guardSize  = 8    // random part of a message's nonce
	nonceSize  = 12   // guard | first 4 bytes of the tag
	aeadSize   = 16   // Poly1305 tag
	headerSize = 45   // flags 1 | ratchet key 32 | PN 4 | N 4 | mix epoch 4
	ctSize     = 1088 // ML-KEM-768 ciphertext
	ekSize     = 1184 // ... and encapsulation key
	idSize     = 140  // user 32 | device key 32 | identity key 32 | list epoch 4, number 8, hash 32

	sealedHeaderSize = headerSize + aeadSize
	sealedIDSize     = idSize + aeadSize
	// preambleSize is what stands before a message's body, overhead the whole cost of a message.
	preambleSize = 1 + tagSize + guardSize + sealedHeaderSize
	overhead     = preambleSize + aeadSize
	prekeyIDSize = 8
	// prefixSize is what a first flight puts before its message.
	prefixSize = 1 + prekeyIDSize + keySize + ctSize + sealedIDSize
)

// Plaintext size classes: every body is padded to one of them, in bytes.
var classes = [...]int{256, 512, 1024, 1536, 2048, maxClass}

const (
	maxClass     = 4096
	maxOpenClass = 2048 // whose envelope a front door takes
)

// MaxToken is the largest token of a body, in bytes.
const MaxToken = 128

// MaxContent is the largest content of a body, in bytes: it fits the largest class together
// with every other field at its largest.
const MaxContent = maxClass - bodyFixed - (tlvHead + MaxToken)

// MaxEnvelope is the largest envelope, in bytes: a first flight with a body of the largest class.
const MaxEnvelope = prefixSize + overhead + maxClass

const (
	digestSize   = 12
	standingSize = 3 * 8
	tlvHead      = 3 // type 1 | length 2
	// bodyFixed is what a body costs beside token and content: version, counter, two digests
	// and the head of the content.
	bodyFixed = 1 + (tlvHead + 8) + 2*(tlvHead+digestSize) + tlvHead
)

// Bounds of keys kept for messages that have not arrived.
const (
	maxGap      = 2000                // messages skipped at once in one chain
	maxSkipped  = 2048                // keys kept per session; the oldest go first
	skippedLife = 32 * 24 * time.Hour // longer than any relay keeps an envelope

	maxSkippedAll = 65_536 // keys kept of all sessions of a device: those of the session that received longest ago go first
)

// Post-quantum epochs.
const (
	epochMessages   = 50                 // of both directions, after which the next epoch is proposed
	epochLife       = 7 * 24 * time.Hour // ... or this long after the first one that was opened
	attachEvery     = 32                 // messages of a sending chain
	attachAlways    = 8                  // chains without an answer
	epochNumberSize = 4
)

// window is how many tags ahead the [Book] knows per receiving chain.
const window = 32

// Stored state.
const (
	skippedSize = tagSize + 8 + keySize
	// stateFixed: version 1 | suite 2 | flags 1 | epoch 4 | 15 keys | prekey id 8 | received 8 |
	// three counters 12 | length of the prefix 2 | epoch: since 4, begun 8, tries 1, role 1, mixed
	// into the sending chain 4, into the receiving chain 4, length of the secret 2 | number of
	// skipped keys 2.
	stateFixed = 1 + 2 + 1 + 4 + 15*keySize + prekeyIDSize + 8 + 12 + 2 + 24 + 2
)
