// Package pass makes and checks the passes by which a contact's device is let
// into one box of an epoch.
//
// The owner of a box certifies a holder key (Issue); the holder signs one use
// of the certificate for one relay (Use); the relay checks both (Check). What
// a relay sees is a pseudonym that lives as long as the box, one epoch: two
// epochs' holder keys have nothing in common for whoever lacks the secret that
// makes them (HolderKey), and two relays may compare what they saw of one box
// but cannot use it at a third.
//
// Guarantees. A pass is worthless at another relay and at another box. Checking
// is a pure function of its bytes.
//
// Not guaranteed. A relay that holds a box sees which of its envelopes came by
// one pass. A pass cannot be taken back before its epoch ends. Who is given the
// secret is the owner's affair.
package pass

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
)

const (
	// CertSize is the size of a certificate: version 1 | holder key 32 | signature 64.
	CertSize = 1 + ed25519.PublicKeySize + ed25519.SignatureSize
	// Size is the size of a pass in bytes: certificate | signature 64.
	Size = CertSize + ed25519.SignatureSize
	// SecretSize is the size of the secret that holder keys are made of.
	SecretSize = 32

	version = 1

	labelHolder = "kith1 pass holder"
	labelCert   = "kith1 pass sig"
	labelID     = "kith1 pass id"
	labelUse    = "kith1 pass use sig"
)

// ID names a certificate: the first 8 bytes of SHA-256("kith1 pass id" | cert).
// Zero stands for no pass.
type ID [8]byte

// Cert is the box owner's word for a holder key: version u8 = 1 | holder key 32 |
// Ed25519 by the box key over "kith1 pass sig" | holder key.
type Cert [CertSize]byte

// HolderKey is the holder's key of one epoch, from the secret of 32 bytes that
// owner and holder share.
func HolderKey(secret []byte, epoch uint32) ed25519.PrivateKey {
	info := binary.BigEndian.AppendUint32([]byte(labelHolder), epoch)
	seed, err := hkdf.Key(sha256.New, secret, nil, string(info), ed25519.SeedSize)
	if err != nil {
		panic("pass: hkdf: " + err.Error()) // only for more than 255 blocks
	}
	return signature.NewKey(seed)
}

// Issue certifies a holder key, 32 bytes, for the box whose key signs.
func Issue(box ed25519.PrivateKey, holder ed25519.PublicKey) Cert {
	return Join(holder, signature.Sign(box, certBytes(holder)))
}

// Join makes a certificate of a holder key and the owner's signature, the part
// of it that travels to the holder. It checks nothing: see Verify.
func Join(holder ed25519.PublicKey, sig []byte) (c Cert) {
	c[0] = version
	copy(c[1:], holder)
	copy(c[1+ed25519.PublicKeySize:], sig)
	return c
}

// Holder is the holder's public key.
func (c Cert) Holder() ed25519.PublicKey {
	return c[1 : 1+ed25519.PublicKeySize : 1+ed25519.PublicKeySize]
}

// Sig is the owner's signature, 64 bytes.
func (c Cert) Sig() []byte { return c[1+ed25519.PublicKeySize:] }

// ID names the certificate.
func (c Cert) ID() ID {
	sum := sha256.Sum256(append([]byte(labelID), c[:]...))
	return ID(sum[:8])
}

// Verify says whether the owner of a box (its public key) issued the certificate.
func (c Cert) Verify(box ed25519.PublicKey) bool {
	return len(box) == ed25519.PublicKeySize && c[0] == version && signature.Verify(box, certBytes(c.Holder()), c.Sig())
}

// Use makes the pass that a deposit at one relay (its 38-byte peer id) carries:
// cert | Ed25519 by the holder key over "kith1 pass use sig" | LP(relay) | box id.
func Use(holder ed25519.PrivateKey, c Cert, relay []byte, box [32]byte) []byte {
	out := make([]byte, 0, Size)
	out = append(out, c[:]...)
	return append(out, signature.Sign(holder, useBytes(relay, box))...)
}

// Check parses a pass and says whether it lets into the box with this public
// key at this relay.
func Check(raw []byte, box ed25519.PublicKey, relay []byte) (Cert, bool) {
	if len(raw) != Size {
		return Cert{}, false
	}
	c := Cert(raw[:CertSize])
	if !c.Verify(box) || !signature.Verify(c.Holder(), useBytes(relay, dht.BoxID(box)), raw[CertSize:]) {
		return Cert{}, false
	}
	return c, true
}

func certBytes(holder ed25519.PublicKey) []byte { return append([]byte(labelCert), holder...) }

func useBytes(relay []byte, box [32]byte) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(labelUse)+4+len(relay)+len(box)))
	b.AddBytes([]byte(labelUse))
	b.AddUint32(uint32(len(relay)))
	b.AddBytes(relay)
	b.AddBytes(box[:])
	return b.BytesOrPanic()
}
