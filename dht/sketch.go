// Package dht holds the records that kith publishes in its directory and the
// rules for believing them.
package dht

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// ErrInvalid is the one error for every malformed, unsigned or misplaced
// record; it is deliberately opaque.
var ErrInvalid = errors.New("dht: invalid record")

// ErrNotFound says that no valid record was found.
var ErrNotFound = errors.New("dht: not found")

// ErrOlder says that a newer record than the one put is already stored.
var ErrOlder = errors.New("dht: a newer record is stored")

// Peer is a libp2p endpoint as plain bytes.
type Peer struct {
	ID    []byte   // identity multihash of an Ed25519 key, 38 bytes
	Addrs [][]byte // binary multiaddrs, at most 8 of at most 128 bytes
}

func PeerKey(peer []byte) (ed25519.PublicKey, bool) { return nil, false }
func PeerFromKey(pub ed25519.PublicKey) []byte      { return nil }

func BoxID(pub ed25519.PublicKey) [32]byte { return [32]byte{} }

func UserKey(u identity.UserID) string     { return "" }
func UserKeyFromPrefix(p [20]byte) string  { return "" }
func DeviceKey(d identity.DeviceID) string { return "" }
func MailboxKey(id [32]byte) string        { return "" }

// Kinds that ParseKey returns.
const (
	KindUser    byte = 'u'
	KindDevice  byte = 'd'
	KindMailbox byte = 'm'
)

func ParseKey(key string) (kind byte, id []byte, err error) { return 0, nil, ErrInvalid }

// FrontDoorEpoch is the epoch number of a front-door set.
const FrontDoorEpoch uint32 = 0xFFFFFFFF

type Member struct {
	Peer    Peer
	Rank    byte
	Standby bool
}

type SetCore struct {
	Box              ed25519.PublicKey
	Epoch            uint32
	Number           uint64
	Issued, NotAfter time.Time // whole seconds
	R, W, S          byte
	Members          []Member // strictly ascending rank
}

func (c SetCore) Bytes() []byte  { return nil }
func (c SetCore) Hash() [32]byte { return [32]byte{} }

func SignSetCore(key ed25519.PrivateKey, core SetCore) ([]byte, error) { return nil, ErrInvalid }
func ParseSetCore(signed []byte) (SetCore, error)                      { return SetCore{}, ErrInvalid }

type Lease struct {
	Rank byte
	End  time.Time // whole seconds
	Sig  [64]byte
}

func SignLease(relay ed25519.PrivateKey, coreHash [32]byte, rank byte, end time.Time) Lease {
	return Lease{}
}
func (l Lease) Verify(relay ed25519.PublicKey, coreHash [32]byte) bool { return false }

type SetRecord struct{}

func SignSetRecord(key ed25519.PrivateKey, core SetCore, leases []Lease) (*SetRecord, error) {
	return nil, ErrInvalid
}
func ParseSetRecord(raw []byte) (*SetRecord, error) { return nil, ErrInvalid }

func (s *SetRecord) Box() ed25519.PublicKey    { return nil }
func (s *SetRecord) BoxID() [32]byte           { return [32]byte{} }
func (s *SetRecord) Epoch() uint32             { return 0 }
func (s *SetRecord) Number() uint64            { return 0 }
func (s *SetRecord) Issued() time.Time         { return time.Time{} }
func (s *SetRecord) NotAfter() time.Time       { return time.Time{} }
func (s *SetRecord) R() byte                   { return 0 }
func (s *SetRecord) W() byte                   { return 0 }
func (s *SetRecord) S() byte                   { return 0 }
func (s *SetRecord) Members() []Member         { return nil }
func (s *SetRecord) Leases() []Lease           { return nil }
func (s *SetRecord) Core() SetCore             { return SetCore{} }
func (s *SetRecord) Bytes() []byte             { return nil }
func (s *SetRecord) Usable(now time.Time) bool { return false }

// SealSet is deterministic: sealing one record twice gives the same bytes, so
// that a republish is never taken for equivocation. It needs no entropy.
func SealSet(boxKey ed25519.PrivateKey, recordKey [32]byte, rec *SetRecord) ([]byte, error) {
	return nil, ErrInvalid
}
func OpenSet(recordKey [32]byte, value []byte) (*SetRecord, error) { return nil, ErrInvalid }

type DeviceFields struct {
	Bundle           *identity.Bundle
	Number           uint64
	Issued, NotAfter time.Time // whole seconds
	Peer             Peer
	Head             identity.Head
	FrontDoor        *SetRecord // nil: none
}

type DeviceRecord struct{}

func SignDeviceRecord(keys *identity.DeviceKeys, f DeviceFields) (*DeviceRecord, error) {
	return nil, ErrInvalid
}
func ParseDeviceRecord(raw []byte) (*DeviceRecord, error) { return nil, ErrInvalid }

func (d *DeviceRecord) Bundle() *identity.Bundle  { return nil }
func (d *DeviceRecord) Number() uint64            { return 0 }
func (d *DeviceRecord) Issued() time.Time         { return time.Time{} }
func (d *DeviceRecord) NotAfter() time.Time       { return time.Time{} }
func (d *DeviceRecord) Peer() Peer                { return Peer{} }
func (d *DeviceRecord) Head() identity.Head       { return identity.Head{} }
func (d *DeviceRecord) FrontDoor() *SetRecord     { return nil }
func (d *DeviceRecord) Device() identity.DeviceID { return identity.DeviceID{} }
func (d *DeviceRecord) User() identity.UserID     { return identity.UserID{} }
func (d *DeviceRecord) Bytes() []byte             { return nil }

type Advert struct {
	Peer             Peer // at most 4 addresses
	Number           uint64
	Issued, NotAfter time.Time // whole seconds, at most 24 h apart
	MaxEnvelope      uint32    // bytes
	BoxBytes         uint64    // quota of one box, bytes
	BoxCount         uint32    // quota of one box, envelopes
	RetentionDays    uint16
	WorkBits         byte
	Family           [8]byte
	LeavingAt        time.Time // zero: not leaving
	raw              []byte
}

func SignAdvert(relay ed25519.PrivateKey, a Advert) (*Advert, error) { return nil, ErrInvalid }
func ParseAdvert(raw []byte) (*Advert, error)                        { return nil, ErrInvalid }
func (a *Advert) Bytes() []byte                                      { return a.raw }
func (a *Advert) Fresh(now time.Time) bool                           { return false }

func Validate(key string, value []byte, now time.Time) error { return ErrInvalid }
func Select(key string, values [][]byte) (int, error)        { return 0, ErrInvalid }

type Verdict byte

const (
	VerdictInvalid Verdict = iota // new is not a valid record of this key
	VerdictNewer
	VerdictSame
	VerdictOlder
	VerdictFork // same number, other bytes: signed equivocation
)

// Newer compares a fetched record with the newest one known (nil: none).
func Newer(key string, old, new []byte) Verdict { return VerdictInvalid }

// NextPublish says when to publish again after a put that reached stored peers.
func NextPublish(rng io.Reader, now time.Time, stored, failures int) (time.Time, error) {
	return now, ErrInvalid
}

// Directory is where records are put and found.
type Directory interface {
	Put(ctx context.Context, key string, value []byte) (stored int, err error)
	Get(ctx context.Context, key string) ([]byte, error)
}

type Memory struct{}

// NewMemory returns a directory in memory for one goroutine; now is its clock.
func NewMemory(now func() time.Time) *Memory { return &Memory{} }

func (m *Memory) Put(ctx context.Context, key string, value []byte) (int, error) {
	return 0, ErrInvalid
}
func (m *Memory) Get(ctx context.Context, key string) ([]byte, error) { return nil, ErrNotFound }
