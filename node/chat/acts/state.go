// Package acts decides what becomes of one message: edits, reactions, taking it back, deleting it for oneself, the first
// read, and its end.
//
// A State is a join-semilattice: whatever is learned is merged in, and merging is commutative, associative and
// idempotent. So any two devices that hold the same contents show the same message, in whatever order, how often and by
// which way the contents came. Two things make that true. What counts is judged only by signed content (who, and the
// Lamport time that the author wrote), never by arrival; and what is dropped to bound the cost is the same wherever it is
// dropped: of an ordered set always the least elements stay, and whoever is among the least of all is among the least of
// any part.
//
// Acts may come before their message. They are kept as they are until it is there (Arrive), and judged then. The caller
// keeps one State for each (conversation, message) pair, so that nobody acts on a message from another conversation.
package acts

import (
	"bytes"
	"cmp"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
)

// Stamp is when an act was done, in Lamport milliseconds, and the id of the content that says so, which breaks ties.
type Stamp struct {
	At uint64
	ID chat.ID
}

func (s Stamp) compare(o Stamp) int {
	return cmp.Or(cmp.Compare(s.At, o.At), bytes.Compare(s.ID[:], o.ID[:]))
}

// Edit is a text in place of the message's own.
type Edit struct {
	Stamp
	Body []byte // protobuf chat.Text with text and mentions
}

// Reaction is what one person thinks of a message.
type Reaction struct {
	Stamp
	User  identity.UserID
	Emoji string // empty: taken back
}

// State is what is known of the acts on one message. The zero State knows nothing. It is a value: copies share nothing
// that is written to.
type State struct {
	known     bool // the message is here: author and sentAt say whose it is
	author    identity.UserID
	sentAt    uint64
	edits     []edit     // by user and stamp
	unsends   []unsend   // by user
	refused   []Stamp    // edits by others than the author
	reactions []Reaction // by user
	deletedAt uint64
	deleted   bool
	read      uint64 // 0: not yet
	erased    bool
}

type edit struct {
	user identity.UserID
	Edit
}

type unsend struct {
	user identity.UserID
	Stamp
}

// Shown is what a person sees of a State.
type Shown struct {
	Here      bool       // the message itself is known
	Edits     []Edit     // those that count, oldest first: the last one is shown
	Refused   int        // edits that came too late, were too many, or not the author's; keptRefused at most
	Unsent    bool       // its author took it back: nothing else of it is shown
	Reactions []Reaction // oldest first
	Deleted   bool       // by its reader
	DeletedAt uint64     // when that last changed, Lamport ms
	Read      uint64     // when its reader first read it, Lamport ms; 0: not yet
	Erased    bool       // its time was over: nothing of it is left
}

// Arrive says whose the message is and when it was sent.
func (s *State) Arrive(author identity.UserID, sentAt uint64) {
	s.Merge(State{known: true, author: author, sentAt: sentAt})
}

// Edit puts another text in the message's place; body is what a chat.Text with text and mentions encodes to. An empty or
// too large one changes nothing.
func (s *State) Edit(by identity.UserID, at Stamp, body []byte) {
	if len(body) > 0 && len(body) <= MaxBody {
		s.Merge(State{edits: []edit{{by, Edit{at, append([]byte{}, body...)}}}})
	}
}

// Unsend takes the message back.
func (s *State) Unsend(by identity.UserID, at Stamp) {
	s.Merge(State{unsends: []unsend{{by, at}}})
}

// React sets a person's reaction; an empty emoji takes it back. What is no ValidEmoji changes nothing.
func (s *State) React(by identity.UserID, at Stamp, emoji string) {
	if emoji == "" || ValidEmoji(emoji) {
		s.Merge(State{reactions: []Reaction{{at, by, emoji}}})
	}
}

// Delete hides the message on its reader's devices, or shows it again.
func (s *State) Delete(at uint64, deleted bool) {
	s.Merge(State{deletedAt: at, deleted: deleted})
}

// Read notes that a person has read the message on one of its devices.
func (s *State) Read(at uint64) { s.Merge(State{read: max(at, 1)}) }

// Erase forgets what was said: the message's time is over.
func (s *State) Erase() { s.Merge(State{erased: true}) }

// Merge takes in what another state knows of the same message.
func (s *State) Merge(o State) {
	if o.known && (!s.known || o.origin(*s) < 0) { // of one message both are the same
		s.known, s.author, s.sentAt = true, o.author, o.sentAt
	}
	s.edits = union(s.edits, o.edits, edit.compare, edit.join)
	s.unsends = union(s.unsends, o.unsends, unsend.compare, unsend.join)
	s.refused = union(s.refused, o.refused, Stamp.compare, func(a, _ Stamp) Stamp { return a })
	s.reactions = union(s.reactions, o.reactions, Reaction.compare, Reaction.join)
	if o.deletedAt > s.deletedAt || o.deletedAt == s.deletedAt && o.deleted {
		s.deletedAt, s.deleted = o.deletedAt, o.deleted
	}
	if s.read == 0 || o.read != 0 && o.read < s.read {
		s.read = o.read
	}
	s.erased = s.erased || o.erased
	s.settle()
}

func (s State) origin(o State) int {
	return cmp.Or(cmp.Compare(s.sentAt, o.sentAt), bytes.Compare(s.author[:], o.author[:]))
}

func (e edit) compare(o edit) int {
	return cmp.Or(bytes.Compare(e.user[:], o.user[:]), e.Stamp.compare(o.Stamp))
}

// join keeps the text: it is missing where it was found not to count.
func (e edit) join(o edit) edit {
	if bytes.Compare(e.Body, o.Body) < 0 {
		return o
	}
	return e
}

func (u unsend) compare(o unsend) int { return bytes.Compare(u.user[:], o.user[:]) }

func (u unsend) join(o unsend) unsend {
	if u.Stamp.compare(o.Stamp) < 0 {
		return u
	}
	return o
}

func (r Reaction) compare(o Reaction) int { return bytes.Compare(r.User[:], o.User[:]) }

// join is last-writer-wins.
func (r Reaction) join(o Reaction) Reaction {
	if c := r.Stamp.compare(o.Stamp); c > 0 || c == 0 && r.Emoji > o.Emoji {
		return r
	}
	return o
}

// settle brings a state into its one form: bounded, and without what does not count any more.
func (s *State) settle() {
	s.edits = leastEdits(s.edits)
	s.unsends = s.unsends[:min(len(s.unsends), MaxUsers)]
	s.reactions = s.reactions[:min(len(s.reactions), MaxUsers)]
	if s.known {
		s.judge()
	}
	if s.erased || s.unsent() {
		s.edits, s.refused, s.reactions = nil, nil, nil
	}
	s.refused = s.refused[:min(len(s.refused), keptRefused)]
}

// leastEdits keeps keptEdits of each person, and MaxUsers people.
func leastEdits(all []edit) []edit {
	var out []edit
	people, own := 0, 0
	for i, e := range all {
		if i == 0 || e.user != all[i-1].user {
			people, own = people+1, 0
		}
		if own++; people <= MaxUsers && own <= keptEdits {
			out = append(out, e)
		}
	}
	return out
}

// judge separates, once the author is known, its acts from those of others, and forgets the texts that do not count.
// Which texts those are can only grow: an earlier edit pushes others back and never forward.
func (s *State) judge() {
	var own []edit
	var others []Stamp
	counted := 0
	for _, e := range s.edits {
		switch {
		case e.user != s.author:
			others = append(others, e.Stamp)
			continue
		case counted < MaxEdits && e.At >= s.sentAt && !s.late(e.At, EditWindow):
			counted++
		default:
			e.Body = nil
		}
		own = append(own, e)
	}
	s.edits = own
	if len(others) > 0 {
		slices.SortFunc(others, Stamp.compare)
		s.refused = union(s.refused, others, Stamp.compare, func(a, _ Stamp) Stamp { return a })
	}
	if i := slices.IndexFunc(s.unsends, func(u unsend) bool { return u.user == s.author }); i >= 0 {
		s.unsends = []unsend{s.unsends[i]}
	} else {
		s.unsends = nil
	}
}

// late reports whether an act comes after the window that the message opens.
func (s State) late(at uint64, window time.Duration) bool {
	return at > s.sentAt && at-s.sentAt > uint64(window.Milliseconds())
}

// unsent has no lower bound: the earliest unsend decides, so that what was taken back once never returns.
func (s State) unsent() bool {
	return s.known && len(s.unsends) == 1 && !s.late(s.unsends[0].At, UnsendWindow)
}

// Show is what a person sees.
func (s State) Show() Shown {
	out := Shown{
		Here: s.known, Unsent: s.unsent(), Deleted: s.deleted, DeletedAt: s.deletedAt, Read: s.read, Erased: s.erased,
	}
	if !s.known {
		return out
	}
	for _, e := range s.edits {
		if e.Body != nil {
			out.Edits = append(out.Edits, e.Edit)
		}
	}
	out.Refused = min(len(s.edits)-len(out.Edits)+len(s.refused), keptRefused)
	for _, r := range s.reactions {
		if r.Emoji != "" {
			out.Reactions = append(out.Reactions, r)
		}
	}
	slices.SortFunc(out.Reactions, func(a, b Reaction) int {
		return cmp.Or(a.Stamp.compare(b.Stamp), a.compare(b))
	})
	return out
}

// Plain reports whether nothing is known but whose message it is.
func (s State) Plain() bool {
	return len(s.edits)+len(s.unsends)+len(s.refused)+len(s.reactions) == 0 && s.deletedAt == 0 && !s.deleted && s.read == 0 && !s.erased
}

// ReactedAt is when a person last set or took back a reaction, Lamport ms: what it does next has to be later.
func (s State) ReactedAt(by identity.UserID) uint64 {
	i, found := slices.BinarySearchFunc(s.reactions, Reaction{User: by}, Reaction.compare)
	if !found {
		return 0
	}
	return s.reactions[i].At
}

// EditsLeft is how often the author may still edit at a time.
func (s State) EditsLeft(at uint64) int {
	counted := 0
	for _, e := range s.edits {
		if e.Body != nil {
			counted++
		}
	}
	if !s.known || s.erased || s.unsent() || s.late(at, EditWindow) || len(s.edits) >= keptEdits {
		return 0
	}
	return MaxEdits - counted
}

// EditedAt is when the last edit was made that counts, Lamport ms, which the next has to be later than; 0: none was.
func (s State) EditedAt() uint64 {
	at := uint64(0)
	for _, e := range s.edits {
		if e.Body != nil {
			at = max(at, e.At)
		}
	}
	return at
}

// MayUnsend reports whether the author may take the message back at a time.
func (s State) MayUnsend(at uint64) bool {
	return s.known && !s.erased && !s.unsent() && !s.late(at, UnsendWindow)
}

// ValidEmoji reports whether a reaction is one: 1 to MaxEmoji bytes that a terminal prints, without spaces and without
// anything that reorders text. Joiners, variants and tags stay: emoji are made of them.
func ValidEmoji(s string) bool {
	if s == "" || len(s) > MaxEmoji || !utf8.ValidString(s) {
		return false
	}
	seen := false
	for _, r := range s {
		switch {
		case r == 0x200d || r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0020 && r <= 0xe007f || r == 0x20e3:
		case r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r):
			return false
		default:
			seen = true
		}
	}
	return seen
}

// union merges two ascending lists into one without repetition.
func union[T any](a, b []T, compare func(T, T) int, join func(T, T) T) []T {
	if len(b) == 0 {
		return a
	}
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, join(a[0], b[0])), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}
