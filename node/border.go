package node

import (
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// Turn is what one call into the engine may use: the time, entropy, one store transaction, and the place for its
// effects. The loop makes one for each batch of inputs, commits Tx, and only then performs Out.
type Turn struct {
	Now  time.Time
	Rand io.Reader
	Tx   store.Tx
	Out  *Effects
}

// Effects is what has to happen after the commit, in this order of fields. Every performer answers with an input of the
// engine (named on each type); a performer that cannot act answers with the failure, so that the engine can plan again.
type Effects struct {
	Notices   []view.Notice  // to the local API's event streams; already persisted
	Signals   []view.Notice  // the same, kept nowhere: who misses one has missed it
	Acks      []RelayAck     // tell a relay to forget envelopes          (best effort: a relay that missed it hands the envelope out again)
	Directs   []Direct       // envelope to a device over its held stream -> Engine.DirectDone
	Deposits  []Deposit      // envelope into a box at a relay            -> Engine.Deposited
	Audits    []Audit        // ask a relay to prove that it holds mail   -> Engine.Audited
	Awaits    []Await        // wait for room in a box at a relay         -> Engine.Freed, also hours later
	Names     []NameQuery    // ask the DNS whose a name is              -> Engine.NameChecked
	Lookups   []string       // directory keys wanted                     -> Engine.Looked
	Puts      []Put          // records to publish                        -> Engine.Published
	Connects  []dht.Peer     // peers worth a connection                  -> Engine.PeerUp when one is made
	Reserves  []Reserve      // ask a relay for room                      -> Engine.Reserved
	Commits   []Commit       // ask a relay to sign leases                -> Engine.Committed
	Sets      []PushSet      // hand a finished set record to a member    (best effort, no answer)
	Transfers []transfer.Job // what is to be done with files -> Engine.Transferred
	Watches   bool           // Engine.Watches changed: reconcile the collect streams
}

// Direct is one envelope for a device that may be reachable now. The performer dials Peer if no stream is held.
type Direct struct {
	Ref      uint64 // delivery number, echoed
	Peer     dht.Peer
	Envelope []byte
}

// Deposit is one envelope for a box at one relay.
type Deposit struct {
	Ref   uint64 // delivery number, echoed
	Relay dht.Peer
	mailbox.Deposit
}

// ErrBusy is the answer to an effect that was not tried, because too many wait on this device for the same relay: it
// says nothing of the relay.
var ErrBusy = errors.New("busy")

// Audit asks one relay to prove that it holds an envelope (mailbox.ProofOf). Those of one turn with the same relay and
// box have the same nonce, and can go in one question.
type Audit struct {
	Ref      uint64 // delivery number, echoed
	Relay    dht.Peer
	Box      mailbox.ID
	Envelope mailbox.EnvelopeID
	Nonce    [32]byte
}

// Await is a wait for room in a box that was full. The performer answers once: when the relay says that there may be
// room, or when it cannot be asked any more.
type Await struct {
	Relay dht.Peer
	Box   mailbox.ID
}

// RelayAck tells a relay which envelopes of our box we hold; signed by the performer with the box key.
type RelayAck struct {
	Relay dht.Peer
	Key   ed25519.PrivateKey
	IDs   []mailbox.EnvelopeID
}

// NameQuery asks whether a name under a domain (people.Name) is a contact's.
type NameQuery struct {
	User identity.UserID
	Name string
}

// Put is a record to publish under its directory key.
type Put struct {
	Key   string
	Value []byte
}

// Reserve asks a relay for room for the given boxes of ours.
type Reserve struct {
	Round uint64 // election round, echoed
	Relay dht.Peer
	Boxes []ed25519.PrivateKey
}

// Commit asks a relay to countersign set cores; Keys[i] signs Cores[i].
type Commit struct {
	Round uint64
	Relay dht.Peer
	Keys  []ed25519.PrivateKey
	Cores []dht.SetCore
}

// PushSet hands a finished set record to one of its members, which serves it to senders.
type PushSet struct {
	Relay dht.Peer
	Set   []byte
}

// Watch is one box of ours at one relay: the performer holds a collect stream to Relay for it.
type Watch struct {
	Relay dht.Peer
	Box   mailbox.ID
	Key   ed25519.PrivateKey
}

// Collected is one envelope that a relay handed out.
type Collected struct {
	Box      mailbox.ID
	ID       mailbox.EnvelopeID
	Envelope []byte
}
