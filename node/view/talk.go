package view

import "time"

// Chat is one conversation in the inbox.
type Chat struct {
	Chat     string    `json:"chat"` // conversation id
	Kind     string    `json:"kind"` // direct, group, self
	Handle   string    `json:"handle"`
	Name     string    `json:"name,omitempty"` // of a group: what all of it calls it
	Left     bool      `json:"left,omitempty"` // a group that this person is no member of any more
	Unread   int       `json:"unread"`
	Pinned   bool      `json:"pinned,omitempty"`
	Muted    time.Time `json:"muted_until,omitzero"`
	Draft    string    `json:"draft,omitempty"`
	Timer    uint32    `json:"timer_seconds,omitempty"` // new messages disappear after so long
	Receipts string    `json:"read_receipts,omitempty"` // on, off; empty: as everywhere
	Last     *Message  `json:"last,omitempty"`
}

// Message is one message of a conversation, as far as this device knows what became of it.
type Message struct {
	Whole    []byte    `json:"-"`  // the whole id, 32 bytes
	ID       string    `json:"id"` // 32 hex digits
	Chat     string    `json:"chat"`
	With     string    `json:"with"` // handle of the conversation: the other person, or the group
	Group    bool      `json:"group,omitempty"`
	From     string    `json:"from"` // handle, or "me"
	Mine     bool      `json:"mine"`
	Text     string    `json:"text"`
	Kind     string    `json:"kind"` // text, location, card, custom, timer, or [kind 9] of a later version
	SentAt   time.Time `json:"sent_at"`
	Received time.Time `json:"received_at"`
	Read     bool      `json:"read"`
	Stage    Stage     `json:"stage,omitempty"` // of ours: the least over the recipients; a person has read what one device has shown

	Subject   string     `json:"subject,omitempty"`
	Effect    string     `json:"effect,omitempty"` // a hint for whoever draws
	Reply     *Reply     `json:"reply,omitempty"`
	Mentions  []Mention  `json:"mentions,omitempty"`
	Reactions []Reaction `json:"reactions,omitempty"`
	Files     []File     `json:"files,omitempty"`
	Location  *Location  `json:"location,omitempty"`
	Card      *Card      `json:"card,omitempty"`
	Custom    *Custom    `json:"custom,omitempty"`

	Edited   bool      `json:"edited,omitempty"`
	Edits    []Edit    `json:"edits,omitempty"`         // earlier texts, oldest first
	Refused  int       `json:"refused_edits,omitempty"` // came too late, or too many
	Unsent   bool      `json:"unsent,omitempty"`        // its author took it back
	Deleted  bool      `json:"deleted,omitempty"`       // for us; undelete works for 30 days
	TTL      uint32    `json:"ttl_seconds,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`   // when it disappears
	Erased   bool      `json:"erased,omitempty"`   // its time was over: nothing of it is left
	Fallback string    `json:"fallback,omitempty"` // why this went out, or came, without end-to-end encryption
}

// Reply is the message that another answers.
type Reply struct {
	ID   string `json:"id"`
	From string `json:"from,omitempty"` // empty: it is not here
	Text string `json:"text,omitempty"`
}

// Mention is a person named in a text.
type Mention struct {
	Handle string `json:"handle"`
	Start  uint32 `json:"start"` // bytes
	Length uint32 `json:"length"`
}

// Reaction is one person's.
type Reaction struct {
	Emoji string    `json:"emoji"`
	From  string    `json:"from"`
	At    time.Time `json:"at"`
}

// Edit is a text that was replaced.
type Edit struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// File is one attachment.
type File struct {
	Index   int    `json:"index"`
	Name    string `json:"name"`
	Type    string `json:"type"`
	Size    uint64 `json:"size"`  // bytes
	State   string `json:"state"` // offered (until it is asked for), fetching, queued (tried again later), uploading, here, saving, failed, gone
	Done    uint64 `json:"done"`  // bytes that are here
	Sticker bool   `json:"sticker,omitempty"`
	Preview bool   `json:"preview,omitempty"` // a small picture of it is here
	Saved   string `json:"saved,omitempty"`   // path at which it was saved last
	Error   string `json:"error,omitempty"`
}

// Location is a place.
type Location struct {
	Lat   float64 `json:"lat"` // degrees
	Lon   float64 `json:"lon"`
	Label string  `json:"label,omitempty"`
}

// Card introduces a person.
type Card struct {
	Name string `json:"name"`
	User string `json:"user"`
}

// Custom is content of a bot or another program.
type Custom struct {
	Type     string `json:"type"`
	Data     []byte `json:"data,omitempty"`
	Fallback string `json:"fallback"`
}

// Group is a group with its members.
type Group struct {
	Chat    string   `json:"chat"`
	Handle  string   `json:"handle"`
	Name    string   `json:"name"`
	Image   *File    `json:"image,omitempty"`
	Members []Member `json:"members"`
	Left    bool     `json:"left"` // we are no member any more
	Entries int      `json:"entries"`
}

// Member is one person of a group.
type Member struct {
	User   string    `json:"user"`
	Handle string    `json:"handle"`
	Admin  bool      `json:"admin"`
	Since  time.Time `json:"since"`
	Me     bool      `json:"me,omitempty"`
}

// Transfer is a file on its way.
type Transfer struct {
	Number  uint64 `json:"number"` // local
	Message string `json:"message"`
	Index   int    `json:"index"`
	Name    string `json:"name"`
	Way     string `json:"way"` // up, down
	State   string `json:"state"`
	Done    uint64 `json:"done"` // bytes
	Size    uint64 `json:"size"`
	Error   string `json:"error,omitempty"`
	Saved   string `json:"saved,omitempty"`   // path at which it was saved last
	Preview bool   `json:"preview,omitempty"` // this is the preview of the file
}

// Setting is one setting that changed.
type Setting struct {
	Chat  string `json:"chat,omitempty"` // handle; empty: of the whole node
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Settings are those of the whole person.
type Settings struct {
	Receipts bool `json:"read_receipts"` // authors hear that we have read, unless a conversation says otherwise
	Typing   bool `json:"typing"`        // others see that we are writing, and we them
}

// Typing says who is writing.
type Typing struct {
	Chat string `json:"chat"` // handle of the conversation
	From string `json:"from"`
	On   bool   `json:"on"`
}

// Notice is one event of this device, persisted before anybody sees it; only typing is kept nowhere. Cursor grows by one.
type Notice struct {
	Cursor   uint64    `json:"cursor"`
	At       time.Time `json:"at"`
	Type     string    `json:"type"` // message, message_changed, unreachable (nobody has Message: a fallback is asked for), stage, expiring, expired, contact, group, transfer, setting, typing, history, device, mailbox, invite, identity, warning
	Message  *Message  `json:"message,omitempty"`
	Stage    *Delivery `json:"stage,omitempty"`
	ID       string    `json:"id,omitempty"` // message id of a stage
	Contact  *Contact  `json:"contact,omitempty"`
	Group    *Group    `json:"group,omitempty"`
	Transfer *Transfer `json:"transfer,omitempty"`
	Setting  *Setting  `json:"setting,omitempty"`
	Typing   *Typing   `json:"typing,omitempty"`
	Device   *Device   `json:"device,omitempty"`
	Text     string    `json:"text,omitempty"`
}
