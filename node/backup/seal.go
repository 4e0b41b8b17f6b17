// Package backup is what a person keeps to have everything again when the devices are gone: contacts as they were
// believed, conversations with what became of each message, groups, settings, drafts, and the profile; sealed, in one
// file (docs/storage.md, "Backups").
//
// A backup is sealed to a public key that follows from the recovery phrase, so that devices can write it and the phrase
// alone opens it; or under a passphrase of its own.
//
// It guarantees that what opens is, to the last byte, what was sealed: a file that is cut, lengthened or put together
// otherwise is refused, and nothing of a damaged chunk is given. Sizes are checked before memory is taken, and never more
// than a chunk, a record and a page is held. No record has a place for a session, a ratchet, a prekey or any secret of a
// device, a mailbox or the account: a restore makes a new device.
//
// It does not guarantee that a backup is the newest, nor that it was made by a device of ours: whoever holds the public
// key, which devices keep sealed, can make one. It does not hide its size.
package backup

import (
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/crypto/vault"
)

// Errors of Open. A person acts on each of them differently.
var (
	ErrForeign        = errors.New("backup: no backup of kith")
	ErrNewer          = errors.New("backup: of a later version")
	ErrDamaged        = errors.New("backup: damaged")
	ErrNeedPhrase     = errors.New("backup: the recovery phrase is needed")
	ErrNeedPassphrase = errors.New("backup: its passphrase is needed")
	ErrKey            = errors.New("backup: does not open with this phrase or passphrase")
)

// magic begins every backup; then comes the version.
const magic = "kith1 backup"

// Labels of docs/protocol.md, section 13.
const (
	labelSecret = "kith1 backup"
	labelFile   = "kith1 backup file"
)

// How a backup is locked.
const (
	lockPassphrase = 1
	lockPhrase     = 2
)

var lockSizes = map[byte]int{lockPassphrase: saltSize, lockPhrase: encSize}

// Keys lock a backup, or open it. To lock, a passphrase goes before the public key.
type Keys struct {
	Passphrase []byte
	Public     []byte   // of PublicKey
	Seed       [32]byte // of the recovery phrase's root; zero: the phrase is not here
}

// PublicKey is what backups are sealed to that the phrase of this seed opens.
func PublicKey(seed [32]byte) []byte { return private(seed).PublicKey().Bytes() }

// RowKey is where a device's store keeps the public key, in the table of what there is one of.
var RowKey = []byte("backup key")

// ValidKey reports whether backups can be sealed to a key.
func ValidKey(public []byte) bool {
	_, err := hpke.MLKEM768X25519().NewPublicKey(public)
	return err == nil
}

func private(seed [32]byte) hpke.PrivateKey {
	k, err := hpke.MLKEM768X25519().NewPrivateKey(seed[:])
	if err != nil {
		panic("backup: " + err.Error()) // 32 bytes are a key
	}
	return k
}

// lock makes the head of a new file and its key.
func lock(rng io.Reader, k Keys) (head []byte, key blob.Key, err error) {
	head = append([]byte(magic), Version, lockPhrase)
	var secret []byte
	if len(k.Passphrase) > 0 {
		if len(k.Passphrase) > MaxPassphrase {
			return nil, key, fmt.Errorf("backup: a passphrase has at most %d bytes", MaxPassphrase)
		}
		var salt [saltSize]byte
		if _, err := io.ReadFull(rng, salt[:]); err != nil {
			return nil, key, fmt.Errorf("backup: draw: %w", err)
		}
		head[len(head)-1] = lockPassphrase
		head, secret = append(head, salt[:]...), stretch(k.Passphrase, salt[:])
	} else {
		public, err := hpke.MLKEM768X25519().NewPublicKey(k.Public)
		if err != nil {
			return nil, key, ErrNeedPassphrase
		}
		enc, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.ExportOnly(), []byte(labelSecret))
		if err == nil {
			secret, err = sender.Export(labelSecret, secretSize)
		}
		if err != nil {
			return nil, key, fmt.Errorf("backup: %w", err)
		}
		head = append(head, enc...)
	}
	key = fileKey(secret, head)
	return seals(head, key), key, nil
}

// seals adds the commitment to the key, and the sum that tells damage from a mistyped word.
func seals(head []byte, key blob.Key) []byte {
	commitment := key.Commitment()
	head = append(head, commitment[:]...)
	sum := sha256.Sum256(head)
	return append(head, sum[:]...)
}

func stretch(passphrase, salt []byte) []byte {
	key := vault.Stretch(passphrase, [saltSize]byte(salt))
	return key[:]
}

// fileKey is the key of one file; everything before the commitment goes into it.
func fileKey(secret, head []byte) blob.Key {
	key, err := hkdf.Key(sha256.New, secret, nil, labelFile+string(head), blob.KeySize)
	if err != nil {
		panic("backup: " + err.Error()) // only for a length that HKDF cannot give
	}
	return blob.Key(key)
}

// unlock reads the head of a file and finds its key. Whether the head is as it was written is known before a person's
// phrase or passphrase is tried.
func unlock(from io.Reader, k Keys) (blob.Key, error) {
	head, tail := make([]byte, len(magic)+2), make([]byte, 2*sha256.Size)
	switch _, err := io.ReadFull(from, head); {
	case short(err), err == nil && string(head[:len(magic)]) != magic, err == nil && head[len(magic)] == 0:
		return blob.Key{}, ErrForeign
	case err != nil:
		return blob.Key{}, fmt.Errorf("backup: read: %w", err)
	case head[len(magic)] > Version:
		return blob.Key{}, fmt.Errorf("%w: version %d, this kith knows %d", ErrNewer, head[len(magic)], Version)
	}
	by := head[len(magic)+1]
	data := make([]byte, lockSizes[by])
	for _, part := range [][]byte{data, tail} {
		if _, err := io.ReadFull(from, part); short(err) {
			return blob.Key{}, ErrDamaged
		} else if err != nil {
			return blob.Key{}, fmt.Errorf("backup: read: %w", err)
		}
	}
	head = append(head, data...)
	sum := sha256.Sum256(append(head[:len(head):len(head)], tail[:sha256.Size]...))
	if len(data) == 0 || string(sum[:]) != string(tail[sha256.Size:]) {
		return blob.Key{}, ErrDamaged
	}
	secret, err := k.secret(by, data)
	if err != nil {
		return blob.Key{}, err
	}
	key := fileKey(secret, head)
	if commitment := key.Commitment(); subtle.ConstantTimeCompare(commitment[:], tail[:sha256.Size]) != 1 {
		return blob.Key{}, ErrKey
	}
	return key, nil
}

func short(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// secret is what the lock of a file gives to who has the keys.
func (k Keys) secret(by byte, data []byte) ([]byte, error) {
	if by == lockPassphrase {
		switch {
		case len(k.Passphrase) == 0:
			return nil, ErrNeedPassphrase
		case len(k.Passphrase) > MaxPassphrase:
			return nil, ErrKey
		}
		return stretch(k.Passphrase, data), nil
	}
	if k.Seed == [32]byte{} {
		return nil, ErrNeedPhrase
	}
	r, err := hpke.NewRecipient(data, private(k.Seed), hpke.HKDFSHA256(), hpke.ExportOnly(), []byte(labelSecret))
	if err != nil {
		return nil, ErrDamaged
	}
	return r.Export(labelSecret, secretSize)
}
