package session

import "github.com/kith-im/kith/crypto/agree"

// The handshake, suite 1 ("XIK", hybrid). The initiator A knows the responder's bundle: identity
// key IKb, prekey SPKb, ML-KEM key PQb, bundle hash bh. It makes EA and (ct, ss) and computes
//
//	d1 = DH(EA, SPKb)   d2 = DH(EA, IKb)   d3 = DH(IKa, SPKb)
//	t1 = H("kith1 hs1", bh, EA, ct)              ck  = Extract(t1, d1 | d2 | ss)
//	kid = Expand(ck, "kith1 id" | t1)            eid = AEAD(kid, nonce 0, ad t1, identity block)
//	t2 = H(t1, eid, IKa)                         ck2 = Extract(ck, d3)
//	root | HKa | NHKb = Expand(ck2, "kith1 session" | t2)
//	AD = H("kith1 ad", t2, identity block)       session id = AD[:8]
//
// The bundle hash covers suite, user, device and keys of the responder, AD those of the
// initiator: nobody can be made to talk to another device than he believes. d3 alone proves the
// initiator's identity, and only a message that opens under keys derived from it counts.

// opening is what both sides share before the initiator's identity key enters.
type opening struct {
	t1  [keySize]byte
	ck  []byte
	kid []byte
}

func newOpening(bundle [keySize]byte, ea, ct, d1, d2, ss []byte) opening {
	t1 := hashParts([]byte(labelHandshake), bundle[:], ea, ct)
	secret := make([]byte, 0, 3*keySize)
	secret = append(append(append(secret, d1...), d2...), ss...)
	ck := extract(t1[:], secret)
	return opening{t1, ck, expand(ck, labelIdentity+string(t1[:]), keySize)}
}

// sealID and openID use a zero nonce: kid is fresh with every EA and ct and used once.
func (o opening) sealID(block []byte) []byte {
	return seal(nil, o.kid, make([]byte, nonceSize), block, o.t1[:])
}

func (o opening) openID(sealed []byte) ([]byte, bool) {
	return open(o.kid, make([]byte, nonceSize), sealed, o.t1[:])
}

// agreed is what a finished handshake gives to the ratchet.
type agreed struct {
	root, headA, headB, ad [keySize]byte
}

// finish mixes in d3. block is the plain identity block, sealed what travelled.
func (o opening) finish(block, sealed, ik, d3 []byte) agreed {
	t2 := hashParts(o.t1[:], sealed, ik)
	k := expand(extract(o.ck, d3), labelSession+string(t2[:]), 3*keySize)
	return agreed{
		root:  [keySize]byte(k),
		headA: [keySize]byte(k[keySize:]),
		headB: [keySize]byte(k[2*keySize:]),
		ad:    hashParts([]byte(labelAD), t2[:], block),
	}
}

// responder holds the secrets that open first flights for one bundle.
type responder struct {
	bundle [keySize]byte // hash of the published bundle
	ik     *agree.Private
	spk    *agree.Private
	pq     *agree.Decapsulator
}

// opening computes the responder's half of the first step and reads the identity block, which
// proves nothing yet.
func (r responder) opening(f firstFlight) (opening, []byte, bool) {
	d1, ok1 := agree.Secret(r.spk, f.ea())
	d2, ok2 := agree.Secret(r.ik, f.ea())
	ss, err := agree.Decapsulate(r.pq, f.ct())
	if !ok1 || !ok2 || err != nil {
		return opening{}, nil, false
	}
	o := newOpening(r.bundle, f.ea(), f.ct(), d1, d2, ss)
	block, ok := o.openID(f.sealedID())
	return o, block, ok
}
