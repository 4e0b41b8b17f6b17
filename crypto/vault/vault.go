// Package vault keeps the secrets of a device at rest: a small file that a
// passphrase opens, and sealed values for whatever store lies beside it.
//
// The file holds the keyring: one key that blinds names, and numbered store
// keys that seal values. It opens with a passphrase (Argon2id) or, if there is
// none, by being readable at all. A value is sealed for one place and opens in
// no other; Rotate brings a fresh store key and Retire destroys the ones
// before it, which is how a deleted secret stays deleted on a disk that keeps
// old pages (docs/storage.md, "The key file").
//
// It guarantees that a value which opens was sealed by this vault for this
// place, and that its plaintext is hidden from who has the store but not the
// file (or not the passphrase). It does not guarantee that a value is the
// newest of its place or that none is missing: a store that is put back to an
// earlier state still opens. It does not hide the number, the lengths or the
// write times of values, nor which blinded names are equal. It cannot wipe
// keys from memory that the runtime has copied, and a weak passphrase costs an
// attacker about 0.1 s of one machine per guess.
package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
)

// Errors of Open. A person acts on each of them differently.
var (
	ErrNeedPassphrase = errors.New("vault: a passphrase is needed")
	ErrPassphrase     = errors.New("vault: wrong passphrase")
	ErrDamaged        = errors.New("vault: damaged")
)

// Vault seals and opens values. All but Rewrap is safe for concurrent use.
type Vault struct {
	lock lock
	ring keyring
}

// lock is how the file protects its keyring.
type lock struct {
	kdf  byte
	salt [saltSize]byte
	key  [keySize]byte // of kdfArgon2id
}

// keyring is what the file protects. The last store key is the current one.
type keyring struct {
	blind [keySize]byte
	store []storeKey
}

type storeKey struct {
	number byte
	key    [keySize]byte
}

// stretch turns a passphrase into a key, slowly.
type stretch func(passphrase []byte, salt [saltSize]byte) [keySize]byte

func argon(passphrase []byte, salt [saltSize]byte) [keySize]byte {
	return [keySize]byte(argon2.IDKey(passphrase, salt[:], argonTime, argonKiB, argonThreads, keySize))
}

// Create makes a vault with fresh keys and the file that opens it again. An
// empty passphrase leaves the keys in the clear in the file: then the file
// must be readable by its owner only.
func Create(rng io.Reader, passphrase []byte) (file []byte, v *Vault, err error) {
	return create(rng, passphrase, argon)
}

func create(rng io.Reader, passphrase []byte, slow stretch) ([]byte, *Vault, error) {
	v := &Vault{ring: keyring{store: make([]storeKey, 1)}}
	if err := draw(rng, v.ring.blind[:], v.ring.store[0].key[:]); err != nil {
		return nil, nil, err
	}
	file, err := v.rewrap(rng, passphrase, slow)
	return file, v, err
}

// Open reads a vault file. Its errors are ErrDamaged (the file is not as it
// was written; the passphrase was not tried), ErrNeedPassphrase, and
// ErrPassphrase. A passphrase for a file that has none is ignored.
func Open(file, passphrase []byte) (*Vault, error) {
	return openFile(file, passphrase, argon)
}

// Protected says whether a passphrase opens the vault's file.
func (v *Vault) Protected() bool { return v.lock.kdf != kdfNone }

// Rewrap puts the same keys under another passphrase (empty: none). v and
// every value sealed by it stay good; the old file still opens with the old
// passphrase, so destroy it. File writes under the new passphrase from now on.
func (v *Vault) Rewrap(rng io.Reader, passphrase []byte) (file []byte, err error) {
	return v.rewrap(rng, passphrase, argon)
}

// File writes the vault's file anew under the passphrase that it has, for
// use after Rotate and Retire.
func (v *Vault) File(rng io.Reader) ([]byte, error) {
	return encodeFile(rng, v.lock, v.ring)
}

// Rotate is the vault with a fresh store key as the current one; the keys
// before it still open what they sealed. Write its File before the first
// value that it seals.
func (v *Vault) Rotate(rng io.Reader) (*Vault, error) {
	if len(v.ring.store) == MaxKeys {
		return nil, fmt.Errorf("vault: rotate: %d keys wait to be retired", MaxKeys)
	}
	next := storeKey{number: v.current().number + 1} // wraps; fewer than 256 are held
	if err := draw(rng, next.key[:]); err != nil {
		return nil, err
	}
	store := append(append([]storeKey(nil), v.ring.store...), next)
	return &Vault{lock: v.lock, ring: keyring{blind: v.ring.blind, store: store}}, nil
}

// Retire is the vault with the current store key alone. Once its File has
// replaced the one before, what only older keys sealed is gone for good,
// wherever copies of it remain on the disk.
func (v *Vault) Retire() *Vault {
	return &Vault{lock: v.lock, ring: keyring{blind: v.ring.blind, store: []storeKey{v.current()}}}
}

func (v *Vault) current() storeKey { return v.ring.store[len(v.ring.store)-1] }

// Seal encrypts a value for one place (for example bucket | 0 | key; any
// length) and draws a 24-byte nonce from rng. The result is Overhead longer:
// key number u8 | nonce 24 | XChaCha20-Poly1305.
func (v *Vault) Seal(rng io.Reader, place, plaintext []byte) ([]byte, error) {
	k := v.current()
	out := make([]byte, 1+nonceSize, len(plaintext)+Overhead)
	out[0] = k.number
	if err := draw(rng, out[1:]); err != nil {
		return nil, err
	}
	return aead(k.key).Seal(out, out[1:], plaintext, place), nil
}

// Open decrypts a value that was sealed for the same place. Every failure is
// ErrDamaged.
func (v *Vault) Open(place, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrDamaged
	}
	for _, k := range v.ring.store {
		if k.number != sealed[0] {
			continue
		}
		plaintext, err := aead(k.key).Open(nil, sealed[1:1+nonceSize], sealed[1+nonceSize:], place)
		if err != nil {
			return nil, ErrDamaged
		}
		return plaintext, nil
	}
	return nil, ErrDamaged
}

// Stale says whether a sealed value is not under the current store key and
// would be lost by Retire.
func (v *Vault) Stale(sealed []byte) bool {
	return len(sealed) == 0 || sealed[0] != v.current().number
}

// Blind is a stand-in for a name that must be found again but not read: the
// first 16 bytes of HMAC-SHA256. It never changes for one vault, whatever is
// rotated, and says only which names are equal.
func (v *Vault) Blind(place []byte) [16]byte {
	h := hmac.New(sha256.New, v.ring.blind[:])
	h.Write(place)
	return [blindSize]byte(h.Sum(nil))
}

func draw(rng io.Reader, parts ...[]byte) error {
	for _, p := range parts {
		if _, err := io.ReadFull(rng, p); err != nil {
			return fmt.Errorf("vault: draw: %w", err)
		}
	}
	return nil
}
