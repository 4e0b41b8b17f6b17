package vault

import (
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"
)

// magic begins every vault file; its last byte is the version.
const magic = "kith1 vault\x01"

// How a file protects its keyring.
const (
	kdfNone     = 0 // not at all
	kdfArgon2id = 1 // XChaCha20-Poly1305 under Argon2id of a passphrase
)

func (v *Vault) rewrap(rng io.Reader, passphrase []byte, slow stretch) ([]byte, error) {
	if len(passphrase) > MaxPassphrase {
		return nil, errors.New("vault: passphrase too long")
	}
	var l lock
	if len(passphrase) > 0 {
		l.kdf = kdfArgon2id
		if err := draw(rng, l.salt[:]); err != nil {
			return nil, err
		}
		l.key = slow(passphrase, l.salt)
	}
	file, err := encodeFile(rng, l, v.ring)
	if err != nil {
		return nil, err
	}
	v.lock = l
	return file, nil
}

// encodeFile is magic 12 | kdf u8 | keyring | SHA-256 of everything before.
// With a passphrase, salt 16 | nonce 24 | sealed keyring stands for the
// keyring, and magic, kdf and salt are its associated data. The sum is not
// for security: it tells a damaged file from a wrong passphrase.
func encodeFile(rng io.Reader, l lock, ring keyring) ([]byte, error) {
	file := append([]byte(magic), l.kdf)
	if l.kdf == kdfNone {
		file = append(file, ring.encode()...)
	} else {
		file = append(file, l.salt[:]...)
		bound := file
		nonce := make([]byte, nonceSize)
		if err := draw(rng, nonce); err != nil {
			return nil, err
		}
		file = append(file, nonce...)
		file = aead(l.key).Seal(file, nonce, ring.encode(), bound)
	}
	sum := sha256.Sum256(file)
	return append(file, sum[:]...), nil
}

func openFile(file, passphrase []byte, slow stretch) (*Vault, error) {
	var v Vault
	body, ok := checkSum(file)
	s := cryptobyte.String(body)
	if !ok || !s.Skip(len(magic)) || !s.ReadUint8(&v.lock.kdf) {
		return nil, ErrDamaged
	}
	var err error
	switch v.lock.kdf {
	case kdfNone:
		v.ring, err = decodeKeyring(s)
	case kdfArgon2id:
		err = v.unlock(body, s, passphrase, slow)
	default:
		err = ErrDamaged
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// unlock reads salt, nonce and sealed keyring from s, the rest of body.
func (v *Vault) unlock(body []byte, s cryptobyte.String, passphrase []byte, slow stretch) error {
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
	v.ring, err = decodeKeyring(plain)
	return err
}

// checkSum is the file without its sum, if it has a vault's magic and size
// and the sum is right.
func checkSum(file []byte) (body []byte, ok bool) {
	if len(file) < len(magic)+sumSize || len(file) > MaxFile || string(file[:len(magic)]) != magic {
		return nil, false
	}
	body = file[:len(file)-sumSize]
	return body, sha256.Sum256(body) == [sumSize]byte(file[len(body):])
}

// encode is blinding key 32 | n u8 | n x (number u8 | key 32). The numbers
// follow each other (0 after 255) and the last key is the current one.
func (r keyring) encode() []byte {
	b := append(make([]byte, 0, maxKeyring), r.blind[:]...)
	b = append(b, byte(len(r.store)))
	for _, k := range r.store {
		b = append(b, k.number)
		b = append(b, k.key[:]...)
	}
	return b
}

func decodeKeyring(s cryptobyte.String) (keyring, error) {
	var r keyring
	var n uint8
	if !s.CopyBytes(r.blind[:]) || !s.ReadUint8(&n) || n == 0 || n > MaxKeys || len(s) != int(n)*(1+keySize) {
		return keyring{}, ErrDamaged
	}
	r.store = make([]storeKey, n)
	for i := range r.store {
		k := &r.store[i]
		if !s.ReadUint8(&k.number) || !s.CopyBytes(k.key[:]) || i > 0 && k.number != r.store[i-1].number+1 {
			return keyring{}, ErrDamaged
		}
	}
	return r, nil
}

func aead(key [keySize]byte) cipher.AEAD {
	a, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("vault: " + err.Error()) // 32 bytes are a key
	}
	return a
}
