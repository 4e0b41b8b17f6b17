package dht

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
)

const labelSealed = "kith1 sealed set sig"

// sealed is the outer form of a set in the directory: anyone can check who
// wrote it and which version it is, only holders of the record key can read it.
type sealed struct {
	box      ed25519.PublicKey
	number   uint64
	notAfter time.Time
	head     []byte // signed bytes before the box; associated data of it
	box24    []byte // nonce 24 | ciphertext
}

// SealSet makes the directory copy of a set (docs/protocol.md, "Sealed set").
// It is deterministic: the nonce is a MAC of what it seals, so that sealing a
// record again gives the same bytes and a republish never looks like
// equivocation. recordKey is the epoch's record key, 32 bytes; boxKey must be
// the record's own box key.
func SealSet(boxKey ed25519.PrivateKey, recordKey [32]byte, rec *SetRecord) ([]byte, error) {
	if !rec.core.Box.Equal(publicOf(boxKey)) {
		return nil, ErrInvalid
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(recordVersion)
	b.AddBytes(rec.core.Box)
	b.AddUint64(rec.core.Number)
	addTime(b, rec.core.NotAfter)
	head := bytes.Clone(b.BytesOrPanic())
	box := sealPadded(recordKey, head, rec.raw)
	b.AddUint32LengthPrefixed(func(c *cryptobyte.Builder) { c.AddBytes(box) })
	return sign(boxKey, labelSealed, b.BytesOrPanic()), nil
}

// OpenSet reads a directory copy with the epoch's record key and verifies the
// record inside; outside and inside must agree.
func OpenSet(recordKey [32]byte, value []byte) (*SetRecord, error) {
	outer, err := parseSealed(value)
	if err != nil {
		return nil, ErrInvalid
	}
	raw, ok := openPadded(recordKey, outer.head, outer.box24)
	if !ok {
		return nil, ErrInvalid
	}
	rec, err := ParseSetRecord(raw)
	if err != nil || !rec.core.Box.Equal(outer.box) || rec.core.Number != outer.number ||
		!rec.core.NotAfter.Equal(outer.notAfter) {
		return nil, ErrInvalid
	}
	return rec, nil
}

func parseSealed(value []byte) (*sealed, error) {
	body, sig, ok := splitSig(value, MaxRecord)
	if !ok {
		return nil, ErrInvalid
	}
	var o sealed
	var key []byte
	var box cryptobyte.String
	s := cryptobyte.String(body)
	if !readVersion(&s) || !s.ReadBytes(&key, ed25519.PublicKeySize) || !s.ReadUint64(&o.number) ||
		!readTime(&s, &o.notAfter) || o.notAfter.IsZero() {
		return nil, ErrInvalid
	}
	o.head = body[:len(body)-len(s)]
	if !readU32Prefixed(&s, &box) || !s.Empty() || !verify(key, labelSealed, body, sig) {
		return nil, ErrInvalid
	}
	o.box, o.box24 = key, box
	return &o, nil
}

// sealPadded hides raw and its length: LP(raw) is padded with zeros to a
// multiple of SealPadding, so that the number of relays does not show.
func sealPadded(recordKey [32]byte, ad, raw []byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint32LengthPrefixed(func(c *cryptobyte.Builder) { c.AddBytes(raw) })
	plain := b.BytesOrPanic()
	if rest := len(plain) % SealPadding; rest != 0 {
		plain = append(plain, make([]byte, SealPadding-rest)...)
	}
	mac := hmac.New(sha256.New, subkey(recordKey, "kith1 set nonce"))
	mac.Write(ad)
	mac.Write(plain)
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSizeX]
	aead, err := chacha20poly1305.NewX(subkey(recordKey, "kith1 set seal"))
	if err != nil {
		panic(err) // the key is always 32 bytes
	}
	return aead.Seal(nonce, nonce, plain, ad)
}

func openPadded(recordKey [32]byte, ad, box []byte) ([]byte, bool) {
	aead, err := chacha20poly1305.NewX(subkey(recordKey, "kith1 set seal"))
	if err != nil || len(box) < aead.NonceSize() {
		return nil, false
	}
	plain, err := aead.Open(nil, box[:aead.NonceSize()], box[aead.NonceSize():], ad)
	if err != nil {
		return nil, false
	}
	var raw cryptobyte.String
	s := cryptobyte.String(plain)
	if !readU32Prefixed(&s, &raw) || len(s) >= SealPadding || len(bytes.Trim(s, "\x00")) != 0 {
		return nil, false
	}
	return raw, true
}

func subkey(recordKey [32]byte, info string) []byte {
	key, err := hkdf.Expand(sha256.New, recordKey[:], info, chacha20poly1305.KeySize)
	if err != nil {
		panic(err) // the length is a constant far below the limit of HKDF
	}
	return key
}

func readU32Prefixed(s, out *cryptobyte.String) bool {
	var n uint32
	return s.ReadUint32(&n) && n <= MaxRecord && s.ReadBytes((*[]byte)(out), int(n))
}
