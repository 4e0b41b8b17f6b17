package session

import (
	"crypto/ecdh"
	"crypto/sha256"
	"slices"
	"time"
)

// Open opens an envelope of the session: a message, or a repeated first flight of the session
// it accepted. An envelope opens once; a second time is ErrOpen. Everything is worked out on a
// copy, and the session changes only when the whole envelope is authentic.
//
// Cost before authenticity is known: at most two header trials, one DH step and 2*2,000 chain
// steps, the latter two only behind an authentic header.
func (s *Session) Open(envelope []byte, now time.Time) (Body, error) {
	m, ok := s.unwrap(envelope)
	if !ok {
		return Body{}, ErrOpen
	}
	next := *s
	key, err := next.messageKey(m, now)
	if err != nil {
		return Body{}, err
	}
	plain, ok := open(key[:], m.nonce(), m.body(), m.bodyAD(&s.ad))
	if !ok {
		return Body{}, ErrOpen
	}
	body, ok := parseBody(plain)
	if !ok {
		return Body{}, ErrOpen
	}
	next.established = true
	next.prefix = nil
	next.lastReceived = now.UnixMilli()
	next.skipped = expireSkipped(next.skipped, now)
	*s = next
	return body, nil
}

// unwrap finds the message. Only a responder accepts first flights, and only with exactly the
// prefix that made the session.
func (s *Session) unwrap(envelope []byte) (message, bool) {
	f, ok := parseFirstFlight(envelope)
	if !ok {
		return parseMessage(envelope)
	}
	return f.message, !s.initiated && sha256.Sum256(f.prefix) == s.prefixHash
}

// messageKey finds the key of m and moves the state past it: among the kept keys by tag, else
// in the current or the next receiving chain by header key.
func (s *Session) messageKey(m message, now time.Time) ([keySize]byte, error) {
	if i := findSkipped(s.skipped, m.tag(), now); i >= 0 {
		key := s.skipped[i].key
		s.skipped = slices.Delete(slices.Clone(s.skipped), i, i+1)
		return key, nil
	}
	if s.recv.live {
		if h, ok := s.recv.head.open(&s.ad, m); ok {
			return s.take(h, now)
		}
	}
	h, ok := s.nextRecv.open(&s.ad, m)
	if !ok {
		return [keySize]byte{}, ErrOpen
	}
	if err := s.turnRecv(h, now); err != nil {
		return [keySize]byte{}, err
	}
	return s.take(h, now)
}

// take moves the receiving chain past message h.n and returns its key.
func (s *Session) take(h header, now time.Time) ([keySize]byte, error) {
	if err := s.skipTo(h.n, now); err != nil {
		return [keySize]byte{}, err
	}
	if h.n+1 == 0 {
		return [keySize]byte{}, ErrOpen // the counter must not wrap
	}
	key, next := stepChain(s.recv.key)
	s.recv.key = next
	s.recv.n++
	return key, nil
}

// turnRecv ends the current receiving chain at the length the peer states and begins the next.
// The own ratchet key is spent by it: the next Seal makes a new one.
func (s *Session) turnRecv(h header, now time.Time) error {
	if s.local == [keySize]byte{} {
		return ErrOpen // a peer cannot turn twice without an answer in between
	}
	if err := s.skipTo(h.previous, now); err != nil {
		return err
	}
	local, err := ecdh.X25519().NewPrivateKey(s.local[:])
	if err != nil {
		return ErrOpen
	}
	dh, ok := agree(local, h.ratchet[:])
	if !ok {
		return ErrOpen
	}
	s.recv = chain{live: true, head: s.nextRecv}
	var head [keySize]byte
	s.root, s.recv.key, head = stepRoot(s.root[:], dh)
	s.nextRecv = newHeadKey(head)
	s.remote = h.ratchet
	s.local, s.localPub = [keySize]byte{}, [keySize]byte{}
	s.previous = s.send.n
	s.send = chain{}
	return nil
}
