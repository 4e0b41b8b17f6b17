// Package chat defines what a conversation is made of: the content that an author seals once, in the same bytes for
// every device, and its id.
//
// Content has a fixed binary header, because its bytes are hashed into the message id, and a protobuf payload, because
// kinds evolve. A message id commits to the author, the author's device and every byte of the content; two devices
// that hold one id hold one message. The package says nothing about who may send what; that is the engine's work.
package chat

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/identity"
)

// Sizes and limits of content.
const (
	// MaxParents is how many earlier messages one content may name.
	MaxParents = 3
	// MaxText is the largest text, in bytes of UTF-8: with the largest header it fits the 4,096-byte size class.
	MaxText = 3500
	// MaxName is the largest name of a person or device, in bytes of UTF-8.
	MaxName = 64
	// MaxIDs is how many messages one acknowledgement or read receipt may name.
	MaxIDs = 64
	// ToldIDs is how many one names that is made here: it fits the 2,048-byte size class, which boxes take without a pass.
	ToldIDs = 57

	// HeaderSize is the size of content without parents and payload.
	HeaderSize = 1 + 2 + 16 + 8 + 16 + 1

	contentVersion = 1
	labelMessage   = "kith1 msg"
	labelChat      = "kith1 chat"
)

// ErrInvalid is the one error for content that does not parse.
var ErrInvalid = errors.New("chat: invalid content")

// Kind says how the payload is read. Kinds below 16 are shown to people; unknown ones are kept and shown by name.
type Kind uint16

// The kinds of content.
const (
	KindText     Kind = 1 // a message, with or without files
	KindLocation Kind = 2
	KindCard     Kind = 3
	KindCustom   Kind = 4 // of a bot or another program
	KindTimer    Kind = 5 // sets how long new messages live

	KindAck     Kind = 16 // device acknowledgement: the device has these messages on its disk
	KindRead    Kind = 17 // receipt: a person read these messages
	KindJoin    Kind = 18 // answers an invite
	KindWelcome Kind = 19 // answers a join
	KindReach   Kind = 20 // how envelopes get to the sending device
	KindRecords Kind = 21 // signed records, passed on
	KindSync    Kind = 22 // between one's own devices

	KindReact    Kind = 32 // acts on a message
	KindEdit     Kind = 33
	KindUnsend   Kind = 34
	KindTyping   Kind = 36 // on live streams only
	KindGroup    Kind = 40 // entries of a membership log
	KindGroupAsk Kind = 41
	KindProfile  Kind = 42
	KindRequest  Kind = 43 // from a stranger
	KindHistory  Kind = 44 // between one's own devices
	KindMissing  Kind = 45 // asks for what did not arrive
	KindGone     Kind = 46 // what of it will never come
)

// Visible reports whether people see messages of this kind in a conversation.
func (k Kind) Visible() bool { return k > 0 && k < 16 }

// Act reports whether content of this kind changes what a message shows.
func (k Kind) Act() bool { return k == KindReact || k == KindEdit || k == KindUnsend }

// ID is a message id. People see the first 16 bytes.
type ID [32]byte

// String is the id as people see it: 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:16]) }

// ChatID names a conversation.
type ChatID [16]byte

// String is the conversation id in lower-case hex.
func (c ChatID) String() string { return hex.EncodeToString(c[:]) }

// Direct is the conversation of two people (or of one with oneself), the same for both.
func Direct(a, b identity.UserID) ChatID {
	if slices.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	h := sha256.Sum256(slices.Concat([]byte(labelChat), a[:], b[:]))
	return ChatID(h[:16])
}

// Content is what one device says, before it is sealed for each recipient device.
//
//	version 1 (=1) | kind 2 | chat 16 | sent-at 8 (Lamport ms) | nonce 16 | n 1 | n x parent 16 | payload
type Content struct {
	Kind    Kind
	Chat    ChatID
	SentAt  uint64 // Lamport milliseconds of the author
	Nonce   [16]byte
	Parents [][16]byte // the newest messages that the author knew, at most MaxParents
	Payload []byte     // protobuf of the kind
}

// New fills the nonce from rng.
func New(rng io.Reader, kind Kind, in ChatID, sentAt uint64, payload []byte) (Content, error) {
	c := Content{Kind: kind, Chat: in, SentAt: sentAt, Payload: payload}
	_, err := io.ReadFull(rng, c.Nonce[:])
	return c, err
}

// Bytes encodes c. It panics on more than MaxParents parents.
func (c Content) Bytes() []byte {
	if len(c.Parents) > MaxParents {
		panic("chat: too many parents")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, HeaderSize+16*len(c.Parents)+len(c.Payload)))
	b.AddUint8(contentVersion)
	b.AddUint16(uint16(c.Kind))
	b.AddBytes(c.Chat[:])
	b.AddUint64(c.SentAt)
	b.AddBytes(c.Nonce[:])
	b.AddUint8(uint8(len(c.Parents)))
	for _, p := range c.Parents {
		b.AddBytes(p[:])
	}
	b.AddBytes(c.Payload)
	return b.BytesOrPanic()
}

// Parse decodes content. The payload is a copy.
func Parse(raw []byte) (Content, error) {
	var (
		c       Content
		version uint8
		kind    uint16
		parents uint8
	)
	s := cryptobyte.String(raw)
	ok := s.ReadUint8(&version) && s.ReadUint16(&kind) && s.CopyBytes(c.Chat[:]) && s.ReadUint64(&c.SentAt) &&
		s.CopyBytes(c.Nonce[:]) && s.ReadUint8(&parents)
	if !ok || version != contentVersion || parents > MaxParents || len(s) < 16*int(parents) {
		return Content{}, ErrInvalid
	}
	for range parents {
		var p [16]byte
		s.CopyBytes(p[:])
		c.Parents = append(c.Parents, p)
	}
	c.Kind = Kind(kind)
	c.Payload = append([]byte{}, s...)
	return c, nil
}

// KindOf is the kind of encoded content; 0 if it is none.
func KindOf(raw []byte) Kind {
	if len(raw) < HeaderSize {
		return 0
	}
	return Kind(binary.BigEndian.Uint16(raw[1:]))
}

// MessageID is H("kith1 msg" | user id | device signing key | content bytes).
func MessageID(user identity.UserID, device [32]byte, content []byte) ID {
	h := sha256.New()
	h.Write([]byte(labelMessage))
	h.Write(user[:])
	h.Write(device[:])
	h.Write(content)
	return ID(h.Sum(nil))
}

// CleanName shortens a name to MaxName bytes of valid UTF-8 without control characters.
func CleanName(name string) string { return Clean(name, MaxName) }

// Clean shortens a text of one line to so many bytes of valid UTF-8 without control characters.
func Clean(text string, most int) string {
	out := make([]byte, 0, min(most, len(text)))
	for _, r := range text {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == utf8.RuneError || isFormat(r) {
			continue
		}
		if len(out)+utf8.RuneLen(r) > most {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// isFormat covers the invisible characters that reorder or hide text: bidi controls, zero-width marks, separators.
func isFormat(r rune) bool {
	switch {
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r == 0x061c, r == 0xfeff, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}
