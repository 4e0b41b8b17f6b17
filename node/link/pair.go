package link

import (
	"crypto/hmac"
	"crypto/hpke"
	"errors"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Labels of the pairing of two devices.
const (
	labelHello    = "kith1 link hello"
	labelSnapshot = "kith1 link snapshot"
	labelRecord   = "kith1 link record"
	labelListed   = "kith1 link listed"
)

// Sizes of pairing frames, in bytes.
const (
	MaxPairFrame = 1 << 20 // the snapshot: contacts and records
	maxPairName  = 64
	pairKeySize  = 1216 // X-Wing encapsulation key
	pairEncSize  = 1120 // X-Wing ciphertext
	macSize      = 32
)

// ErrPair is the one error for a pairing frame that does not authenticate.
var ErrPair = errors.New("link: the other device could not be authenticated")

// Hello is the new device's first frame, in the clear and authenticated by the link's secret:
//
//	link id 8 | X-Wing key 1216 | signing key 32 | X25519 key 32 | LP8 name | HMAC 32
type Hello struct {
	Link   [8]byte
	Key    []byte
	SigPub [32]byte
	IKPub  [32]byte
	Name   string
}

// Pairing is one side's state between its frames.
type Pairing struct {
	secret [SecretSize]byte
	hello  []byte
	seed   [32]byte // the new device's; zero on the old one
}

// NewPairing begins on the new device: the key pair comes from 32 bytes of rng, so that the pairing can be stored and
// resumed with ResumePairing.
func NewPairing(rng io.Reader, secret [SecretSize]byte, sigPub, ikPub [32]byte, name string) (*Pairing, error) {
	p := &Pairing{secret: secret}
	if _, err := io.ReadFull(rng, p.seed[:]); err != nil {
		return nil, err
	}
	key, err := hpke.MLKEM768X25519().DeriveKeyPair(p.seed[:])
	if err != nil {
		return nil, err
	}
	id := ID(secret)
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes(id[:])
	b.AddBytes(key.PublicKey().Bytes())
	b.AddBytes(sigPub[:])
	b.AddBytes(ikPub[:])
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name[:min(len(name), maxPairName)])) })
	body, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	p.hello = append(body, p.mac(labelHello, body)...)
	return p, nil
}

// Hello is the frame to send first.
func (p *Pairing) Hello() []byte { return slices.Clone(p.hello) }

// ParseHello reads a hello without checking it: the link id says which secret Answer needs.
func ParseHello(frame []byte) (Hello, error) {
	var (
		h    Hello
		name cryptobyte.String
	)
	s := cryptobyte.String(frame)
	ok := s.CopyBytes(h.Link[:]) && s.ReadBytes(&h.Key, pairKeySize) && s.CopyBytes(h.SigPub[:]) &&
		s.CopyBytes(h.IKPub[:]) && s.ReadUint8LengthPrefixed(&name) && len(name) <= maxPairName && len(s) == macSize
	if !ok {
		return Hello{}, ErrPair
	}
	h.Name = string(name)
	return h, nil
}

// Answer checks a hello against the secret on the old device.
func Answer(secret [SecretSize]byte, frame []byte) (*Pairing, error) {
	if _, err := ParseHello(frame); err != nil {
		return nil, err
	}
	p := &Pairing{secret: secret, hello: slices.Clone(frame)}
	body := frame[:len(frame)-macSize]
	if id := ID(secret); string(id[:]) != string(frame[:8]) || !hmac.Equal(p.mac(labelHello, body), frame[len(body):]) {
		return nil, ErrPair
	}
	return p, nil
}

// SealSnapshot seals the old device's answer to the key of the hello. The secret enters the key schedule, so only
// somebody who read the link can have made it.
func (p *Pairing) SealSnapshot(snapshot []byte) ([]byte, error) {
	h, err := ParseHello(p.hello)
	if err != nil {
		return nil, err
	}
	key, err := hpke.MLKEM768X25519().NewPublicKey(h.Key)
	if err != nil {
		return nil, ErrPair
	}
	enc, s, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), p.info())
	if err != nil {
		return nil, ErrPair
	}
	sealed, err := s.Seal(nil, snapshot)
	return append(enc, sealed...), err
}

// OpenSnapshot opens the old device's answer on the new one.
func (p *Pairing) OpenSnapshot(frame []byte) ([]byte, error) {
	if len(frame) < pairEncSize || len(frame) > MaxPairFrame {
		return nil, ErrPair
	}
	key, err := hpke.MLKEM768X25519().DeriveKeyPair(p.seed[:])
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(frame[:pairEncSize], key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), p.info())
	if err != nil {
		return nil, ErrPair
	}
	out, err := r.Open(nil, frame[pairEncSize:])
	if err != nil {
		return nil, ErrPair
	}
	return out, nil
}

// info binds the snapshot to the secret and the hello: HMAC(secret, label | hello).
func (p *Pairing) info() []byte { return p.mac(labelSnapshot, p.hello) }

// SealRecord frames the new device's record: hello's link id 8 | record | HMAC 32.
func (p *Pairing) SealRecord(record []byte) []byte { return p.frame(labelRecord, record) }

// OpenRecord checks the frame of SealRecord.
func (p *Pairing) OpenRecord(frame []byte) ([]byte, error) { return p.unframe(labelRecord, frame) }

// SealListed frames the device list that names the new device.
func (p *Pairing) SealListed(list []byte) []byte { return p.frame(labelListed, list) }

// OpenListed checks the frame of SealListed.
func (p *Pairing) OpenListed(frame []byte) ([]byte, error) { return p.unframe(labelListed, frame) }

// FrameLink reads the link id of a framed value.
func FrameLink(frame []byte) ([8]byte, bool) {
	if len(frame) < 8+macSize {
		return [8]byte{}, false
	}
	return [8]byte(frame[:8]), true
}

func (p *Pairing) frame(label string, value []byte) []byte {
	body := slices.Concat(p.hello[:8], value)
	return append(body, p.mac(label, p.hello, body)...)
}

func (p *Pairing) unframe(label string, frame []byte) ([]byte, error) {
	if len(frame) < 8+macSize || len(frame) > MaxPairFrame {
		return nil, ErrPair
	}
	body := frame[:len(frame)-macSize]
	if !hmac.Equal(p.mac(label, p.hello, body), frame[len(body):]) {
		return nil, ErrPair
	}
	return slices.Clone(body[8:]), nil
}

func (p *Pairing) mac(label string, parts ...[]byte) []byte { return proof(p.secret, label, parts...) }

// Marshal keeps a pairing for a later ResumePairing: secret 16 | seed 32 | hello.
func (p *Pairing) Marshal() []byte { return slices.Concat(p.secret[:], p.seed[:], p.hello) }

// ResumePairing reads what Marshal wrote.
func ResumePairing(raw []byte) (*Pairing, error) {
	if len(raw) < SecretSize+32 {
		return nil, ErrPair
	}
	p := &Pairing{hello: slices.Clone(raw[SecretSize+32:])}
	copy(p.secret[:], raw)
	copy(p.seed[:], raw[SecretSize:])
	_, err := ParseHello(p.hello)
	return p, err
}
