// Package mailbox holds the rules of a relay's boxes: who may deposit, fetch,
// acknowledge, and when things expire.
package mailbox

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/kith-im/kith/dht"
)

// ID names a box: H("kith1 mailbox" | box public key).
type ID [32]byte

// EnvelopeID is H(envelope bytes).
type EnvelopeID [32]byte

// IDOf returns the id of the box of a public key.
func IDOf(box ed25519.PublicKey) ID { return ID(dht.BoxID(box)) }

// EnvelopeIDOf hashes an envelope.
func EnvelopeIDOf(envelope []byte) EnvelopeID { return EnvelopeID{} }

// String is lower-case hex.
func (id ID) String() string         { return "" }
func (id EnvelopeID) String() string { return "" }

// ErrInvalid is the one error for malformed receipts and signatures.
var ErrInvalid = errors.New("mailbox: invalid")

// ErrDamaged says that a stored value failed its check and is not served.
var ErrDamaged = errors.New("mailbox: stored value is damaged")

// ErrDiskFull says that the disk has no room; nothing was acknowledged and
// nothing changed. It is operational: it ends when room returns.
var ErrDiskFull = errors.New("mailbox: disk full")

// ErrClosed says that the store is closed.
var ErrClosed = errors.New("mailbox: store closed")

// Deposit is what a sender leaves in a box.
type Deposit struct {
	Box       ID
	Envelope  []byte
	Expires   time.Time
	SetNumber uint64
	Pass      []byte
	Work      []byte // 8-byte nonce, see SolveWork
}

// Receipt is a relay's signed word that it stored an envelope.
type Receipt struct {
	Relay               []byte // peer id of the relay, 38 bytes
	Box                 ID
	Envelope            EnvelopeID
	StoredAt, ExpiresAt time.Time // whole milliseconds
	SetNumber           uint64    // newest set number that the relay knows
	Path                [][32]byte
	Sides               uint16 // bit i set: sibling i of Path stands on the left
	Sig                 [64]byte
}

func (r *Receipt) Bytes() []byte                { return nil }
func ParseReceipt(raw []byte) (*Receipt, error) { return nil, ErrInvalid }

// Verify checks that relay signed custody of this envelope for this box.
func (r *Receipt) Verify(relay []byte, box ID, envelope EnvelopeID) error { return ErrInvalid }

// Code says why a relay refuses.
type Code byte

const (
	NotMine     Code = 1 + iota // no lease for the box; Set may hold the newest set
	Full                        // quota of the box or of the relay
	TooLarge                    // envelope over the limit of the box
	Expired                     // already expired
	NeedWork                    // Bits says how much work
	BadPass                     // pass not accepted
	RateLimited                 // ask later
	NotServing                  // this node is not a relay now
	Malformed                   // not a sensible request, or badly signed
)

func (c Code) String() string { return "" }

// Refusal is a relay's typed "no"; errors.As finds it.
type Refusal struct {
	Code   Code
	Set    []byte // newer signed set record, for NotMine
	Bits   byte   // work wanted, for NeedWork
	Detail string
}

func (r *Refusal) Error() string { return "" }

// Verb is the act that a request signature is for.
type Verb byte

const (
	VerbReserve Verb = 1 + iota
	VerbCollect
	VerbAck
)

// SignRequest signs a request to one relay by the key of a box:
// "kith1 relay request sig" | verb | LP(relay peer id) | box id | LP(content).
func SignRequest(box ed25519.PrivateKey, relay []byte, verb Verb, content []byte) []byte { return nil }

// VerifyRequest checks a SignRequest signature.
func VerifyRequest(box ed25519.PublicKey, relay []byte, verb Verb, content, sig []byte) bool {
	return false
}

// AckContent is what an ack signs: the ids in order, 32 bytes each.
func AckContent(ids []EnvelopeID) []byte { return nil }

// SolveWork finds an 8-byte nonce with bits leading zero bits, trying at most tries nonces from start.
func SolveWork(box ID, id EnvelopeID, bits byte, start, tries uint64) (work []byte, ok bool) {
	return nil, false
}

// CheckWork checks that H("kith1 work" | box | envelope id | work) has bits leading zero bits.
func CheckWork(box ID, id EnvelopeID, bits byte, work []byte) bool { return false }

// Limits of one relay. The zero value of a field means its default.
type Limits struct {
	MaxEnvelope   uint32 // bytes
	BoxCount      uint32 // live envelopes per box
	BoxBytes      uint64 // live bytes per box
	MaxBytes      uint64 // live bytes of the relay
	MaxBoxes      uint32 // reserved or leased boxes
	FrontEnvelope uint32 // bytes, front door
	FrontCount    uint32 // live envelopes, front door
	FrontWork     byte   // work bits, front door
	BoxWork       byte   // work bits, contacts' boxes
}

// DefaultLimits are the limits of a home relay.
func DefaultLimits() Limits { return Limits{} }

// Relay is the relay's state machine; all state is in the Tx.
type Relay struct{}

// NewRelay returns the rules of the relay with this host key.
func NewRelay(host ed25519.PrivateKey, limits Limits) *Relay { return &Relay{} }

// Peer is the relay's peer id, 38 bytes. Limits are those in force.
func (r *Relay) Peer() []byte   { return nil }
func (r *Relay) Limits() Limits { return Limits{} }

// Reserve keeps room for a box until it commits; sig = SignRequest(VerbReserve, nil).
func (r *Relay) Reserve(tx Tx, now time.Time, box ed25519.PublicKey, sig []byte) error {
	return ErrInvalid
}

// Commit takes a signed set core (dht.SignSetCore) and returns this relay's lease.
func (r *Relay) Commit(tx Tx, now time.Time, signedCore []byte) (dht.Lease, error) {
	return dht.Lease{}, ErrInvalid
}

// PutSet keeps a set record for a box that has a lease here; older ones are ignored.
func (r *Relay) PutSet(tx Tx, now time.Time, raw []byte) error { return ErrInvalid }

// GetSet returns the newest set record known, or NotMine.
func (r *Relay) GetSet(tx Tx, now time.Time, box ID) ([]byte, error) { return nil, ErrInvalid }

// Deposit stores an envelope. The receipt is signed by the time Store.Do
// returns nil; until then its Sig is zero and it must not leave.
func (r *Relay) Deposit(tx Tx, now time.Time, d Deposit) (*Receipt, error) { return nil, ErrInvalid }

// Stored is one envelope of a box.
type Stored struct {
	Seq      uint64 // arrival number
	ID       EnvelopeID
	Envelope []byte
	Expires  time.Time
}

// Fetch returns unexpired, unacknowledged envelopes with Seq > after in order
// of arrival, at most count of them and about size bytes (at least one), and
// whether more follow. The caller has checked that the asker owns the box.
func (r *Relay) Fetch(tx Tx, now time.Time, box ID, after uint64, count, size int) (items []Stored, more bool, err error) {
	return nil, false, ErrInvalid
}

// Ack forgets envelopes; sig = SignRequest(VerbAck, AckContent(ids)).
func (r *Relay) Ack(tx Tx, now time.Time, box ed25519.PublicKey, ids []EnvelopeID, sig []byte) error {
	return ErrInvalid
}

// Tick advances the persisted clock and drops what is over; call it every few
// minutes (TickEvery).
func (r *Relay) Tick(tx Tx, now time.Time) (Swept, error) { return Swept{}, ErrInvalid }

// ConfirmClock lifts the clock's brake: at least 3 relays' clocks say that now is right.
func (r *Relay) ConfirmClock(tx Tx, now time.Time, others []time.Time) error { return ErrInvalid }

// Swept counts what a Tick removed.
type Swept struct {
	Days, Envelopes int
	Bytes           uint64
	Boxes           int
	Braked          bool // the clock jumped and nothing is deleted until it is trusted
}

// Batch gathers the receipts of one commit; the Store signs it after the commit.
type Batch struct{}

// Seal signs all receipts of the batch: one signature per 1024 receipts.
func (b *Batch) Seal() {}

// Tx is what the rules need of a transaction.
type Tx interface {
	Receipts() *Batch
}

// Store keeps the state of a relay.
type Store interface {
	// Do runs fn in a write transaction and returns nil once it is durable
	// and its receipts are signed. An error of fn undoes what fn wrote and is
	// returned. fn may run more than once. Concurrent callers share commits.
	Do(ctx context.Context, fn func(Tx) error) error
	// View runs fn on committed state; writes fail.
	View(fn func(Tx) error) error
}

// NewMemory returns the reference model, for one goroutine.
func NewMemory() Store { return nil }
