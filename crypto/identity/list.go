package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/signature"
)

// FlagTombstone marks the list of a user who has left for good.
const FlagTombstone byte = 1

// ListFields is what the signer of a device list decides.
type ListFields struct {
	// Seq numbers the lists of an epoch from 1 without gaps.
	Seq uint64

	// Prev is the hash of the list before. The first list of an epoch names
	// the last list of the epoch before if the signer knows one, else zero.
	Prev [32]byte

	// Issued and NotAfter are kept in whole seconds. NotAfter is a freshness
	// mark, not a death sentence: see Grace.
	Issued, NotAfter time.Time

	// Flags is 0 with 1 to 16 devices, or FlagTombstone with none.
	Flags   byte
	Devices []Device
}

// DeviceList is a verified device list: which devices speak for a user. It
// is immutable and safe for concurrent use.
type DeviceList struct {
	raw     []byte
	hash    [32]byte
	user    UserID
	root    [32]byte
	epoch   uint32
	account [32]byte
	cert    [signatureSize]byte
	f       ListFields
}

// SignList signs a new list. It refuses fields that ParseDeviceList would
// refuse, and says why.
func (a *Account) SignList(f ListFields) (*DeviceList, error) {
	f.Devices = slices.Clone(f.Devices)
	l := &DeviceList{root: a.root, epoch: a.epoch, account: a.pub(), cert: a.cert, f: f}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("identity: sign list: %w", err)
	}
	body := l.encode()
	sig := signature.Sign(a.key, append([]byte(labelListSig), body...))
	return l.keep(append(body, sig...)), nil
}

// ParseDeviceList reads and verifies a list of at most 1456 bytes:
// the root's signature over the account key, the account key's over the
// list, and every rule of the fields. It does not look at the clock (see
// Usable), and it cannot know which user was asked for: compare User.
func ParseDeviceList(raw []byte) (*DeviceList, error) {
	l, err := decodeList(raw)
	if err != nil || l.check() != nil {
		return nil, ErrInvalid
	}
	if !verifyAccount(l.root, l.epoch, l.account, l.cert) {
		return nil, ErrInvalid
	}
	body := raw[:len(raw)-signatureSize]
	if !signature.Verify(l.account[:], append([]byte(labelListSig), body...), raw[len(body):]) {
		return nil, ErrInvalid
	}
	return l.keep(bytes.Clone(raw)), nil
}

func (l *DeviceList) keep(raw []byte) *DeviceList {
	l.f.Issued, l.f.NotAfter = wholeSeconds(l.f.Issued), wholeSeconds(l.f.NotAfter)
	l.raw, l.hash, l.user = raw, sha256.Sum256(raw), userOf(l.root)
	return l
}

// check holds the rules of a list that need no key.
func (l *DeviceList) check() error {
	f := l.f
	if err := checkTimes(f.Issued, f.NotAfter); err != nil {
		return err
	}
	switch {
	case f.Seq == 0:
		return errors.New("lists are numbered from 1")
	case f.Seq > 1 && f.Prev == [32]byte{}:
		return errors.New("no hash of the list before")
	case f.Flags&^FlagTombstone != 0:
		return fmt.Errorf("unknown flags %#x", f.Flags)
	case len(f.Devices) > maxDevices:
		return fmt.Errorf("%d devices, at most %d", len(f.Devices), maxDevices)
	case (f.Flags&FlagTombstone != 0) != (len(f.Devices) == 0):
		return errors.New("a tombstone, and nothing else, names no device")
	}
	return l.checkDevices()
}

func (l *DeviceList) checkDevices() error {
	seen := map[[32]byte]bool{l.root: true, l.account: true}
	admins := 0
	for i, d := range l.f.Devices {
		switch {
		case !soundEd25519(d.SigPub) || !soundX25519(d.IKPub):
			return fmt.Errorf("device %d: unsound key", i)
		case seen[d.SigPub] || seen[d.IKPub] || d.SigPub == d.IKPub:
			return fmt.Errorf("device %d: key used twice", i)
		case d.Flags&^FlagAdmin != 0:
			return fmt.Errorf("device %d: unknown flags %#x", i, d.Flags)
		case d.AddedSeq == 0 || d.AddedSeq > l.f.Seq:
			return fmt.Errorf("device %d: added by list %d of %d", i, d.AddedSeq, l.f.Seq)
		}
		seen[d.SigPub], seen[d.IKPub] = true, true
		if d.Admin() {
			admins++
		}
	}
	if admins > 1 {
		return fmt.Errorf("%d admin devices, at most one", admins)
	}
	return nil
}

// Is says whether the list was read from these bytes.
func (l *DeviceList) Is(raw []byte) bool { return bytes.Equal(l.raw, raw) }

// Bytes is the list as signed.
func (l *DeviceList) Bytes() []byte { return bytes.Clone(l.raw) }

// Hash is SHA-256 of Bytes.
func (l *DeviceList) Hash() [32]byte { return l.hash }

// User is the id of the root that certified the account key.
func (l *DeviceList) User() UserID { return l.user }

// Epoch is the epoch of the account key that signed.
func (l *DeviceList) Epoch() uint32 { return l.epoch }

// Fingerprint is what people see of the account key that signed: 20 hex digits
// of SHA-256("kith1 account print" | account public key 32), in groups of 5.
func (l *DeviceList) Fingerprint() string {
	sum := sha256.Sum256(append([]byte(labelAccountPrint), l.account[:]...))
	h := hex.EncodeToString(sum[:10])
	return h[:5] + " " + h[5:10] + " " + h[10:15] + " " + h[15:]
}

// Seq is the number of the list in its epoch, from 1.
func (l *DeviceList) Seq() uint64 { return l.f.Seq }

// Prev is the hash of the list before, or zero: see ListFields.
func (l *DeviceList) Prev() [32]byte { return l.f.Prev }

// Issued is when the signer says that it signed.
func (l *DeviceList) Issued() time.Time { return l.f.Issued }

// NotAfter is the freshness mark.
func (l *DeviceList) NotAfter() time.Time { return l.f.NotAfter }

// Tombstone says that the user has left and has no devices.
func (l *DeviceList) Tombstone() bool { return l.f.Flags&FlagTombstone != 0 }

// Devices are the listed devices, in the order of the list.
func (l *DeviceList) Devices() []Device { return slices.Clone(l.f.Devices) }

// Find looks a device up by id.
func (l *DeviceList) Find(id DeviceID) (Device, bool) {
	for _, d := range l.f.Devices {
		if d.ID() == id {
			return d, true
		}
	}
	return Device{}, false
}
