package session

import (
	"encoding/binary"

	"github.com/kith-im/kith/crypto/identity"
)

// Types of envelopes, the first byte on the wire.
const (
	typeMessage     = 1
	typeFirstFlight = 2
)

// message is a well-sized message: type 1 | tag 8 | guard 8 | header 61 | body class+16.
type message []byte

// parseMessage checks type and size class; nothing else can be told without keys.
func parseMessage(raw []byte) (message, bool) {
	if len(raw) < overhead || raw[0] != typeMessage {
		return nil, false
	}
	plain := len(raw) - overhead
	return message(raw), plain > 0 && ClassOf(plain) == plain
}

func (m message) tag() [tagSize]byte { return [tagSize]byte(m[1:]) }
func (m message) header() []byte     { return m[1+tagSize+guardSize : preambleSize] }
func (m message) body() []byte       { return m[preambleSize:] }

// nonce is guard | first four bytes of the tag. The guard is random, so that a session restored
// from an old copy, which repeats keys, does not repeat nonces with them.
func (m message) nonce() []byte {
	n := make([]byte, 0, nonceSize)
	n = append(n, m[1+tagSize:1+tagSize+guardSize]...)
	return append(n, m[1:1+nonceSize-guardSize]...)
}

// headerAD and bodyAD bind the session and everything that stands before the ciphertext.
func (m message) headerAD(ad *[keySize]byte) []byte {
	return append(append(make([]byte, 0, keySize+preambleSize), ad[:]...), m[:1+tagSize+guardSize]...)
}

func (m message) bodyAD(ad *[keySize]byte) []byte {
	return append(append(make([]byte, 0, keySize+preambleSize), ad[:]...), m[:preambleSize]...)
}

// firstFlight is a well-sized first flight:
// type 1 | prekey id 8 | EA 32 | ct 1088 | sealed identity 156 | message.
type firstFlight struct {
	prefix []byte
	message
}

func parseFirstFlight(raw []byte) (firstFlight, bool) {
	if len(raw) < prefixSize || raw[0] != typeFirstFlight {
		return firstFlight{}, false
	}
	m, ok := parseMessage(raw[prefixSize:])
	return firstFlight{raw[:prefixSize], m}, ok
}

func (f firstFlight) prekey() []byte   { return f.prefix[1 : 1+prekeyIDSize] }
func (f firstFlight) ea() []byte       { return f.prefix[1+prekeyIDSize:][:keySize] }
func (f firstFlight) ct() []byte       { return f.prefix[1+prekeyIDSize+keySize:][:ctSize] }
func (f firstFlight) sealedID() []byte { return f.prefix[prefixSize-sealedIDSize:] }

// messageOf finds the message in an envelope of either type.
func messageOf(envelope []byte) (message, bool) {
	if f, ok := parseFirstFlight(envelope); ok {
		return f.message, true
	}
	return parseMessage(envelope)
}

// FirstFlight is what anybody sees of a first flight. Both fields together are the key of the
// caller's replay cache, which must live as long as the prekey's secret.
type FirstFlight struct {
	Prekey [8]byte  // first bytes of the hash of the bundle it was made for
	EA     [32]byte // the initiator's ephemeral key
}

// ParseFirstFlight takes a cheap look at a first flight. It checks sizes only and says false for
// everything else; the result has proved nothing.
func ParseFirstFlight(envelope []byte) (FirstFlight, bool) {
	f, ok := parseFirstFlight(envelope)
	if !ok {
		return FirstFlight{}, false
	}
	return FirstFlight{[8]byte(f.prekey()), [32]byte(f.ea())}, true
}

// ClassOf is the smallest size class, in bytes, that holds a plaintext body of n bytes, and 0
// if none does.
func ClassOf(n int) int {
	for _, class := range classes {
		if n <= class {
			return class
		}
	}
	return 0
}

// ContentRoom is the content, in bytes, that fits a size class beside counter and both digests,
// without a token.
func ContentRoom(class int) int { return class - bodyFixed }

// EnvelopeSize is the size in bytes of an envelope with contentLen bytes of content, counter and
// both digests, without a token; first says whether it is a first flight. 0 means too large.
func EnvelopeSize(contentLen int, first bool) int {
	class := ClassOf(bodyFixed + contentLen)
	if contentLen > MaxContent || class == 0 {
		return 0
	}
	if first {
		return prefixSize + overhead + class
	}
	return overhead + class
}

// encodeID is the identity block of a first flight.
func encodeID(s Sender) []byte {
	out := make([]byte, 0, idSize)
	out = append(out, s.User[:]...)
	out = append(out, s.SigPub[:]...)
	out = append(out, s.IK[:]...)
	out = binary.BigEndian.AppendUint32(out, s.Head.Epoch)
	out = binary.BigEndian.AppendUint64(out, s.Head.Seq)
	return append(out, s.Head.Hash[:]...)
}

// parseID reads an identity block; every value of the right size is one.
func parseID(raw []byte) Sender {
	return Sender{
		Peer: Peer{User: identity.UserID(raw[:32]), SigPub: [32]byte(raw[32:]), IK: [32]byte(raw[64:])},
		Head: identity.Head{Epoch: binary.BigEndian.Uint32(raw[96:]), Seq: binary.BigEndian.Uint64(raw[100:]), Hash: [32]byte(raw[108:])},
	}
}
