package node

import (
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/node/store"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
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
	Notices  []Notice   // to the local API's event streams; already persisted
	Acks     []RelayAck // tell a relay to forget envelopes          (best effort: a relay that missed it hands the envelope out again)
	Directs  []Direct   // envelope to a device over its held stream -> Engine.DirectDone
	Deposits []Deposit  // envelope into a box at a relay            -> Engine.Deposited
	Audits   []Audit    // ask a relay to prove that it holds mail   -> Engine.Audited
	Awaits   []Await    // wait for room in a box at a relay         -> Engine.Freed, also hours later
	Lookups  []string   // directory keys wanted                     -> Engine.Looked
	Puts     []Put      // records to publish                        -> Engine.Published
	Connects []dht.Peer // peers worth a connection                  -> Engine.PeerUp when one is made
	Reserves []Reserve  // ask a relay for room                      -> Engine.Reserved
	Commits  []Commit   // ask a relay to sign leases                -> Engine.Committed
	Sets     []PushSet  // hand a finished set record to a member    (best effort, no answer)
	Watches  bool       // Engine.Watches changed: reconcile the collect streams
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

// The views are what the local API and the CLI show: plain values, JSON in snake case, ids in lower-case hex, computed
// from one read transaction. They never hold secrets.

// Stage is how far one delivery came, as evidence and never as a guess.
type Stage string

// The stages. Any later one of queued < custody < delivered < read satisfies an earlier one.
const (
	StageWaiting   Stage = "waiting"   // no relay set and no stream known yet
	StageQueued    Stage = "queued"    // on our disk
	StageCustody   Stage = "custody"   // W relays hold it and signed for it
	StageDelivered Stage = "delivered" // the device acknowledged it
	StageRead      Stage = "read"      // a person saw it
	StageFull      Stage = "full"      // the recipient's relays refuse: its box is full
	StageExpired   Stage = "expired"   // 30 days passed
	StageDropped   Stage = "dropped"   // the device was removed, or the person left, before it arrived
)

// IdentityView is who this device is.
type IdentityView struct {
	User        string `json:"user"`
	Device      string `json:"device"`
	Name        string `json:"name"`
	DeviceName  string `json:"device_name"`
	Admin       bool   `json:"admin"`
	Epoch       uint32 `json:"epoch"`
	ListNumber  uint64 `json:"list_number"`
	Devices     int    `json:"devices"`
	Fingerprint string `json:"fingerprint"`
	Removed     bool   `json:"removed"` // the account's list does not name this device any more
}

// ContactView is one person that we know.
type ContactView struct {
	User         string    `json:"user"`
	Handle       string    `json:"handle"` // our local name: unique, what commands take
	Name         string    `json:"name"`   // self-asserted
	State        string    `json:"state"`  // pending (we joined, no answer yet), request, accepted, blocked
	Verified     bool      `json:"verified"`
	Left         bool      `json:"left"`
	EpochChanged bool      `json:"epoch_changed"`      // sending is stopped until accepted
	Declined     string    `json:"declined,omitempty"` // why the inviter declined
	Devices      int       `json:"devices"`
	Online       bool      `json:"online"`
	Relays       int       `json:"relays"` // of the device that has the fewest
	Added        time.Time `json:"added"`
	SafetyNumber string    `json:"safety_number,omitempty"`
}

// ChatView is one conversation in the inbox.
type ChatView struct {
	Chat   string       `json:"chat"` // conversation id
	Handle string       `json:"handle"`
	Unread int          `json:"unread"`
	Last   *MessageView `json:"last,omitempty"`
}

// MessageView is one message of a conversation.
type MessageView struct {
	ID       string    `json:"id"` // 32 hex digits
	Chat     string    `json:"chat"`
	With     string    `json:"with"` // handle of the conversation's other person
	From     string    `json:"from"` // handle, or "me"
	Mine     bool      `json:"mine"`
	Text     string    `json:"text"`
	Kind     string    `json:"kind"`
	SentAt   time.Time `json:"sent_at"`
	Received time.Time `json:"received_at"`
	Read     bool      `json:"read"`
	Stage    Stage     `json:"stage,omitempty"` // of ours: the least over the recipient's devices
}

// DeliveryView is one (message, device) pair.
type DeliveryView struct {
	Device   string        `json:"device"`
	Own      bool          `json:"own"` // one of our own other devices
	User     string        `json:"user"`
	Handle   string        `json:"handle"`
	Stage    Stage         `json:"stage"`
	Custody  int           `json:"custody"`  // relays that signed
	Replicas int           `json:"replicas"` // relays in the set
	Quorum   int           `json:"quorum"`   // W
	Attempts int           `json:"attempts"`
	NextTry  time.Time     `json:"next_try,omitzero"`
	Receipts []ReceiptView `json:"receipts,omitempty"`
	Voided   int           `json:"voided,omitempty"` // relays that signed and could not show it later
	Expires  time.Time     `json:"expires"`
	Expiring bool          `json:"expiring,omitempty"` // its last days have begun; `rearm` gives it 30 more
}

// ReceiptView is one custody receipt that we hold.
type ReceiptView struct {
	Relay    string    `json:"relay"`
	StoredAt time.Time `json:"stored_at"`
}

// MessageStatus answers `status MSG`.
type MessageStatus struct {
	Message    MessageView    `json:"message"`
	Stage      Stage          `json:"stage"`
	Deliveries []DeliveryView `json:"deliveries"`
	Expires    time.Time      `json:"expires,omitzero"` // the first delivery on its way to do so
	Rearm      bool           `json:"rearm,omitempty"`  // expired or about to: Engine.Rearm gives it another 30 days
}

// TraceStep is one thing that was tried for a message.
type TraceStep struct {
	At     time.Time `json:"at"`
	Device string    `json:"device,omitempty"`
	What   string    `json:"what"` // e.g. "queued", "direct", "deposit", "custody", "delivered"
	Detail string    `json:"detail,omitempty"`
}

// DeviceView is one device of ours.
type DeviceView struct {
	Device  string    `json:"device"`
	Name    string    `json:"name"`
	This    bool      `json:"this"`
	Admin   bool      `json:"admin"`
	Online  bool      `json:"online"`
	AddedAt uint64    `json:"added_at_number"`
	Seen    time.Time `json:"seen,omitzero"`
}

// RelayView is one relay that serves, or could serve, our mailbox.
type RelayView struct {
	Peer    string   `json:"peer"`
	Addrs   []string `json:"addrs"`
	Member  bool     `json:"member"`
	Standby bool     `json:"standby"`
	Source  string   `json:"source"`
	Online  bool     `json:"online"`
	OK      uint64   `json:"ok"` // answers of the last 30 days
	Failed  uint64   `json:"failed"`

	// Broke is when it last could not show what it had signed for, or did not sign what it had reserved.
	Broke time.Time `json:"broke,omitzero"`
}

// MailboxView is the state of our own mailbox.
type MailboxView struct {
	State    string      `json:"state"` // none, electing, thin, full
	Epoch    uint32      `json:"epoch"`
	Number   uint64      `json:"number"`
	R        int         `json:"r"`
	W        int         `json:"w"`
	NotAfter time.Time   `json:"not_after,omitzero"`
	Relays   []RelayView `json:"relays"`
	Hint     string      `json:"hint,omitempty"`
}

// InviteView is one invite link of ours.
type InviteView struct {
	ID      string    `json:"id"`
	Link    string    `json:"link"`
	Text    string    `json:"text"` // the link with further hints; longer, for copy and paste
	Expires time.Time `json:"expires"`
	Used    bool      `json:"used"`
}

// Notice is one event of this device, persisted before anybody sees it. Cursor grows by one.
type Notice struct {
	Cursor  uint64        `json:"cursor"`
	At      time.Time     `json:"at"`
	Type    string        `json:"type"` // message, stage, expiring, expired, contact, device, mailbox, invite, identity, warning
	Message *MessageView  `json:"message,omitempty"`
	Stage   *DeliveryView `json:"stage,omitempty"`
	ID      string        `json:"id,omitempty"` // message id of a stage
	Contact *ContactView  `json:"contact,omitempty"`
	Device  *DeviceView   `json:"device,omitempty"`
	Text    string        `json:"text,omitempty"`
}
