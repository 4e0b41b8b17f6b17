package session

import (
	"errors"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

var (
	// ErrOpen is every failure to open an envelope: malformed, altered, foreign, repeated.
	ErrOpen = errors.New("session: cannot open")
	// ErrTooFar says that an envelope is authentic as far as can be told and lies too many
	// messages ahead. The session is unchanged; keep the envelope and try again later.
	ErrTooFar = errors.New("session: too far ahead")
	// ErrState says that stored session state is damaged.
	ErrState = errors.New("session: damaged state")
	// ErrTooLarge says that a body does not fit the largest size class.
	ErrTooLarge = errors.New("session: body too large")
)

// Self is the device on whose behalf sessions are made. Head is the head of its own user's
// device list at that moment.
type Self struct {
	User identity.UserID
	Keys *identity.DeviceKeys
	Head identity.Head
}

// Peer is the other device of a session, as the handshake bound it.
type Peer struct {
	User   identity.UserID
	SigPub [32]byte
	IK     [32]byte
}

// Device is the peer's device id.
func (p Peer) Device() identity.DeviceID { return identity.Device{SigPub: p.SigPub}.ID() }

// Sender is what the identity block of a first flight claims.
type Sender struct {
	Peer
	Head identity.Head // of the sender's device list when it initiated
}

// Body is what one envelope carries. Fields at their zero value are not encoded.
type Body struct {
	Counter           uint64   // per device pair, without gaps
	OwnHead, YourHead [12]byte // digests of device list heads: the sender's, and the recipient's as the sender knows it
	Token             []byte   // at most MaxToken bytes
	Content           []byte   // the same bytes for every device; at most MaxContent
}

// Ref names a session: the peer's device and the session's id.
type Ref struct {
	Device  identity.DeviceID
	Session [8]byte
}

// FirstFlight is what anybody sees of a first flight. Both fields together are the key of the
// caller's replay cache, which must live as long as the prekey's secret.
type FirstFlight struct {
	Prekey [8]byte
	EA     [32]byte
}

// Session is the state shared with one peer device.
type Session struct {
	peer         Peer
	prekey       [8]byte
	ad           [32]byte
	initiated    bool
	established  bool
	lastReceived time.Time
}

// ID is the session's id, the same on both sides.
func (s *Session) ID() [8]byte { return [8]byte(s.ad[:8]) }

// Peer is the other device.
func (s *Session) Peer() Peer { return s.peer }

// PrekeyID is the id of the responder's bundle that the session began with.
func (s *Session) PrekeyID() [8]byte { return s.prekey }

// Initiated says whether this side made the first flight.
func (s *Session) Initiated() bool { return s.initiated }

// Established says whether both sides hold the session: envelopes carry no prefix any more.
func (s *Session) Established() bool { return s.established }

// LastReceived is when the last valid message arrived, zero if none did.
func (s *Session) LastReceived() time.Time { return s.lastReceived }

// Clone returns an independent copy.
func (s *Session) Clone() *Session { c := *s; return &c }
