package vault

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
)

// magic begins every vault file; its last byte is the version. Version 1 had
// one ring of keys without times for both classes.
const (
	magic    = "kith1 vault\x02"
	version1 = 1
	version2 = 2
)

// How a file protects its keyring.
const (
	kdfNone     = 0 // not at all
	kdfArgon2id = 1 // XChaCha20-Poly1305 under Argon2id of a passphrase
)

func (v *Vault) rewrap(rng io.Reader, passphrase []byte, slow stretch) (*Vault, error) {
	if len(passphrase) > MaxPassphrase {
		return nil, ErrTooLong
	}
	next := &Vault{ring: v.ring}
	if len(passphrase) > 0 {
		next.lock.kdf = kdfArgon2id
		if err := draw(rng, next.lock.salt[:]); err != nil {
			return nil, err
		}
		next.lock.key = slow(passphrase, next.lock.salt)
	}
	return next, nil
}

// encodeFile is magic 12 | kdf u8 | keyring | SHA-256 of everything before.
// With a passphrase, salt 16 | nonce 24 | sealed keyring stands for the
// keyring, and magic, kdf and salt are its associated data. The sum is not
// for security: it tells a damaged file from a wrong passphrase.
func encodeFile(rng io.Reader, l lock, ring keyring) ([]byte, error) {
	file := append(make([]byte, 0, MaxFile), magic...)
	file = append(file, l.kdf)
	if l.kdf == kdfNone {
		file = ring.append(file)
	} else {
		file = append(file, l.salt[:]...)
		bound := file
		nonce := make([]byte, nonceSize)
		if err := draw(rng, nonce); err != nil {
			return nil, err
		}
		plain := ring.append(make([]byte, 0, maxKeyring))
		defer clear(plain)
		file = append(file, nonce...)
		file = aead(l.key).Seal(file, nonce, plain, bound)
	}
	sum := sha256.Sum256(file)
	return append(file, sum[:]...), nil
}

func openFile(file, passphrase []byte, slow stretch) (*Vault, error) {
	var v Vault
	body, version, err := checkSum(file)
	s := cryptobyte.String(body)
	if err != nil || !s.Skip(len(magic)) || !s.ReadUint8(&v.lock.kdf) {
		return nil, orDamaged(err)
	}
	switch v.lock.kdf {
	case kdfNone:
		v.ring, err = decodeKeyring(s, version)
	case kdfArgon2id:
		err = v.unlock(body, s, version, passphrase, slow)
	default:
		err = ErrDamaged
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func orDamaged(err error) error {
	if err == nil {
		return ErrDamaged
	}
	return err
}

// unlock reads salt, nonce and sealed keyring from s, the rest of body.
func (v *Vault) unlock(body []byte, s cryptobyte.String, version byte, passphrase []byte, slow stretch) error {
	var nonce [nonceSize]byte
	if !s.CopyBytes(v.lock.salt[:]) || !s.CopyBytes(nonce[:]) {
		return ErrDamaged
	}
	if len(passphrase) == 0 {
		return ErrNeedPassphrase
	}
	if len(passphrase) > MaxPassphrase {
		return ErrPassphrase
	}
	v.lock.key = slow(passphrase, v.lock.salt)
	plain, err := aead(v.lock.key).Open(nil, nonce[:], s, body[:len(magic)+1+saltSize])
	if err != nil {
		return ErrPassphrase
	}
	defer clear(plain)
	v.ring, err = decodeKeyring(plain, version)
	return err
}

// Locked says whether a file needs a passphrase, as far as its first bytes
// tell: whoever asks a person for one wants to know before Open.
func Locked(file []byte) bool {
	body, _, err := checkSum(file)
	return err == nil && len(body) > len(magic) && body[len(magic)] == kdfArgon2id
}

// checkSum is the file without its sum, and its version, if it has a vault's
// magic and size and the sum is right.
func checkSum(file []byte) (body []byte, version byte, err error) {
	name := magic[:len(magic)-1]
	if len(file) < len(magic)+sumSize || len(file) > MaxFile || string(file[:len(name)]) != name {
		return nil, 0, ErrDamaged
	}
	body = file[:len(file)-sumSize]
	if sha256.Sum256(body) != [sumSize]byte(file[len(body):]) {
		return nil, 0, ErrDamaged
	}
	switch version = body[len(name)]; {
	case version > version2:
		return nil, 0, ErrNewer
	case version < version1:
		return nil, 0, ErrDamaged
	}
	return body, version, nil
}

// append writes blinding key 32, then of each class first serial u32 | n u8 |
// n x (made u64 | key 32). The last key is the current one.
func (r keyring) append(b []byte) []byte {
	b = append(b, r.blind[:]...)
	for _, keys := range r.store {
		b = binary.BigEndian.AppendUint32(b, keys[0].serial)
		b = append(b, byte(len(keys)))
		for _, k := range keys {
			b = binary.BigEndian.AppendUint64(b, k.made)
			b = append(b, k.key[:]...)
		}
	}
	return b
}

func decodeKeyring(s cryptobyte.String, version byte) (keyring, error) {
	var r keyring
	if !s.CopyBytes(r.blind[:]) {
		return keyring{}, ErrDamaged
	}
	ok := true
	if version == version1 {
		r.store[Lasting], ok = readRing1(&s)
		r.store[Fleeting] = r.store[Lasting]
	} else {
		for c := range r.store {
			r.store[c], ok = readRing(&s, ok)
		}
	}
	if !ok || len(s) > 0 {
		return keyring{}, ErrDamaged
	}
	return r, nil
}

func readRing(s *cryptobyte.String, ok bool) ([]storeKey, bool) {
	var first uint32
	var n uint8
	if !ok || !s.ReadUint32(&first) || !s.ReadUint8(&n) || n == 0 || n > MaxKeys {
		return nil, false
	}
	keys := make([]storeKey, n)
	for i := range keys {
		k := &keys[i]
		k.serial = first + uint32(i)
		if !s.ReadUint64(&k.made) || !s.CopyBytes(k.key[:]) {
			return nil, false
		}
	}
	return keys, true
}

// readRing1 reads the ring of version 1: n u8 | n x (number u8 | key 32), the
// numbers following each other (0 after 255).
func readRing1(s *cryptobyte.String) ([]storeKey, bool) {
	var n uint8
	if !s.ReadUint8(&n) || n == 0 || n > MaxKeys {
		return nil, false
	}
	keys := make([]storeKey, n)
	for i := range keys {
		var number uint8
		if !s.ReadUint8(&number) || !s.CopyBytes(keys[i].key[:]) {
			return nil, false
		}
		if i == 0 {
			keys[0].serial = uint32(number)
		}
		if keys[i].serial = keys[0].serial + uint32(i); keys[i].number() != number {
			return nil, false
		}
	}
	return keys, true
}

func aead(key [keySize]byte) cipher.AEAD {
	a, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("vault: " + err.Error()) // 32 bytes are a key
	}
	return a
}
