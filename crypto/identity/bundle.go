package identity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/signature"
)

// Suite is the only suite: X25519, ML-KEM-768, Ed25519, HKDF and HMAC with
// SHA-256, ChaCha20-Poly1305. There is nothing to negotiate.
const Suite uint16 = 1

// FlagOneTime marks a bundle that the device hands to one sender only.
const FlagOneTime uint32 = 1

// hintFlags are the bits that a reader may ignore when it does not know them.
const hintFlags uint32 = 0xffff0000

// BundleFields is what the signer of a bundle decides.
type BundleFields struct {
	User UserID

	// Generation grows when the device has lost its sessions: a reader drops
	// those of an older one.
	Generation uint64

	// Number grows with every bundle of the device.
	Number uint64

	// Issued and NotAfter are kept in whole seconds. NotAfter is a freshness
	// mark, not a death sentence: see Grace.
	Issued, NotAfter time.Time

	// Flags has critical bits (the low 16; an unknown one refuses the bundle)
	// and hints (the high 16; an unknown one is ignored).
	Flags uint32
}

// Bundle is a verified bundle: the keys with which anyone can begin a session
// with a device that is away. It is immutable and safe for concurrent use.
type Bundle struct {
	raw  []byte
	hash [32]byte
	sig  [32]byte
	ik   [32]byte
	spk  [32]byte
	f    BundleFields
}

// NewBundle draws a fresh prekey (96 bytes from rng) and signs its public
// half. Store the Prekey before the bundle leaves the device.
func NewBundle(rng io.Reader, keys *DeviceKeys, f BundleFields) (*Bundle, *Prekey, error) {
	var p Prekey
	if _, err := io.ReadFull(rng, p.spk[:]); err != nil {
		return nil, nil, fmt.Errorf("identity: draw prekey: %w", err)
	}
	if _, err := io.ReadFull(rng, p.pq[:]); err != nil {
		return nil, nil, fmt.Errorf("identity: draw prekey: %w", err)
	}
	b := &Bundle{sig: pub32(keys.Sign), ik: agree.PublicOf(keys.IK), spk: agree.PublicOf(p.SPK()), f: f}
	if err := b.check(); err != nil {
		return nil, nil, fmt.Errorf("identity: sign bundle: %w", err)
	}
	body := b.encode(agree.EncapsulationKey(p.PQ()))
	sig := signature.Sign(keys.Sign, append([]byte(labelBundleSig), body...))
	b.keep(append(body, sig...))
	p.hash = b.hash
	return b, &p, nil
}

// ParseBundle reads and verifies a bundle of exactly 1415 bytes: the
// device's own signature, sound X25519 keys, and a well-formed ML-KEM-768
// key. That the user listed the device is for Claims to say; that it is
// recent, for Usable.
func ParseBundle(raw []byte) (*Bundle, error) {
	b, err := decodeBundle(raw)
	if err != nil || b.check() != nil {
		return nil, ErrInvalid
	}
	body := raw[:bundleSize-signatureSize]
	if !signature.Verify(b.sig[:], append([]byte(labelBundleSig), body...), raw[len(body):]) {
		return nil, ErrInvalid
	}
	b.keep(bytes.Clone(raw))
	if _, err := agree.NewEncapsulator(b.pq()); err != nil {
		return nil, ErrInvalid
	}
	return b, nil
}

func (b *Bundle) keep(raw []byte) {
	b.f.Issued, b.f.NotAfter = wholeSeconds(b.f.Issued), wholeSeconds(b.f.NotAfter)
	b.raw, b.hash = raw, sha256.Sum256(raw)
}

// check holds the rules of a bundle that need no signature.
func (b *Bundle) check() error {
	if err := checkTimes(b.f.Issued, b.f.NotAfter); err != nil {
		return err
	}
	switch {
	case !soundEd25519(b.sig) || !soundX25519(b.ik) || !soundX25519(b.spk):
		return errors.New("unsound key")
	case b.ik == b.spk || b.sig == b.ik || b.sig == b.spk:
		return errors.New("key used twice")
	case b.f.Flags&^(FlagOneTime|hintFlags) != 0:
		return fmt.Errorf("unknown flags %#x", b.f.Flags)
	}
	return nil
}

// encode is the bundle before its signature.
func (b *Bundle) encode(pq []byte) []byte {
	w := cryptobyte.NewBuilder(make([]byte, 0, bundleSize))
	w.AddUint8(formatVersion)
	w.AddUint16(Suite)
	w.AddBytes(b.f.User[:])
	w.AddBytes(b.sig[:])
	w.AddBytes(b.ik[:])
	w.AddUint64(b.f.Generation)
	w.AddUint64(b.f.Number)
	w.AddUint64(uint64(b.f.Issued.Unix()))
	w.AddUint64(uint64(b.f.NotAfter.Unix()))
	w.AddBytes(b.spk[:])
	w.AddBytes(pq)
	w.AddUint32(b.f.Flags)
	return w.BytesOrPanic()
}

// decodeBundle reads the bytes and verifies nothing.
func decodeBundle(raw []byte) (*Bundle, error) {
	if len(raw) != bundleSize {
		return nil, ErrInvalid
	}
	var b Bundle
	var version uint8
	var suite uint16
	s := cryptobyte.String(raw)
	if !s.ReadUint8(&version) || version != formatVersion || !s.ReadUint16(&suite) || suite != Suite ||
		!s.CopyBytes(b.f.User[:]) || !s.CopyBytes(b.sig[:]) || !s.CopyBytes(b.ik[:]) ||
		!s.ReadUint64(&b.f.Generation) || !s.ReadUint64(&b.f.Number) ||
		!readTime(&s, &b.f.Issued) || !readTime(&s, &b.f.NotAfter) ||
		!s.CopyBytes(b.spk[:]) || !s.Skip(pqKeySize) || !s.ReadUint32(&b.f.Flags) || !s.Skip(signatureSize) {
		return nil, ErrInvalid
	}
	return &b, nil
}

// Bytes is the bundle as signed.
func (b *Bundle) Bytes() []byte { return bytes.Clone(b.raw) }

// Hash is SHA-256 of Bytes; its first 8 bytes name the prekey.
func (b *Bundle) Hash() [32]byte { return b.hash }

// User is the user that the device says it belongs to: see Claims.
func (b *Bundle) User() UserID { return b.f.User }

// SigPub is the device's Ed25519 key, which signed the bundle.
func (b *Bundle) SigPub() [32]byte { return b.sig }

// IKPub is the device's X25519 identity key.
func (b *Bundle) IKPub() [32]byte { return b.ik }

// Device is the device's id.
func (b *Bundle) Device() DeviceID { return DeviceOf(b.sig) }

// Generation grows when the device has lost its sessions.
func (b *Bundle) Generation() uint64 { return b.f.Generation }

// Number grows with every bundle of the device.
func (b *Bundle) Number() uint64 { return b.f.Number }

// Issued is when the device says that it signed.
func (b *Bundle) Issued() time.Time { return b.f.Issued }

// NotAfter is the freshness mark.
func (b *Bundle) NotAfter() time.Time { return b.f.NotAfter }

// SPK is the X25519 prekey.
func (b *Bundle) SPK() [32]byte { return b.spk }

// PQ is the ML-KEM-768 encapsulation key, 1184 bytes, checked.
func (b *Bundle) PQ() []byte { return bytes.Clone(b.pq()) }

func (b *Bundle) pq() []byte {
	end := bundleSize - signatureSize - 4
	return b.raw[end-pqKeySize : end]
}

// Flags are the bundle's flags: FlagOneTime and hints.
func (b *Bundle) Flags() uint32 { return b.f.Flags }

// OneTime says whether the bundle was handed to one sender only.
func (b *Bundle) OneTime() bool { return b.f.Flags&FlagOneTime != 0 }

// Claims verifies the two-way link that makes a device a user's: the user's
// list names both keys of the device, and the device's bundle names the user.
// One way alone lets a user claim a stranger's device, or a stranger's device
// claim a user. The error is ErrInvalid.
func Claims(list *DeviceList, bundle *Bundle) error {
	d, listed := list.Find(bundle.Device())
	if !listed || bundle.User() != list.User() || d.IKPub != bundle.ik {
		return ErrInvalid
	}
	return nil
}
