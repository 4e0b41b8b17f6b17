package dht

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"

	"github.com/kith-im/kith/crypto/identity"
)

// Kinds of directory keys, as ParseKey returns them.
const (
	KindUser    byte = 'u' // value: device list; id: first UserPrefix bytes of the user id
	KindDevice  byte = 'd' // value: device record; id: device id, 32 bytes
	KindMailbox byte = 'm' // value: sealed set; id: mailbox id, 32 bytes
)

// UserPrefix is how many bytes of a user id stand in its directory key. An
// invite carries only these 20 bytes; finding another user id with the same
// ones is a second preimage of 160 bits.
const UserPrefix = 20

const keyNamespace = "/kith-"

// UserKey is the directory key of a device list: "/kith-u/" and 20 raw bytes.
func UserKey(u identity.UserID) string {
	return UserKeyFromPrefix([UserPrefix]byte(u[:UserPrefix]))
}

// UserKeyFromPrefix is UserKey for a reader who holds only an invite.
func UserKeyFromPrefix(p [UserPrefix]byte) string { return makeKey(KindUser, p[:]) }

// DeviceKey is the directory key of a device record: "/kith-d/" and 32 raw bytes.
func DeviceKey(d identity.DeviceID) string { return makeKey(KindDevice, d[:]) }

// MailboxKey is the directory key of a sealed set: "/kith-m/" and 32 raw bytes.
func MailboxKey(id [32]byte) string { return makeKey(KindMailbox, id[:]) }

func makeKey(kind byte, id []byte) string {
	return keyNamespace + string(kind) + "/" + string(id)
}

// ParseKey splits a directory key into its kind and raw id. ErrInvalid for
// every string that none of the functions above can return.
func ParseKey(key string) (kind byte, id []byte, err error) {
	rest, found := strings.CutPrefix(key, keyNamespace)
	if !found || len(rest) < 2 || rest[1] != '/' {
		return 0, nil, ErrInvalid
	}
	kind, id = rest[0], []byte(rest[2:])
	switch {
	case kind == KindUser && len(id) == UserPrefix:
	case (kind == KindDevice || kind == KindMailbox) && len(id) == sha256.Size:
	default:
		return 0, nil, ErrInvalid
	}
	return kind, id, nil
}

// BoxID is the mailbox id of a box: SHA-256("kith1 mailbox" | box key 32).
func BoxID(pub ed25519.PublicKey) [32]byte {
	return sha256.Sum256(append(append(make([]byte, 0, 64), "kith1 mailbox"...), pub...))
}
