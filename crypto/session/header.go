package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// header is the encrypted part of a message that steers the ratchet.
type header struct {
	ratchet  [keySize]byte // the sender's ratchet public key
	previous uint32        // PN: length of the sender's previous chain
	n        uint32        // number of the message in its chain
	epoch    uint32        // post-quantum epoch mixed in with this chain; 0 = none
}

func (h header) encode() [headerSize]byte {
	var out [headerSize]byte // out[0] is the flags byte: none is defined
	copy(out[1:], h.ratchet[:])
	binary.BigEndian.PutUint32(out[33:], h.previous)
	binary.BigEndian.PutUint32(out[37:], h.n)
	binary.BigEndian.PutUint32(out[41:], h.epoch)
	return out
}

// parseHeader refuses flags: a sender that sets one relies on a receiver that understands it.
func parseHeader(raw []byte) (header, bool) {
	if len(raw) != headerSize || raw[0] != 0 {
		return header{}, false
	}
	return header{
		ratchet:  [keySize]byte(raw[1:]),
		previous: binary.BigEndian.Uint32(raw[33:]),
		n:        binary.BigEndian.Uint32(raw[37:]),
		epoch:    binary.BigEndian.Uint32(raw[41:]),
	}, true
}

// headKey is the header key of one chain with the two keys derived from it. The zero value is
// no key. Only the secret is stored; the rest is worked out when it is first needed.
type headKey struct {
	secret  [keySize]byte
	seal    [keySize]byte // encrypts headers
	tag     [keySize]byte // makes lookup tags
	derived bool
}

func newHeadKey(secret [keySize]byte) headKey { return headKey{secret: secret} }

func (k *headKey) derive() {
	if k.derived {
		return
	}
	secret := k.secret // of its own, as in tags
	both := expand(secret[:], labelHeader, 2*keySize)
	k.seal, k.tag, k.derived = [keySize]byte(both), [keySize]byte(both[keySize:]), true
}

// tags makes the lookup tags of messages from, from+1, … into out.
func (k *headKey) tags(from uint32, out [][tagSize]byte) {
	k.derive()
	key := k.tag // of its own: what goes through an interface takes all that it is part of to the heap
	h := hmac.New(sha256.New, key[:])
	var number [4]byte
	var sum [sha256.Size]byte
	for i := range out {
		if i > 0 { // a fresh one is ready, and a reset costs as much as a tag
			h.Reset()
		}
		binary.BigEndian.PutUint32(number[:], from+uint32(i))
		h.Write(number[:])
		h.Sum(sum[:0])
		out[i] = [tagSize]byte(sum[:])
	}
}

// tagOf is the lookup tag of message n.
func (k *headKey) tagOf(n uint32) [tagSize]byte {
	var one [1][tagSize]byte
	k.tags(n, one[:])
	return one[0]
}

// open decrypts the header of m if this is its key.
func (k *headKey) open(ad *[keySize]byte, m message) (header, bool) {
	k.derive()
	raw, ok := open(k.seal[:], m.nonce(), m.header(), m.headerAD(ad))
	if !ok {
		return header{}, false
	}
	h, ok := parseHeader(raw)
	return h, ok && k.tagOf(h.n) == m.tag()
}
