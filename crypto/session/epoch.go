package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/kith-im/kith/crypto/agree"
)

// Post-quantum epochs. Beside the X25519 steps of the ratchet an ML-KEM-768 secret enters the root
// key now and then, so that recorded traffic heals from a stolen state also for whoever has a
// quantum computer. For epoch e+1 the initiator proposes if e is even, else the responder: its
// body carries an encapsulation key, the peer's next ones the ciphertext, and the proposer mixes
// the secret into its next sending step and names the epoch in every header of that chain. Whoever
// made the ciphertext has the secret, so each message of the chain is enough to follow.
//
// What the peer lacks rides on the first message of every sending chain and every 32nd, or the next
// that has room for it. A relay can tell such messages by their size and drop them: after 8 chains
// that the peer heard of, and did not answer to what they began with, it rides on all.

// epoch is what a session knows of its post-quantum epochs.
type epoch struct {
	number uint32 // the last one that was mixed in
	since  uint32 // messages sealed and opened since
	begun  int64  // unix milliseconds of the first message opened in it, 0 = none
	due    bool   // it has lasted for epochLife
	owed   bool   // the last message that should have carried what is held had no room for it
	tries  uint8  // chains whose first messages carried what is held, up to attachAlways
	role   epochRole
	secret []byte // what the role holds; never written in place
	ek     []byte // of the proposer: the key that its seed makes, once it was sent; not stored
}

// epochRole is how far the next epoch has come on this side.
type epochRole uint8

const (
	epochIdle     epochRole = iota
	epochProposed           // secret: seed 64 of the decapsulation key
	epochAnswered           // secret: shared secret 32 | ciphertext 1088
	epochReady              // the proposer has the answer. secret: shared secret 32
)

// epochHolds is the size of a role's secret.
var epochHolds = [...]int{epochIdle: 0, epochProposed: agree.SeedSize, epochAnswered: keySize + ctSize, epochReady: keySize}

// epochAttaches is the size of what a role sends to the peer.
var epochAttaches = [...]int{epochIdle: 0, epochProposed: ekSize, epochAnswered: ctSize, epochReady: 0}

// encapsulator is ML-KEM-768 encapsulation; tests fix its entropy.
type encapsulator func(*agree.Encapsulator) (ss, ct []byte)

// Epoch is the number of post-quantum epochs since the handshake, which is one by itself.
func (s *Session) Epoch() uint32 { return s.epoch.number }

// Stalled says that the peer answers messages and not the half of an epoch that went with them:
// somebody drops those that are large enough for it.
func (s *Session) Stalled() bool { return s.epoch.tries >= attachAlways }

// proposes says whether the next epoch is this side's to propose.
func (s *Session) proposes() bool { return s.initiated == (s.epoch.number%2 == 0) }

// attach puts what the peer lacks into the body of message n of the sending chain. Only rng can fail.
func (s *Session) attach(rng io.Reader, b *fields) error {
	e := &s.epoch
	if !s.established || s.send.n%attachEvery != 0 && !e.owed && e.tries < attachAlways {
		return nil
	}
	if e.role == epochIdle && s.proposes() && (e.due || e.since >= epochMessages) {
		seed := make([]byte, agree.SeedSize)
		if _, err := io.ReadFull(rng, seed); err != nil {
			return fmt.Errorf("session: entropy: %w", err)
		}
		e.role, e.secret = epochProposed, seed
	}
	size := epochAttaches[e.role]
	if size == 0 {
		return nil
	}
	// Room first: to make the key from its seed costs as much as ten messages.
	if e.owed = !b.fits(tlvHead + epochNumberSize + size); e.owed {
		return nil
	}
	field := binary.BigEndian.AppendUint32(make([]byte, 0, epochNumberSize+size), e.number+1)
	if e.role == epochAnswered {
		b.pqCipher = append(field, e.secret[keySize:]...)
	} else {
		if e.ek == nil {
			dk, err := agree.NewDecapsulator(e.secret)
			if err != nil {
				return ErrState
			}
			e.ek = agree.EncapsulationKey(dk)
		}
		b.pqKey = append(field, e.ek...)
	}
	if s.send.n < attachEvery {
		e.tries = min(e.tries+1, attachAlways)
	}
	return nil
}

// absorb takes in what a body says of the next epoch. What does not fit the state, or is no key,
// is ignored: the session goes on without.
func (s *Session) absorb(b fields, now time.Time, encapsulate encapsulator) {
	e := &s.epoch
	e.since++
	if e.begun == 0 {
		e.begun = now.UnixMilli()
	}
	e.due = e.due || now.UnixMilli()-e.begun >= epochLife.Milliseconds()
	if field, ok := s.ofNext(b.pqKey); ok && e.role == epochIdle && !s.proposes() {
		if ek, err := agree.NewEncapsulator(field); err == nil {
			ss, ct := encapsulate(ek)
			e.role, e.secret, e.tries = epochAnswered, append(ss, ct...), 0
		}
	}
	if field, ok := s.ofNext(b.pqCipher); ok && e.role == epochProposed {
		dk, err := agree.NewDecapsulator(e.secret)
		if err != nil {
			return
		}
		if ss, err := agree.Decapsulate(dk, field); err == nil {
			e.role, e.secret, e.ek, e.tries = epochReady, ss, nil, 0
		}
	}
}

// ofNext is what a field holds for the epoch after the present one.
func (s *Session) ofNext(field []byte) ([]byte, bool) {
	if len(field) < epochNumberSize || uint64(binary.BigEndian.Uint32(field)) != uint64(s.epoch.number)+1 {
		return nil, false
	}
	return field[epochNumberSize:], true
}

// mixing is the epoch that the next sending chain begins, with its secret; 0 = none.
func (s *Session) mixing() (uint32, []byte) {
	if s.epoch.role != epochReady {
		return 0, nil
	}
	return s.epoch.number + 1, s.epoch.secret
}

// mixed is the secret of the epoch that the peer's new chain names. Only who answered has it.
func (s *Session) mixed(number uint32) ([]byte, bool) {
	if number == 0 {
		return nil, true
	}
	e := &s.epoch
	if e.role != epochAnswered || number != e.number+1 {
		return nil, false
	}
	return e.secret[:keySize:keySize], true
}

// enter begins an epoch on this side; 0 = none began. The secret that it was made of goes.
func (s *Session) enter(number uint32) {
	if number != 0 {
		s.epoch = epoch{number: number, begun: s.lastReceived}
	}
}
