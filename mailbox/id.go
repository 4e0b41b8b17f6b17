package mailbox

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/kith-im/kith/dht"
)

// ErrInvalid is the one error for receipts and signatures that do not hold.
var ErrInvalid = errors.New("mailbox: invalid")

// ErrDamaged says that a stored value failed its check and is not served.
var ErrDamaged = errors.New("mailbox: stored value is damaged")

// ErrDiskFull says that the disk has no room. Nothing was acknowledged and
// nothing changed; it ends by itself when room returns.
var ErrDiskFull = errors.New("mailbox: disk full")

// ErrClosed says that the store is closed.
var ErrClosed = errors.New("mailbox: store closed")

// ErrReadOnly says that a View tried to write.
var ErrReadOnly = errors.New("mailbox: write in a view")

// ID names a box: H("kith1 mailbox" | box public key).
type ID [32]byte

// EnvelopeID is H(envelope bytes).
type EnvelopeID [32]byte

// IDOf returns the id of the box that a public key (32 bytes) owns.
func IDOf(box ed25519.PublicKey) ID { return ID(dht.BoxID(box)) }

// EnvelopeIDOf hashes an envelope.
func EnvelopeIDOf(envelope []byte) EnvelopeID { return sha256.Sum256(envelope) }

// String is lower-case hex.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// String is lower-case hex.
func (id EnvelopeID) String() string { return hex.EncodeToString(id[:]) }
