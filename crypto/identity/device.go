package identity

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/signature"
)

// FlagAdmin marks the device that holds the account key.
const FlagAdmin byte = 1

// Device is one entry of a device list.
type Device struct {
	SigPub   [32]byte // Ed25519
	IKPub    [32]byte // X25519 identity key
	Flags    byte     // FlagAdmin; the other bits are zero
	AddedSeq uint64   // number of the list of this epoch that first named it
}

// ID is the device's id.
func (d Device) ID() DeviceID { return DeviceOf(d.SigPub) }

// Admin says whether the device holds the account key.
func (d Device) Admin() bool { return d.Flags&FlagAdmin != 0 }

// DeviceKeys are the two long-term secrets of a device. They never leave it.
type DeviceKeys struct {
	Sign ed25519.PrivateKey
	IK   *agree.Private // X25519
}

// NewDeviceKeys draws 64 bytes from rng.
func NewDeviceKeys(rng io.Reader) (*DeviceKeys, error) {
	var seeds [64]byte
	if _, err := io.ReadFull(rng, seeds[:]); err != nil {
		return nil, fmt.Errorf("identity: draw device keys: %w", err)
	}
	return deviceKeys([32]byte(seeds[:32]), [32]byte(seeds[32:])), nil
}

// ID is the device's id.
func (k *DeviceKeys) ID() DeviceID { return DeviceOf(pub32(k.Sign)) }

// Public is the entry of a device list that names these keys.
func (k *DeviceKeys) Public(flags byte, addedSeq uint64) Device {
	return Device{SigPub: pub32(k.Sign), IKPub: agree.PublicOf(k.IK), Flags: flags, AddedSeq: addedSeq}
}

// Marshal is the secrets, 65 bytes: version 1 | Ed25519 seed 32 | X25519
// scalar 32. Keep them in the vault.
func (k *DeviceKeys) Marshal() []byte {
	scalar := agree.ScalarOf(k.IK)
	b := append(make([]byte, 0, deviceKeysSize), formatVersion)
	b = append(b, k.Sign.Seed()...)
	return append(b, scalar[:]...)
}

// ParseDeviceKeys reads what Marshal wrote.
func ParseDeviceKeys(raw []byte) (*DeviceKeys, error) {
	var version uint8
	var sign, ik [32]byte
	s := cryptobyte.String(raw)
	if !s.ReadUint8(&version) || version != formatVersion || !s.CopyBytes(sign[:]) || !s.CopyBytes(ik[:]) || !s.Empty() {
		return nil, ErrInvalid
	}
	return deviceKeys(sign, ik), nil
}

func deviceKeys(sign, ik [32]byte) *DeviceKeys {
	return &DeviceKeys{Sign: signature.NewKey(sign[:]), IK: x25519Key(ik)}
}

func x25519Key(scalar [32]byte) *agree.Private {
	k, err := agree.NewPrivate(scalar[:])
	if err != nil {
		panic("identity: x25519: " + err.Error()) // every 32 bytes are a key
	}
	return k
}
