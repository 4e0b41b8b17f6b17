package session

import (
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

var errSketch = errors.New("session: not built yet")

// Initiate starts a session with the device that published b.
func Initiate(rng io.Reader, self Self, b *identity.Bundle) (*Session, error) { return nil, errSketch }

// Accept opens a first flight.
func Accept(self Self, pre *identity.Prekey, check func(Sender) error, envelope []byte, now time.Time) (*Session, Sender, Body, error) {
	return nil, Sender{}, Body{}, errSketch
}

// PeekSender opens only the identity block of a first flight.
func PeekSender(self Self, pre *identity.Prekey, envelope []byte) (Sender, error) {
	return Sender{}, errSketch
}

// Seal seals b as the next envelope of the session.
func (s *Session) Seal(rng io.Reader, b Body) ([]byte, error) { return nil, errSketch }

// Open opens an envelope of the session.
func (s *Session) Open(envelope []byte, now time.Time) (Body, error) { return Body{}, errSketch }

// Marshal encodes the session.
func (s *Session) Marshal() []byte { return nil }

// ParseSession decodes what Marshal wrote.
func ParseSession(raw []byte) (*Session, error) { return nil, errSketch }

// Expire forgets the keys of messages skipped too long ago and says how many.
func (s *Session) Expire(now time.Time) int { return 0 }

// Skipped is the number of kept keys.
func (s *Session) Skipped() int { return 0 }

// ParseFirstFlight looks at the head of a first flight.
func ParseFirstFlight(envelope []byte) (FirstFlight, bool) { return FirstFlight{}, false }

// Choose picks the session to send on.
func Choose(ss []*Session) int { return 0 }

// EnvelopeSize is the size of an envelope.
func EnvelopeSize(contentLen int, first bool) int { return 0 }

// ClassOf is the size class of n bytes of plaintext.
func ClassOf(n int) int { return 0 }

// Book finds the session of an envelope.
type Book struct{}

// NewBook returns an empty book.
func NewBook() *Book { return nil }

// Put indexes a session under ref, replacing what stood there.
func (b *Book) Put(ref Ref, s *Session) {}

// Remove forgets ref.
func (b *Book) Remove(ref Ref) {}

// Find looks an envelope's tag up.
func (b *Book) Find(envelope []byte) (Ref, bool) { return Ref{}, false }

// Trial tries header keys.
func (b *Book) Trial(envelope []byte, budget int) []Ref { return nil }
