package dht

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"math"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// Claim is what a directory value says about itself once its signatures hold.
// Keep it beside a stored value to judge that value again without verifying
// the signatures again.
type Claim struct {
	era, number      uint64 // order: era first (account epoch, device generation), then number
	issued, notAfter time.Time
}

// Inspect parses value as the record that key calls for, verifies all its
// signatures and ties it to the key. ErrInvalid otherwise. It does not look at
// the clock: see Claim.Valid.
func Inspect(key string, value []byte) (Claim, error) {
	kind, id, err := ParseKey(key)
	if err != nil || len(value) > MaxRecord {
		return Claim{}, ErrInvalid
	}
	switch kind {
	case KindUser:
		return readUser(id, value)
	case KindDevice:
		return readDevice(id, value)
	default:
		return readMailbox(id, value)
	}
}

func readUser(id, value []byte) (Claim, error) {
	list, err := identity.ParseDeviceList(value)
	if err != nil {
		return Claim{}, ErrInvalid
	}
	if user := list.User(); !bytes.Equal(user[:UserPrefix], id) {
		return Claim{}, ErrInvalid
	}
	c := Claim{uint64(list.Epoch()), list.Seq(), list.Issued(), list.NotAfter()}
	if list.Tombstone() {
		c.number = math.MaxUint64 // nothing of an epoch comes after its tombstone
	}
	return c, nil
}

func readDevice(id, value []byte) (Claim, error) {
	d, err := ParseDeviceRecord(value)
	if err != nil {
		return Claim{}, ErrInvalid
	}
	if device := d.Device(); !bytes.Equal(device[:], id) {
		return Claim{}, ErrInvalid
	}
	b := d.Bundle()
	return Claim{
		era: b.Generation(), number: d.Number(),
		issued:   later(d.Issued(), b.Issued()),
		notAfter: earlier(d.NotAfter(), b.NotAfter()),
	}, nil
}

func readMailbox(id, value []byte) (Claim, error) {
	o, err := parseSealed(value)
	if err != nil {
		return Claim{}, ErrInvalid
	}
	if box := BoxID(ed25519.PublicKey(o.box)); !bytes.Equal(box[:], id) {
		return Claim{}, ErrInvalid
	}
	return Claim{number: o.number, notAfter: o.notAfter}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Compare orders two claims of one key by (era, number): -1, 0 or +1. The era
// is the account epoch of a device list, the generation of a device.
func (c Claim) Compare(o Claim) int {
	return cmp.Or(cmp.Compare(c.era, o.era), cmp.Compare(c.number, o.number))
}

// Valid reports whether the value may be believed now: not issued more than
// MaxSkew ahead, not more than Grace past its notAfter mark.
func (c Claim) Valid(now time.Time) bool {
	return !c.issued.After(now.Add(MaxSkew)) && !now.After(c.Expires())
}

// Expires is the last moment at which the value may be believed.
func (c Claim) Expires() time.Time { return c.notAfter.Add(Grace) }

// Validate decides whether value may be stored and believed under key now:
// at most MaxRecord bytes, all signatures, the right key, not issued more than
// MaxSkew ahead, not more than Grace past its notAfter mark. ErrInvalid
// otherwise.
func Validate(key string, value []byte, now time.Time) error {
	c, err := Inspect(key, value)
	if err != nil || !c.Valid(now) {
		return ErrInvalid
	}
	return nil
}

// Select returns the index of the value with the highest (era, number), the
// lowest index among equals. Values that do not verify are passed over;
// ErrInvalid if none does. It does not look at the clock.
func Select(key string, values [][]byte) (int, error) {
	best, at := Claim{}, -1
	for i, v := range values {
		c, err := Inspect(key, v)
		if err == nil && (at < 0 || c.Compare(best) > 0) {
			best, at = c, i
		}
	}
	if at < 0 {
		return 0, ErrInvalid
	}
	return at, nil
}

// Verdict is how a fetched record relates to the newest one known.
type Verdict byte

// The verdicts.
const (
	VerdictInvalid Verdict = iota // does not verify under this key: forget it
	VerdictNewer                  // take it
	VerdictSame                   // byte for byte what is known
	VerdictOlder                  // rollback: ignore it
	VerdictFork                   // same number, other bytes: the signer equivocated; keep both as proof
)

// Newer compares a fetched record with the newest one that the reader has
// persisted under key (nil: none). Readers take only VerdictNewer. A device
// list that skips back to another predecessor is a fork too (identity.Order).
func Newer(key string, old, new []byte) Verdict {
	fresh, err := Inspect(key, new)
	if err != nil {
		return VerdictInvalid
	}
	known, err := Inspect(key, old)
	if err != nil {
		return VerdictNewer
	}
	if kind, _, _ := ParseKey(key); kind == KindUser {
		return newerList(old, new)
	}
	switch order := fresh.Compare(known); {
	case order > 0:
		return VerdictNewer
	case order < 0:
		return VerdictOlder
	case bytes.Equal(old, new):
		return VerdictSame
	default:
		return VerdictFork
	}
}

func newerList(old, new []byte) Verdict {
	known, err := identity.ParseDeviceList(old)
	if err != nil {
		return VerdictNewer
	}
	fresh, err := identity.ParseDeviceList(new)
	if err != nil {
		return VerdictInvalid
	}
	switch fresh.Order(known) {
	case identity.Newer:
		return VerdictNewer
	case identity.Same:
		return VerdictSame
	case identity.Fork:
		return VerdictFork
	default:
		return VerdictOlder
	}
}
