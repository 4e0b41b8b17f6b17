package session

import (
	"fmt"
	"io"
	"math"

	"github.com/kith-im/kith/crypto/agree"
)

// errSpent is out of reach in practice: 2^32 messages without one answer.
var errSpent = fmt.Errorf("session: sending chain is spent")

// Seal makes the next envelope of the session, at most [MaxEnvelope] bytes. Persist the session
// before the envelope leaves the device.
//
// rng gives 8 bytes, 32 before them when a DH step is due, and 64 after them when an epoch is
// proposed. On an error the session is unchanged.
func (s *Session) Seal(rng io.Reader, b Body) ([]byte, error) {
	next, body := *s, fields{Body: b}
	if !next.send.live {
		if err := next.turnSend(rng); err != nil {
			return nil, err
		}
	}
	var guard [guardSize]byte
	if _, err := io.ReadFull(rng, guard[:]); err != nil {
		return nil, fmt.Errorf("session: entropy: %w", err)
	}
	if next.send.n == math.MaxUint32 {
		return nil, errSpent
	}
	if err := next.attach(rng, &body); err != nil {
		return nil, err
	}
	plain, err := body.encode()
	if err != nil {
		return nil, err
	}
	next.epoch.since++
	envelope := next.sealNext(guard, plain)
	*s = next
	return envelope, nil
}

// sealNext writes prefix, preamble and body, and moves the sending chain.
func (s *Session) sealNext(guard [guardSize]byte, plain []byte) []byte {
	c := &s.send
	tag := c.head.tagOf(c.n)
	key, nextKey := stepChain(c.key)
	h := header{ratchet: s.localPub, previous: s.previous, n: c.n, epoch: c.mix}.encode()

	out := make([]byte, len(s.prefix), len(s.prefix)+overhead+len(plain))
	copy(out, s.prefix)
	out = append(out, typeMessage)
	out = append(out, tag[:]...)
	out = append(out, guard[:]...)
	// Slices of out share its array, so the message grows as out does.
	whole := message(out[len(s.prefix):cap(out)])
	nonce := whole.nonce()
	ad := whole.headerAD(&s.ad)
	out = seal(out, c.head.seal[:], nonce, h[:], ad)
	out = seal(out, key[:], nonce, plain, append(ad, whole.header()...))

	c.key = nextKey
	c.n++
	return out
}

// turnSend makes a new ratchet key and begins a sending chain with it. It is due at the first
// message and at the first one after the peer's own turn.
func (s *Session) turnSend(rng io.Reader) error {
	key, err := newKey(rng)
	if err != nil {
		return err
	}
	dh, ok := agree.Secret(key, s.remote[:])
	if !ok {
		return ErrOpen
	}
	s.local, s.localPub = agree.ScalarOf(key), agree.PublicOf(key)
	mix, pq := s.mixing()
	s.send = chain{live: true, head: s.nextSend, mix: mix}
	var head [keySize]byte
	root := s.root // of its own: see headKey.tags
	s.root, s.send.key, head = stepRoot(root[:], dh, mix, pq)
	s.nextSend = newHeadKey(head)
	s.enter(mix)
	return nil
}
