package session

import (
	"errors"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

var (
	// ErrOpen is every failure to open an envelope: malformed, altered, foreign, repeated.
	ErrOpen = errors.New("session: cannot open")
	// ErrTooFar says that an envelope bears an authentic header and lies too many messages
	// ahead. The session is unchanged; keep the envelope and try again after others.
	ErrTooFar = errors.New("session: too far ahead")
	// ErrState says that stored session state is damaged.
	ErrState = errors.New("session: damaged state")
	// ErrTooLarge says that content or token of a body passes its limit.
	ErrTooLarge = errors.New("session: body too large")
)

// Self is the device on whose behalf sessions are made. Head is the head of its own user's
// device list at that moment; it travels in first flights.
type Self struct {
	User identity.UserID
	Keys *identity.DeviceKeys
	Head identity.Head
}

// Peer is the other device of a session, as the handshake bound it.
type Peer struct {
	User   identity.UserID
	SigPub [32]byte // device signing key, Ed25519
	IK     [32]byte // identity key, X25519
}

// Device is the peer's device id.
func (p Peer) Device() identity.DeviceID { return identity.DeviceOf(p.SigPub) }

// Sender is what the identity block of a first flight names.
type Sender struct {
	Peer
	Head identity.Head // of the sender's device list when it initiated
}

// Session is the state shared with one peer device. It is a plain value without concurrency of
// its own: one owner, one call at a time. Persist it ([Session.Marshal]) before an envelope it
// sealed leaves, and before a relay is told to forget an envelope it opened.
type Session struct {
	peer   Peer
	prekey [prekeyIDSize]byte
	ad     [keySize]byte // binds every message to the handshake; its head is the session id

	initiated    bool
	established  bool
	prefix       []byte        // initiator until the first reply: what every envelope repeats
	prefixHash   [keySize]byte // responder: the prefix it accepted
	lastReceived int64         // unix milliseconds, 0 = never

	root     [keySize]byte
	send     chain   // not live: the next Seal makes a DH step first
	recv     chain   // not live: nothing received yet
	nextSend headKey // header keys of the chains to come
	nextRecv headKey
	local    [keySize]byte // own ratchet private key, zero when spent
	localPub [keySize]byte
	remote   [keySize]byte // the peer's ratchet public key
	previous uint32        // length of the last sending chain (PN)
	skipped  []skippedKey  // oldest first; shared between copies, never written in place
	epoch    epoch
}

// chain is one direction between two DH steps.
type chain struct {
	live bool
	key  [keySize]byte
	head headKey
	n    uint32 // number of the next message
	mix  uint32 // epoch that began with it, 0 = none
}

// ID is the session's id, the same on both sides.
func (s *Session) ID() [8]byte { return [8]byte(s.ad[:8]) }

// Peer is the other device.
func (s *Session) Peer() Peer { return s.peer }

// PrekeyID is the id of the responder's bundle that the session began with.
func (s *Session) PrekeyID() [8]byte { return s.prekey }

// Initiated says whether this side made the first flight.
func (s *Session) Initiated() bool { return s.initiated }

// Established says whether this side knows that both hold the session; until then every
// envelope it seals is a first flight.
func (s *Session) Established() bool { return s.established }

// LastReceived is when the last valid message was opened, the zero time if none was.
func (s *Session) LastReceived() time.Time {
	if s.lastReceived == 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.lastReceived)
}

// Clone returns an independent copy.
func (s *Session) Clone() *Session {
	c := *s
	c.prefix = slices.Clone(s.prefix)
	return &c
}

// Choose picks the session to send on: the one with the latest valid message, else the newest
// own initiation. ss holds the sessions with one device in the order they were made, which
// decides ties; the result is an index, -1 if there is none. Two devices that initiate at the
// same time agree after one delivery each way.
func Choose(ss []*Session) int {
	best := -1
	for i, s := range ss {
		if best < 0 || s.lastReceived >= ss[best].lastReceived {
			best = i
		}
	}
	return best
}
