// Package view holds what the local API and the commands show: plain values, JSON in snake case, ids in lower-case hex,
// made from one read transaction. They never hold secrets. A Problem is what an answer is when it cannot be given.
package view

import "time"

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

// Identity is who this device is.
type Identity struct {
	User        string `json:"user"`
	Device      string `json:"device"`
	Name        string `json:"name"`
	DeviceName  string `json:"device_name"`
	Admin       bool   `json:"admin"`
	Epoch       uint32 `json:"epoch"`
	ListNumber  uint64 `json:"list_number"`
	Devices     int    `json:"devices"`
	Fingerprint string `json:"fingerprint"`
	AccountKey  string `json:"account_key"`       // fingerprint of the account key, as contacts see it
	Leaving     bool   `json:"leaving,omitempty"` // it asked the admin device to be taken off the list
	Removed     bool   `json:"removed"`           // the account's list does not name this device any more
}

// Contact is one person that we know.
type Contact struct {
	User         string    `json:"user"`
	Handle       string    `json:"handle"` // our local name: unique, what commands take
	Name         string    `json:"name"`   // self-asserted
	State        string    `json:"state"`  // pending (we joined or asked, no answer yet), request, accepted, blocked, ignored, member (of a group, else nothing to us)
	Verified     bool      `json:"verified"`
	Left         bool      `json:"left"`
	EpochChanged bool      `json:"epoch_changed"`      // sending is stopped until accepted
	Declined     string    `json:"declined,omitempty"` // why the inviter declined
	Devices      int       `json:"devices"`
	Online       bool      `json:"online"`
	Relays       int       `json:"relays"` // of the device that has the fewest
	Added        time.Time `json:"added"`
	SafetyNumber string    `json:"safety_number,omitempty"`
	SafetyWords  string    `json:"safety_words,omitempty"`     // the same in 14 words
	Code         string    `json:"code,omitempty"`             // what this device shows the contact's: ids, and the device lists of both that it knows
	Fingerprint  string    `json:"fingerprint,omitempty"`      // of the account key
	NextKey      string    `json:"next_fingerprint,omitempty"` // of the account key that waits to be accepted
	Forked       bool      `json:"forked,omitempty"`           // two device lists for one place: `contact show --proof` has them
	Request      *Request  `json:"request,omitempty"`          // while it is open
	Names        []Name    `json:"names,omitempty"`            // what the person calls itself beside its name
	Picture      *File     `json:"picture,omitempty"`
}

// Proof is that somebody's account key signed two device lists for one place. It needs nothing else to be believed.
type Proof struct {
	User   string      `json:"user"`
	Handle string      `json:"handle,omitempty"` // if we know the person; "me": ourselves
	Held   bool        `json:"held"`             // nothing is sent to that person for it, until a person accepts
	Lists  []ProofList `json:"lists"`
	Text   string      `json:"text"`
}

// ProofList is one of the two lists.
type ProofList struct {
	Epoch   uint32    `json:"epoch"`
	Number  uint64    `json:"number"`
	Hash    string    `json:"hash"`
	Issued  time.Time `json:"issued"`
	Devices []string  `json:"devices"`
}

// Request is a wish to be a contact that nobody has answered.
type Request struct {
	Mine  bool      `json:"mine"` // we asked
	Note  string    `json:"note,omitempty"`
	At    time.Time `json:"at"`
	Stage Stage     `json:"stage,omitempty"` // of ours, never later than custody: who has not accepted acknowledges nothing
}

// Name is a handle that a person gives itself. One with an @ is verified when the domain names that person.
type Name struct {
	Name     string    `json:"name"`
	Verified bool      `json:"verified"`
	Since    time.Time `json:"since,omitzero"`   // verified since
	Checked  time.Time `json:"checked,omitzero"` // when the DNS last answered
	Error    string    `json:"error,omitempty"`  // why the last question did not verify it
}

// Profile is what we say of ourselves.
type Profile struct {
	Name    string   `json:"name"`
	Handles []string `json:"handles,omitempty"`
	Picture *File    `json:"picture,omitempty"`
	Records []Record `json:"records,omitempty"` // the DNS records that prove our names under a domain
}

// Record is one TXT record of the DNS.
type Record struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Delivery is one (message, device) pair.
type Delivery struct {
	Device   string    `json:"device"`
	Own      bool      `json:"own"` // one of our own other devices
	User     string    `json:"user"`
	Handle   string    `json:"handle"`
	Stage    Stage     `json:"stage"`
	Custody  int       `json:"custody"`  // relays that signed
	Replicas int       `json:"replicas"` // relays in the set
	Quorum   int       `json:"quorum"`   // W
	Attempts int       `json:"attempts"`
	NextTry  time.Time `json:"next_try,omitzero"`
	Receipts []Receipt `json:"receipts,omitempty"`
	Voided   int       `json:"voided,omitempty"` // relays that signed and could not show it later
	Expires  time.Time `json:"expires"`
	Expiring bool      `json:"expiring,omitempty"` // its last days have begun; `rearm` gives it 30 more
}

// Receipt is one custody receipt that we hold.
type Receipt struct {
	Relay    string    `json:"relay"`
	StoredAt time.Time `json:"stored_at"`
}

// Status answers `status MSG`.
type Status struct {
	Message    Message    `json:"message"`
	Stage      Stage      `json:"stage"`
	Deliveries []Delivery `json:"deliveries"`
	Expires    time.Time  `json:"expires,omitzero"` // the first delivery on its way to do so
	Rearm      bool       `json:"rearm,omitempty"`  // expired or about to: Engine.Rearm gives it another 30 days
}

// Step is one thing that was tried for a message.
type Step struct {
	At     time.Time `json:"at"`
	Device string    `json:"device,omitempty"`
	What   string    `json:"what"` // e.g. "queued", "direct", "deposit", "custody", "delivered"
	Detail string    `json:"detail,omitempty"`
}

// Device is one device of ours.
type Device struct {
	Device  string    `json:"device"`
	Name    string    `json:"name"`
	This    bool      `json:"this"`
	Admin   bool      `json:"admin"`
	Online  bool      `json:"online"`
	AddedAt uint64    `json:"added_at_number"`
	Seen    time.Time `json:"seen,omitzero"`
}

// Relay is one relay that serves, or could serve, our mailbox.
type Relay struct {
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

// Mailbox is the state of our own mailbox.
type Mailbox struct {
	State    string    `json:"state"` // none, electing, thin, full
	Epoch    uint32    `json:"epoch"`
	Number   uint64    `json:"number"`
	R        int       `json:"r"`
	W        int       `json:"w"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Relays   []Relay   `json:"relays"`
	Hint     string    `json:"hint,omitempty"`
}

// Invite is one invite link of ours.
type Invite struct {
	ID      string    `json:"id"`
	Link    string    `json:"link"`
	Text    string    `json:"text"` // the link with further hints; longer, for copy and paste
	Expires time.Time `json:"expires"`
	Used    bool      `json:"used"`
}

// History is how the past was compared with another device of ours.
type History struct {
	Device string    `json:"device"`
	Name   string    `json:"name"`
	State  string    `json:"state"` // not compared, comparing, equal
	Equal  time.Time `json:"equal_at,omitzero"`
}
