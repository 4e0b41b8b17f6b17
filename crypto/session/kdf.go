package session

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// Labels, exact ASCII. Each separates one use of one primitive.
const (
	labelHandshake = "kith1 hs1"
	labelIdentity  = "kith1 id"
	labelSession   = "kith1 session"
	labelAD        = "kith1 ad"
	labelHeader    = "kith1 hdr"
	labelRoot      = "kith1 ratchet"
	labelRootPQ    = "kith1 ratchet pq" // followed by the epoch, u32
)

// hashParts is SHA-256 over the parts, each preceded by its length (u32): no two lists of parts
// hash the same bytes.
func hashParts(parts ...[]byte) [keySize]byte {
	h := sha256.New()
	var length [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(length[:], uint32(len(p)))
		h.Write(length[:])
		h.Write(p)
	}
	return [keySize]byte(h.Sum(nil))
}

// extract is HKDF-Extract-SHA256 (RFC 5869).
func extract(salt, secret []byte) []byte {
	prk, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		panic("session: HKDF-Extract: " + err.Error()) // only in a FIPS-only build: SHA-256 cannot fail
	}
	return prk
}

// expand is HKDF-Expand-SHA256 (RFC 5869) to n bytes.
func expand(prk []byte, info string, n int) []byte {
	out, err := hkdf.Expand(sha256.New, prk, info, n)
	if err != nil {
		panic("session: HKDF-Expand: " + err.Error()) // n is a constant far below the limit
	}
	return out
}

// seal appends the ChaCha20-Poly1305 ciphertext of plaintext to dst; plaintext may lie right
// behind dst in the same array.
func seal(dst, key, nonce, plaintext, ad []byte) []byte {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic("session: " + err.Error()) // keys are always 32 bytes
	}
	return aead.Seal(dst, nonce, plaintext, ad)
}

// open is the inverse of seal into fresh memory.
func open(key, nonce, ciphertext, ad []byte) ([]byte, bool) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic("session: " + err.Error())
	}
	plain, err := aead.Open(nil, nonce, ciphertext, ad)
	return plain, err == nil
}

// stepRoot mixes one X25519 agreement into the root key, with the secret of an epoch if one begins
// (0 = none), and returns the chain key and the next header key that come with it (Double Ratchet
// specification, section 4, KDF_RK_HE).
func stepRoot(root, dh []byte, epoch uint32, pq []byte) (newRoot, chainKey, nextHead [keySize]byte) {
	label := labelRoot
	if epoch != 0 {
		label = string(binary.BigEndian.AppendUint32([]byte(labelRootPQ), epoch))
	}
	k := expand(extract(root, slices.Concat(dh, pq)), label, 3*keySize)
	return [keySize]byte(k), [keySize]byte(k[keySize:]), [keySize]byte(k[2*keySize:])
}

// stepChain turns a chain key into a message key and the chain's next key.
func stepChain(key [keySize]byte) (message, next [keySize]byte) {
	h := hmac.New(sha256.New, key[:])
	both := make([]byte, 0, 2*keySize) // one piece of memory for all that goes through an interface
	h.Write(stepMessage)
	both = h.Sum(both)
	h.Reset()
	h.Write(stepNext)
	both = h.Sum(both)
	return [keySize]byte(both), [keySize]byte(both[keySize:])
}

// What a chain key is asked for.
var stepMessage, stepNext = []byte{1}, []byte{2}
