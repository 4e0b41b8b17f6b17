// Package vault keeps the secrets of a device at rest: a small file that a
// passphrase opens, and sealed values for whatever store lies beside it.
//
// The file holds the keyring: one key that blinds names, and numbered store
// keys that seal values, in two classes, by how soon a value that was deleted
// has to be gone. It opens with a passphrase (Argon2id) or, if there is none,
// by being readable at all. A value is sealed for one place and opens in no
// other; Rotate brings a fresh store key and Retire destroys the ones before
// it, which is how a deleted secret stays deleted on a disk that keeps old
// pages (docs/storage.md, "The key file").
//
// It guarantees that a value which opens was sealed by this vault for this
// place, and that its plaintext is hidden from who has the store but not the
// file (or not the passphrase). It does not guarantee that a value is the
// newest of its place or that none is missing: a store that is put back to an
// earlier state still opens until the next rotation, which Mark shows. It does
// not hide the number, the lengths or the write times of values, nor which
// blinded names are equal. It cannot wipe keys from memory that the runtime has
// copied, and a weak passphrase costs an attacker about 0.1 s of one machine
// per guess.
package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/argon2"
)

// Errors of Open. A person acts on each of them differently.
var (
	ErrNeedPassphrase = errors.New("vault: a passphrase is needed")
	ErrPassphrase     = errors.New("vault: wrong passphrase")
	ErrDamaged        = errors.New("vault: damaged")
	ErrNewer          = errors.New("vault: the key file was written by a newer kith")
	ErrTooLong        = fmt.Errorf("vault: a passphrase has at most %d bytes", MaxPassphrase)
)

// Class says by which keys a value is sealed: those that change seldom, because
// there is much to seal again, or those that change every day.
type Class int

// The classes.
const (
	Lasting  Class = iota // what a person keeps
	Fleeting              // secrets that have to be gone soon after they were deleted
	classes  = 2
)

// Vault seals and opens values. It does not change, and is safe for concurrent
// use.
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

// keyring is what the file protects. The last store key of a class is its
// current one.
type keyring struct {
	blind [keySize]byte
	store [classes][]storeKey
}

// storeKey has the serial that follows the one before it, whose low byte marks
// the values that it sealed.
type storeKey struct {
	serial uint32
	made   uint64 // unix ms; 0: of a file that did not say
	key    [keySize]byte
}

func (k storeKey) number() byte { return byte(k.serial) }

// stretch turns a passphrase into a key, slowly.
type stretch func(passphrase []byte, salt [saltSize]byte) [keySize]byte

func argon(passphrase []byte, salt [saltSize]byte) [keySize]byte {
	return [keySize]byte(argon2.IDKey(passphrase, salt[:], argonTime, argonKiB, argonThreads, keySize))
}

// Create makes a vault with fresh keys. An empty passphrase leaves the keys in
// the clear in its file: then that must be readable by its owner only.
func Create(rng io.Reader, passphrase []byte, now time.Time) (*Vault, error) {
	return create(rng, passphrase, now, argon)
}

func create(rng io.Reader, passphrase []byte, now time.Time, slow stretch) (*Vault, error) {
	v := &Vault{}
	if err := draw(rng, v.ring.blind[:]); err != nil {
		return nil, err
	}
	for c := range v.ring.store {
		k := storeKey{made: made(now)}
		if err := draw(rng, k.key[:]); err != nil {
			return nil, err
		}
		v.ring.store[c] = []storeKey{k}
	}
	return v.rewrap(rng, passphrase, slow)
}

// made is a time as a key has it; 0 is kept for keys that have none.
func made(now time.Time) uint64 { return uint64(max(now.UnixMilli(), 1)) }

// Open reads a vault file. Its errors are ErrDamaged (the file is not as it
// was written; the passphrase was not tried), ErrNewer, ErrNeedPassphrase, and
// ErrPassphrase. A passphrase for a file that has none is ignored.
func Open(file, passphrase []byte) (*Vault, error) {
	return openFile(file, passphrase, argon)
}

// Protected says whether a passphrase opens the vault's file.
func (v *Vault) Protected() bool { return v.lock.kdf != kdfNone }

// Rewrap is the vault with the same keys under another passphrase (empty:
// none). Every value stays good; the old file still opens with the old
// passphrase, so destroy it.
func (v *Vault) Rewrap(rng io.Reader, passphrase []byte) (*Vault, error) {
	return v.rewrap(rng, passphrase, argon)
}

// File is the vault's file, under the passphrase that it has.
func (v *Vault) File(rng io.Reader) ([]byte, error) {
	return encodeFile(rng, v.lock, v.ring)
}

// Rotate is the vault with a fresh store key as the current one of a class;
// the keys before it still open what they sealed. Write its File before the
// first value that it seals.
func (v *Vault) Rotate(rng io.Reader, c Class, now time.Time) (*Vault, error) {
	if len(v.ring.store[c]) == MaxKeys {
		return nil, fmt.Errorf("vault: rotate: %d keys wait to be retired", MaxKeys)
	}
	next := storeKey{serial: v.current(c).serial + 1, made: made(now)}
	if err := draw(rng, next.key[:]); err != nil {
		return nil, err
	}
	return v.with(c, append(append([]storeKey(nil), v.ring.store[c]...), next)), nil
}

// Retire is the vault with the current store key of a class alone. Once its
// File has replaced the one before, what only older keys sealed is gone for
// good, wherever copies of it remain on the disk.
func (v *Vault) Retire(c Class) *Vault { return v.with(c, []storeKey{v.current(c)}) }

func (v *Vault) with(c Class, keys []storeKey) *Vault {
	next := &Vault{lock: v.lock, ring: v.ring}
	next.ring.store[c] = keys
	return next
}

// Rotating says whether keys of a class wait to be retired.
func (v *Vault) Rotating(c Class) bool { return len(v.ring.store[c]) > 1 }

// Made is when the current key of a class was made; zero if nobody knows.
func (v *Vault) Made(c Class) time.Time {
	if ms := v.current(c).made; ms != 0 {
		return time.UnixMilli(int64(ms))
	}
	return time.Time{}
}

func (v *Vault) current(c Class) storeKey { return v.ring.store[c][len(v.ring.store[c])-1] }

// Seal encrypts a value for one place (for example bucket | 0 | key; any
// length) and draws a 24-byte nonce from rng. The result is Overhead longer:
// key number u8 | nonce 24 | XChaCha20-Poly1305.
func (v *Vault) Seal(rng io.Reader, c Class, place, plaintext []byte) ([]byte, error) {
	k := v.current(c)
	out := make([]byte, 1+nonceSize, len(plaintext)+Overhead)
	out[0] = k.number()
	if err := draw(rng, out[1:]); err != nil {
		return nil, err
	}
	return aead(k.key).Seal(out, out[1:], plaintext, place), nil
}

// Open decrypts a value that was sealed for the same place. Every failure is
// ErrDamaged.
func (v *Vault) Open(c Class, place, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrDamaged
	}
	for _, k := range v.ring.store[c] {
		if k.number() != sealed[0] {
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

// Stale says whether a sealed value is not under the current store key of its
// class and would be lost by Retire.
func (v *Vault) Stale(c Class, sealed []byte) bool {
	return len(sealed) == 0 || sealed[0] != v.current(c).number()
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
