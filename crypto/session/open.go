package session

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/agree"
)

// Open opens an envelope of the session: a message, or a repeated first flight of the session
// it accepted. An envelope opens once; a second time is ErrOpen. Everything is worked out on a
// copy, and the session changes only when the whole envelope is authentic.
//
// Cost before authenticity is known: at most two header trials, one DH step and 2*2,000 chain
// steps, the latter two only behind an authentic header.
func (s *Session) Open(envelope []byte, now time.Time) (Body, error) {
	return s.open(envelope, now, agree.Encapsulate)
}

func (s *Session) open(envelope []byte, now time.Time, encapsulate encapsulator) (Body, error) {
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
	next.absorb(body, now, encapsulate)
	*s = next
	return body.Body, nil
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
			if h.epoch != s.recv.mix {
				return [keySize]byte{}, ErrOpen
			}
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
	local, err := agree.NewPrivate(s.local[:])
	if err != nil {
		return ErrOpen
	}
	dh, ok := agree.Secret(local, h.ratchet[:])
	if !ok {
		return ErrOpen
	}
	pq, ok := s.mixed(h.epoch)
	if !ok {
		return ErrOpen
	}
	s.recv = chain{live: true, head: s.nextRecv, mix: h.epoch}
	var head [keySize]byte
	root := s.root // of its own: see headKey.tags
	s.root, s.recv.key, head = stepRoot(root[:], dh, h.epoch, pq)
	s.nextRecv = newHeadKey(head)
	s.remote = h.ratchet
	s.local, s.localPub = [keySize]byte{}, [keySize]byte{}
	s.previous = s.send.n
	s.send = chain{}
	s.enter(h.epoch)
	return nil
}

// skippedKey is the key of a message that has not arrived. Its tag alone finds it: the body is
// authenticated together with the header, so the header key is not needed any more.
type skippedKey struct {
	tag  [tagSize]byte
	kept int64 // unix milliseconds
	key  [keySize]byte
}

// skipTo moves the receiving chain to message n and keeps the keys of those in between.
func (s *Session) skipTo(n uint32, now time.Time) error {
	c := &s.recv
	switch {
	case n < c.n:
		return ErrOpen // was opened before, or its key has expired
	case n == c.n:
		return nil
	case !c.live:
		return ErrOpen // a peer that has not sent yet has no previous chain
	case n-c.n > maxGap:
		return ErrTooFar
	}
	tags := make([][tagSize]byte, n-c.n)
	c.head.tags(c.n, tags)
	kept := slices.Clone(s.skipped)
	for _, tag := range tags {
		key, next := stepChain(c.key)
		kept = append(kept, skippedKey{tag, now.UnixMilli(), key})
		c.key = next
	}
	c.n = n
	s.skipped = kept[max(0, len(kept)-maxSkipped):]
	return nil
}

func findSkipped(keys []skippedKey, tag [tagSize]byte, now time.Time) int {
	return slices.IndexFunc(keys, func(k skippedKey) bool { return k.tag == tag && !k.expired(now) })
}

func (k skippedKey) expired(now time.Time) bool {
	return now.UnixMilli()-k.kept > skippedLife.Milliseconds()
}

// expireSkipped leaves keys as they are and returns those that still live.
func expireSkipped(keys []skippedKey, now time.Time) []skippedKey {
	if !slices.ContainsFunc(keys, func(k skippedKey) bool { return k.expired(now) }) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k skippedKey) bool { return k.expired(now) })
}

// Expire forgets the keys of messages that were skipped more than 32 days ago and returns their
// number. Open does the same; this is for sessions that have fallen silent.
func (s *Session) Expire(now time.Time) int {
	before := len(s.skipped)
	s.skipped = expireSkipped(s.skipped, now)
	return before - len(s.skipped)
}

// Forget drops the keys of the n messages that were skipped first.
func (s *Session) Forget(n int) { s.skipped = slices.Clone(s.skipped[min(max(n, 0), len(s.skipped)):]) }

// Skipped is the number of kept keys, at most 2,048.
func (s *Session) Skipped() int { return len(s.skipped) }
