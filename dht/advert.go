package dht

import (
	"bytes"
	"crypto/ed25519"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

const labelAdvert = "kith1 advert sig"

// Advert is what a relay says about itself. It is served by the relay on
// request and gossiped by other relays, never a value of the directory; its
// claims are unproved except for the key. At most MaxAdvert bytes.
type Advert struct {
	Peer             Peer      // at most MaxAdvertAddrs addresses
	Number           uint64    // the highest counts
	Issued, NotAfter time.Time // whole seconds, at most MaxAdvertLife apart
	MaxEnvelope      uint32    // largest envelope, bytes
	BoxBytes         uint64    // quota of one box, bytes
	BoxCount         uint32    // quota of one box, envelopes
	RetentionDays    uint16    // how long an envelope is kept
	WorkBits         byte      // difficulty asked of strangers
	Family           [8]byte   // relays of one operator carry the same; zero: none
	LeavingAt        time.Time // zero: not leaving

	raw []byte
}

// SignAdvert signs with the relay's libp2p host key, which a.Peer must name.
func SignAdvert(relay ed25519.PrivateKey, a Advert) (*Advert, error) {
	if !a.valid() || !bytes.Equal(a.Peer.ID, PeerFromKey(publicOf(relay))) {
		return nil, ErrInvalid
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(recordVersion)
	addPeer(b, a.Peer)
	b.AddUint64(a.Number)
	addTime(b, a.Issued)
	addTime(b, a.NotAfter)
	b.AddUint32(a.MaxEnvelope)
	b.AddUint64(a.BoxBytes)
	b.AddUint32(a.BoxCount)
	b.AddUint16(a.RetentionDays)
	b.AddUint8(a.WorkBits)
	b.AddBytes(a.Family[:])
	addTime(b, a.LeavingAt)
	return ParseAdvert(sign(relay, labelAdvert, b.BytesOrPanic()))
}

// ParseAdvert reads an advert and verifies the signature of the relay it names.
func ParseAdvert(raw []byte) (*Advert, error) {
	a, err := adverts.Of(raw, parseAdvert)
	if err != nil {
		return nil, err
	}
	own := *a // its fields may be changed
	return &own, nil
}

func parseAdvert(raw []byte) (*Advert, error) {
	raw = copyOf(raw, MaxAdvert)
	body, sig, ok := splitSig(raw, MaxAdvert)
	if !ok {
		return nil, ErrInvalid
	}
	a := &Advert{raw: raw}
	s := cryptobyte.String(body)
	if !readVersion(&s) || !readPeer(&s, MaxAdvertAddrs, &a.Peer) || !readOffer(&s, a) || !s.Empty() || !a.valid() {
		return nil, ErrInvalid
	}
	if key, ok := PeerKey(a.Peer.ID); !ok || !verify(key, labelAdvert, body, sig) {
		return nil, ErrInvalid
	}
	return a, nil
}

func readOffer(s *cryptobyte.String, a *Advert) bool {
	return s.ReadUint64(&a.Number) && readTime(s, &a.Issued) && readTime(s, &a.NotAfter) &&
		s.ReadUint32(&a.MaxEnvelope) && s.ReadUint64(&a.BoxBytes) && s.ReadUint32(&a.BoxCount) &&
		s.ReadUint16(&a.RetentionDays) && s.ReadUint8(&a.WorkBits) && s.CopyBytes(a.Family[:]) &&
		readTime(s, &a.LeavingAt)
}

func (a *Advert) valid() bool {
	return a.Peer.valid(MaxAdvertAddrs) && validSpan(a.Issued, a.NotAfter) && encodable(a.LeavingAt) &&
		whole(a.NotAfter).Sub(whole(a.Issued)) <= MaxAdvertLife
}

// Fresh reports whether the advert may be used now: not issued more than
// MaxSkew ahead, not past its notAfter mark.
func (a *Advert) Fresh(now time.Time) bool {
	return !a.Issued.After(now.Add(MaxSkew)) && !now.After(a.NotAfter)
}

// Is says whether the advert was read from these bytes.
func (a *Advert) Is(raw []byte) bool { return len(raw) > 0 && bytes.Equal(a.raw, raw) }

// Bytes is the advert as received or signed; nil before SignAdvert.
func (a *Advert) Bytes() []byte { return bytes.Clone(a.raw) }

// Raw is what Bytes is a copy of: nobody may change it.
func (a *Advert) Raw() []byte { return a.raw }
