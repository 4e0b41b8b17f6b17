package api

import (
	"time"

	"github.com/kith-im/kith/node/view"
)

// None is a request without fields.
type None struct{}

// Net is how the node stands to the network.
type Net struct {
	State        string   `json:"state"` // offline, online
	Peer         string   `json:"peer"`  // our libp2p peer id
	Addrs        []string `json:"addrs"`
	Reachability string   `json:"reachability"` // unknown, public, private
	Peers        int      `json:"peers"`
	Directory    int      `json:"directory"` // peers in the directory's routing table
	Relays       int      `json:"relays"`    // connected relays
	Direct       int      `json:"direct"`    // held streams to other devices
	Relay        bool     `json:"relay"`     // this node serves as a relay
	Stuck        string   `json:"stuck,omitempty"`
	Hint         string   `json:"hint,omitempty"`
}

// Status is the node at a glance.
type Status struct {
	State    string        `json:"state"` // ready (the API answers, no peers yet), online
	Version  string        `json:"version"`
	Started  time.Time     `json:"started"`
	Identity view.Identity `json:"identity"`
	Net      Net           `json:"net"`
	Mailbox  view.Mailbox  `json:"mailbox"`
	Contacts int           `json:"contacts"`
	Requests int           `json:"requests"` // of strangers, that nobody has answered
	Unread   int           `json:"unread"`
	Cursor   uint64        `json:"cursor"` // of the newest event
	Hint     string        `json:"hint,omitempty"`
}

// Peer is one libp2p connection.
type Peer struct {
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs"`
	Transport string   `json:"transport"` // quic, tcp
	Direct    bool     `json:"direct"`    // holds a direct stream
	Relay     bool     `json:"relay"`     // speaks the relay protocol
	Agent     string   `json:"agent"`
	Since     string   `json:"since"`
}

// Peers is every connection.
type Peers struct {
	Peers []Peer `json:"peers"`
}

// PingRequest names whom to reach.
type PingRequest struct {
	To string `json:"to"` // handle of a contact, peer id, or address that ends in one
}

// Ping is one answer.
type Ping struct {
	Device string  `json:"device,omitempty"`
	Peer   string  `json:"peer"`
	OK     bool    `json:"ok"`
	RTTMS  float64 `json:"rtt_ms,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Pings is one answer for each device.
type Pings struct {
	To    string `json:"to"`
	Pings []Ping `json:"pings"`
}

// Check is one line of netcheck and doctor.
type Check struct {
	Result string `json:"result"` // ok, warn, fail
	What   string `json:"what"`
	Why    string `json:"why"`
	Fix    string `json:"fix,omitempty"`
}

// Checks is a list of findings.
type Checks struct {
	Checks []Check `json:"checks"`
}

// SendRequest is a text for a conversation, with or without files.
type SendRequest struct {
	To       string        `json:"to"`   // handle
	Text     string        `json:"text"` // at most 3,500 bytes
	Subject  string        `json:"subject,omitempty"`
	Effect   string        `json:"effect,omitempty"`      // a hint for whoever draws: a word, like confetti
	Reply    string        `json:"reply,omitempty"`       // the id of the message that it answers, or a unique beginning
	Mentions []string      `json:"mentions,omitempty"`    // handles, which the text has with an @
	TTL      uint32        `json:"ttl_seconds,omitempty"` // it disappears after so long; left out: as the conversation says
	Files    []FileRequest `json:"files,omitempty"`       // at most 8; the text has less room then
	Key      string        `json:"key,omitempty"`         // idempotency key: the same key returns the same message, sent once
}

// Sent is what `send` wrote to the disk.
type Sent struct {
	Message view.Message `json:"message"`
}

// Chats is the inbox.
type Chats struct {
	Chats []view.Chat `json:"chats"`
}

// MessagesRequest asks for the newest messages of a conversation.
type MessagesRequest struct {
	Chat  string `json:"chat"`            // handle
	Limit int    `json:"limit,omitempty"` // default 50, at most 1,000

	Deleted bool `json:"deleted,omitempty"` // those that we deleted and may have back
}

// Messages is part of a conversation, oldest first.
type Messages struct {
	Chat     string         `json:"chat,omitempty"` // conversation id; absent in a search
	With     string         `json:"with,omitempty"` // its handle
	Messages []view.Message `json:"messages"`
}

// SearchRequest asks for messages. Empty fields do not matter.
type SearchRequest struct {
	Query string    `json:"query,omitempty"` // words, all of which have to be there; "in quotes" they are one
	Chat  string    `json:"chat,omitempty"`  // handle of a conversation
	From  string    `json:"from,omitempty"`  // handle of a person, or "me"
	Kind  string    `json:"kind,omitempty"`  // text, location, card, custom
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Limit int       `json:"limit,omitempty"` // default 50, at most 1,000
}

// ReadRequest names what a person has seen of a conversation.
type ReadRequest struct {
	Chat string   `json:"chat"`          // handle
	IDs  []string `json:"ids,omitempty"` // whole ids of the messages, at most 1,000; absent: all of them
}

// MarkedRead counts what was marked.
type MarkedRead struct {
	Read int `json:"read"`
}

// MessageRequest names a message.
type MessageRequest struct {
	ID string `json:"id"` // its id or a unique beginning
}

// WaitRequest names a message and how far it should come.
type WaitRequest struct {
	ID        string     `json:"id"`
	Stage     view.Stage `json:"stage"`      // queued, custody, delivered, read
	TimeoutMS int64      `json:"timeout_ms"` // at most 600,000
}

// Waited is how far the message came.
type Waited struct {
	Reached bool        `json:"reached"`
	Why     string      `json:"why,omitempty"` // if not: timeout, waiting, full, expired, dropped
	Status  view.Status `json:"status"`
}

// TraceView is what was tried for a message.
type TraceView struct {
	ID    string      `json:"id"`
	Steps []view.Step `json:"steps"`
}

// TTLRequest says how long a link lives.
type TTLRequest struct {
	TTLSeconds int64 `json:"ttl_seconds,omitempty"` // 1 hour to 30 days; default: 7 days for an invite, 1 hour for a device
}

// JoinRequest is an invite link of another person.
type JoinRequest struct {
	Link   string `json:"link"`
	Handle string `json:"handle,omitempty"` // our name for the person; default: the name they gave themselves
}

// Contacts is everybody we know.
type Contacts struct {
	Contacts []view.Contact `json:"contacts"`
}

// ContactRequest names a contact.
type ContactRequest struct {
	Contact string `json:"contact"` // handle
}

// AddRequest asks a stranger to be a contact.
type AddRequest struct {
	Who  string `json:"who"`  // a user id, 64 hex digits, or name@example.org
	Note string `json:"note"` // at most 200 bytes are sent
}

// VerifyRequest gives the safety number that a contact reads out, or the code that its device shows.
type VerifyRequest struct {
	Contact string `json:"contact"`
	Number  string `json:"number"` // 60 digits, spaces and hyphens do not count; or 14 words; or the text of a code
}

// ProofRequest gives the text of a proof.
type ProofRequest struct {
	Text string `json:"text"`
}

// ProfileRequest changes what is given.
type ProfileRequest struct {
	Name    *string   `json:"name"`
	Handles *[]string `json:"handles"`
	Picture *string   `json:"picture"` // absolute path of a picture, of which a small copy is shown; empty: none any more
}

// RenameRequest gives a contact another handle.
type RenameRequest struct {
	Contact string `json:"contact"`
	Handle  string `json:"handle"`
}

// BlockRequest blocks a contact or lets it in again.
type BlockRequest struct {
	Contact string `json:"contact"`
	Blocked bool   `json:"blocked"`
}

// Devices is every device of ours.
type Devices struct {
	Devices []view.Device `json:"devices"`
}

// HistoryRequest says how much of the past is compared.
type HistoryRequest struct {
	Days int `json:"days,omitempty"` // 0: all of it
}

// History is how the past was compared, for each other device of ours.
type History struct {
	Devices []view.History `json:"devices"`
}

// DeviceRequest names a device of ours.
type DeviceRequest struct {
	Device string `json:"device"` // its id or a unique beginning, or its name
}

// LeaveRequest takes this device, or the person, out of the network.
type LeaveRequest struct {
	All bool `json:"all,omitempty"` // the whole person: every device
}

// Left says that it is done, or that it was asked for.
type Left struct {
	All   bool `json:"all"`
	Asked bool `json:"asked,omitempty"` // the admin device was asked: this device is out when it has answered
}

// EventsRequest asks for a page of events.
type EventsRequest struct {
	Since uint64 `json:"since,omitempty"` // the cursor of the last event seen
	Max   int    `json:"max,omitempty"`   // default 50, at most 1,000
}

// EventsPage is a page of events.
type EventsPage struct {
	Events []view.Notice `json:"events"`
	Newest uint64        `json:"newest"` // the cursor of the newest event there is
}

// ConsumerRequest keeps a consumer's cursor in the node.
type ConsumerRequest struct {
	Consumer string `json:"consumer"` // at most 64 bytes
	Cursor   uint64 `json:"cursor"`   // of the last event that it is done with
}

// Consumer is a kept cursor.
type Consumer struct {
	Consumer string `json:"consumer"`
	Cursor   uint64 `json:"cursor"`
}

// Health says that the node answers.
type Health struct {
	Version string `json:"version"`
	Cursor  uint64 `json:"cursor"`
}

// GroupCreateRequest makes a group.
type GroupCreateRequest struct {
	Name    string   `json:"name"`
	Members []string `json:"members,omitempty"` // contacts
}

// GroupRequest names a group: its handle.
type GroupRequest struct {
	Group string `json:"group"`
}

// GroupMembersRequest adds or removes members.
type GroupMembersRequest struct {
	Group   string   `json:"group"`
	Members []string `json:"members"`
}

// GroupAdminRequest makes a member an admin, or no admin any more.
type GroupAdminRequest struct {
	Group  string `json:"group"`
	Member string `json:"member"` // or "me"
	Admin  bool   `json:"admin"`
}

// GroupSetRequest changes what a group is called or looks like; what is left out stays.
type GroupSetRequest struct {
	Group string  `json:"group"`
	Name  string  `json:"name,omitempty"`
	Image *string `json:"image"` // absolute path of a picture, of which a small copy is shown; empty: none any more
}
