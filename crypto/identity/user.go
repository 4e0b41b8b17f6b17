package identity

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/signature"
)

// ErrInvalid is the only error of everything that was parsed and refused: it
// does not say what was wrong, so that it cannot serve as an oracle.
var ErrInvalid = errors.New("identity: invalid")

// Versions and algorithms of suite 1.
const (
	formatVersion = 1
	algEd25519    = 1
)

// Labels, exact ASCII.
const (
	labelUser       = "kith1 user"
	labelDevice     = "kith1 device"
	labelHead       = "kith1 head"
	labelRootKey    = "kith1 root key"
	labelAccount    = "kith1 account"
	labelAccountSig = "kith1 account sig"
	labelBackup     = "kith1 backup key"
	labelListSig    = "kith1 device list sig"

	labelAccountPrint = "kith1 account print"
	labelBundleSig    = "kith1 bundle sig"
)

// UserID names a user for ever: SHA-256("kith1 user" | 1 | root key 32 |
// 32 zero bytes). The zero bytes keep a place for a commitment to a
// post-quantum root key.
type UserID [32]byte

// String is the id as 64 lower-case hex digits.
func (u UserID) String() string { return hex.EncodeToString(u[:]) }

// Short is the first 8 hex digits, for people; never compare by it.
func (u UserID) Short() string { return hex.EncodeToString(u[:4]) }

// DeviceID names a device: SHA-256("kith1 device" | signing key 32).
type DeviceID [32]byte

// String is the id as 64 lower-case hex digits.
func (d DeviceID) String() string { return hex.EncodeToString(d[:]) }

// Short is the first 8 hex digits, for people; never compare by it.
func (d DeviceID) Short() string { return hex.EncodeToString(d[:4]) }

// DeviceOf is the id of the device with this Ed25519 signing key.
func DeviceOf(sigPub [32]byte) DeviceID {
	return sha256.Sum256(append([]byte(labelDevice), sigPub[:]...))
}

func userOf(rootPub [32]byte) UserID {
	var commit [32]byte // of a post-quantum root key: zero in version 1
	b := append([]byte(labelUser), algEd25519)
	b = append(b, rootPub[:]...)
	return sha256.Sum256(append(b, commit[:]...))
}

// Root is the offline key of a user. It signs account keys and nothing else,
// and lives only as long as it takes to derive them.
type Root struct {
	seed [32]byte
	key  ed25519.PrivateKey
}

// NewRootFromSeed builds the root of a seed without the slow step from a
// phrase, for tests and simulation.
func NewRootFromSeed(seed [32]byte) *Root {
	return &Root{seed: seed, key: signature.NewKey(derive(seed, labelRootKey))}
}

// User is the id that this root owns.
func (r *Root) User() UserID { return userOf(pub32(r.key)) }

// Account derives the account key of an epoch and certifies it. The same
// root and epoch always give the same account.
func (r *Root) Account(epoch uint32) *Account {
	info := binary.BigEndian.AppendUint32([]byte(labelAccount), epoch)
	a := &Account{
		root:  pub32(r.key),
		epoch: epoch,
		key:   signature.NewKey(derive(r.seed, string(info))),
	}
	a.cert = [signatureSize]byte(signature.Sign(r.key, accountSigned(a.User(), epoch, a.pub())))
	return a
}

// Backup is the seed of the key pair of the user's backups: what is sealed to
// the public half, which devices hold, opens with the phrase alone.
func (r *Root) Backup() [32]byte { return [32]byte(derive(r.seed, labelBackup)) }

// Account is the account key of one epoch with the root's certificate: the
// power to sign device lists. Only the admin device holds it.
type Account struct {
	root  [32]byte
	epoch uint32
	key   ed25519.PrivateKey
	cert  [signatureSize]byte
}

// User is the id whose lists this account signs.
func (a *Account) User() UserID { return userOf(a.root) }

// Epoch counts the account keys that the root has certified.
func (a *Account) Epoch() uint32 { return a.epoch }

func (a *Account) pub() [32]byte { return pub32(a.key) }

// Marshal is the account with its secret key, 133 bytes: version 1 | root key
// 32 | epoch u32 | account seed 32 | certificate 64. Keep it in the vault.
func (a *Account) Marshal() []byte {
	b := append(make([]byte, 0, accountSize), formatVersion)
	b = append(b, a.root[:]...)
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	b = append(b, a.key.Seed()...)
	return append(b, a.cert[:]...)
}

// ParseAccount reads what Marshal wrote and verifies the certificate, so that
// a damaged account cannot sign lists that nobody would accept.
func ParseAccount(raw []byte) (*Account, error) {
	var a Account
	var version uint8
	var seed [32]byte
	s := cryptobyte.String(raw)
	if !s.ReadUint8(&version) || version != formatVersion || !s.CopyBytes(a.root[:]) || !s.ReadUint32(&a.epoch) ||
		!s.CopyBytes(seed[:]) || !s.CopyBytes(a.cert[:]) || !s.Empty() {
		return nil, ErrInvalid
	}
	a.key = signature.NewKey(seed[:])
	if !verifyAccount(a.root, a.epoch, a.pub(), a.cert) {
		return nil, ErrInvalid
	}
	return &a, nil
}

// accountSigned is what the root signs: the user, not its key, because the id
// is what every other record names.
func accountSigned(user UserID, epoch uint32, account [32]byte) []byte {
	b := append([]byte(labelAccountSig), user[:]...)
	b = binary.BigEndian.AppendUint32(b, epoch)
	return append(b, account[:]...)
}

func verifyAccount(root [32]byte, epoch uint32, account [32]byte, cert [signatureSize]byte) bool {
	return soundEd25519(root) && soundEd25519(account) &&
		signature.Verify(root[:], accountSigned(userOf(root), epoch, account), cert[:])
}

// derive is HKDF-SHA256 without salt, 32 bytes.
func derive(secret [32]byte, info string) []byte {
	out, err := hkdf.Key(sha256.New, secret[:], nil, info, 32)
	if err != nil {
		panic("identity: hkdf: " + err.Error()) // 32 bytes are never too many
	}
	return out
}

func pub32(k ed25519.PrivateKey) [32]byte {
	return [32]byte(k[ed25519.SeedSize:])
}
