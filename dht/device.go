package dht

import (
	"bytes"
	"crypto/ed25519"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/identity"
)

const labelDevice = "kith1 device record sig"

// DeviceFields is the content of a device record.
type DeviceFields struct {
	Bundle           *identity.Bundle
	Number           uint64        // rises with every change of the reach part
	Issued, NotAfter time.Time     // whole seconds; NotAfter is a freshness mark
	Peer             Peer          // where the device listens
	Head             identity.Head // the device list that the device believes
	FrontDoor        *SetRecord    // where strangers deposit; nil: nowhere
}

// DeviceRecord says how to start a session with a device (bundle) and how to
// reach it (reach part), signed by the device key. At most MaxDeviceRecord
// bytes. It does not prove that the user lists the device: check the list.
type DeviceRecord struct {
	f   DeviceFields
	raw []byte
}

// SignDeviceRecord signs with the device key that also signed the bundle.
func SignDeviceRecord(keys *identity.DeviceKeys, f DeviceFields) (*DeviceRecord, error) {
	if f.Bundle == nil || !f.Peer.valid(MaxAddrs) || !validSpan(f.Issued, f.NotAfter) {
		return nil, ErrInvalid
	}
	var door []byte
	if f.FrontDoor != nil {
		door = f.FrontDoor.raw
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(recordVersion)
	b.AddUint32LengthPrefixed(func(c *cryptobyte.Builder) { c.AddBytes(f.Bundle.Bytes()) })
	b.AddUint64(f.Number)
	addTime(b, f.Issued)
	addTime(b, f.NotAfter)
	addPeer(b, f.Peer)
	b.AddUint32(f.Head.Epoch)
	b.AddUint64(f.Head.Seq)
	b.AddBytes(f.Head.Hash[:])
	b.AddUint32LengthPrefixed(func(c *cryptobyte.Builder) { c.AddBytes(door) })
	return ParseDeviceRecord(sign(keys.Sign, labelDevice, b.BytesOrPanic()))
}

// ParseDeviceRecord reads a device record and verifies every signature in it:
// the record's, the bundle's and those of the front-door set.
func ParseDeviceRecord(raw []byte) (*DeviceRecord, error) { return devices.Of(raw, parseDeviceRecord) }

func parseDeviceRecord(raw []byte) (*DeviceRecord, error) {
	raw = copyOf(raw, MaxDeviceRecord)
	body, sig, ok := splitSig(raw, MaxDeviceRecord)
	if !ok {
		return nil, ErrInvalid
	}
	d := &DeviceRecord{raw: raw}
	var bundle cryptobyte.String
	s := cryptobyte.String(body)
	if !readVersion(&s) || !readU32Prefixed(&s, &bundle) || !readReach(&s, &d.f) || !s.Empty() {
		return nil, ErrInvalid
	}
	var err error
	if d.f.Bundle, err = identity.ParseBundle(bundle); err != nil {
		return nil, ErrInvalid
	}
	signer := d.f.Bundle.SigPub()
	if !verify(ed25519.PublicKey(signer[:]), labelDevice, body, sig) {
		return nil, ErrInvalid
	}
	return d, nil
}

func readReach(s *cryptobyte.String, f *DeviceFields) bool {
	var door cryptobyte.String
	if !s.ReadUint64(&f.Number) || !readTime(s, &f.Issued) || !readTime(s, &f.NotAfter) ||
		!validSpan(f.Issued, f.NotAfter) || !readPeer(s, MaxAddrs, &f.Peer) {
		return false
	}
	if !s.ReadUint32(&f.Head.Epoch) || !s.ReadUint64(&f.Head.Seq) || !s.CopyBytes(f.Head.Hash[:]) ||
		!readU32Prefixed(s, &door) {
		return false
	}
	if len(door) == 0 {
		return true
	}
	set, err := ParseSetRecord(door)
	f.FrontDoor = set
	return err == nil && set.Epoch() == FrontDoorEpoch
}

// Bundle is the prekey bundle, verified.
func (d *DeviceRecord) Bundle() *identity.Bundle { return d.f.Bundle }

// Number orders the records of one generation of the device.
func (d *DeviceRecord) Number() uint64 { return d.f.Number }

// Issued is when the reach part was made.
func (d *DeviceRecord) Issued() time.Time { return d.f.Issued }

// NotAfter is the freshness mark of the reach part.
func (d *DeviceRecord) NotAfter() time.Time { return d.f.NotAfter }

// Peer is where the device listens.
func (d *DeviceRecord) Peer() Peer { return d.f.Peer }

// Head is the device list that the device believed when it signed.
func (d *DeviceRecord) Head() identity.Head { return d.f.Head }

// FrontDoor is the set where strangers deposit, nil if there is none.
func (d *DeviceRecord) FrontDoor() *SetRecord { return d.f.FrontDoor }

// Device is the device id.
func (d *DeviceRecord) Device() identity.DeviceID { return d.f.Bundle.Device() }

// User is the user that the bundle names.
func (d *DeviceRecord) User() identity.UserID { return d.f.Bundle.User() }

// Is says whether the record was read from these bytes.
func (d *DeviceRecord) Is(raw []byte) bool { return bytes.Equal(d.raw, raw) }

// Bytes is the record as received or signed.
func (d *DeviceRecord) Bytes() []byte { return bytes.Clone(d.raw) }

// Raw is what Bytes is a copy of: nobody may change it.
func (d *DeviceRecord) Raw() []byte { return d.raw }
