package witness

import (
	"encoding/base32"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/identity"
)

// Scheme begins the text of a code.
const Scheme = "KITH-VERIFY:"

// What a code holds of ids and hashes: 20 bytes, so that it fits a QR code of 24 rows of a terminal. Whoever makes two
// lists that look alike here does 2^80 work.
const (
	idSize   = 20
	headSize = 4 + 8 + idSize
	codeSize = 1 + 2*idSize + 2*headSize
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Code is what one person's device shows another's: who both are, and which device lists of both it holds. It is no
// secret, and worth as much as the way by which it was seen. Make one with NewCode.
type Code struct {
	User, Peer         [idSize]byte  // whose device shows it, and to whom
	UserHead, PeerHead identity.Head // zero: no list is known; of the hash the first 20 bytes, then zeros
}

// NewCode is what the device of a user, that knows these newest lists, shows a peer.
func NewCode(user, peer identity.UserID, userHead, peerHead identity.Head) Code {
	c := Code{User: [idSize]byte(user[:idSize]), Peer: [idSize]byte(peer[:idSize]), UserHead: userHead, PeerHead: peerHead}
	clear(c.UserHead.Hash[idSize:])
	clear(c.PeerHead.Hash[idSize:])
	return c
}

// Text is the code as a QR code has it: Scheme and base32 of version 1 | user id 20 | peer's user id 20 | head of the
// user's list 32 | head of the peer's list 32; a head is epoch u32 | seq u64 | hash 20.
func (c Code) Text() string {
	b := cryptobyte.NewBuilder(make([]byte, 0, codeSize))
	b.AddUint8(version)
	b.AddBytes(c.User[:])
	b.AddBytes(c.Peer[:])
	for _, h := range []identity.Head{c.UserHead, c.PeerHead} {
		b.AddUint32(h.Epoch)
		b.AddUint64(h.Seq)
		b.AddBytes(h.Hash[:idSize])
	}
	return Scheme + encoding.EncodeToString(b.BytesOrPanic())
}

// IsCode reports whether a text claims to be a code.
func IsCode(text string) bool {
	return strings.HasPrefix(strings.ToUpper(strings.TrimSpace(text)), Scheme)
}

// ParseCode reads a code; letter case and white space do not matter.
func ParseCode(text string) (Code, error) {
	var c Code
	if len(text) > 4*codeSize {
		return c, ErrInvalid
	}
	text, found := strings.CutPrefix(strings.ToUpper(strings.Join(strings.Fields(text), "")), Scheme)
	raw, err := encoding.DecodeString(text)
	if !found || err != nil || len(raw) != codeSize || raw[0] != version || encoding.EncodeToString(raw) != text {
		return c, ErrInvalid
	}
	s := cryptobyte.String(raw[1:])
	ok := s.CopyBytes(c.User[:]) && s.CopyBytes(c.Peer[:])
	for _, h := range []*identity.Head{&c.UserHead, &c.PeerHead} {
		ok = ok && s.ReadUint32(&h.Epoch) && s.ReadUint64(&h.Seq) && s.CopyBytes(h.Hash[:idSize])
	}
	if !ok {
		return Code{}, ErrInvalid
	}
	return c, nil
}

// Finding is what comparing two codes shows, from one reader's side: "theirs" are the lists of the person whose code was
// read, "ours" the reader's.
type Finding int

// The findings, each worse to go on with than the one before.
const (
	Agreed      Finding = iota // both know the same lists of both
	TheirsNewer                // they have a list of theirs that we do not know yet
	OursOlder                  // they know an older list of ours
	OursNewer                  // they know a list of ours that this device does not: it is behind, or was removed
	Ghost                      // we know a list of theirs that their own device does not
	Forked                     // two lists for one place
	Strangers                  // one of the two people is another
)

// String is the finding in one word.
func (f Finding) String() string {
	return [...]string{"agreed", "theirs newer", "ours older", "ours newer", "ghost", "forked", "strangers"}[f]
}

// Compare compares the code that somebody shows with the one that we show them. The worst finding counts.
func Compare(theirs, ours Code) Finding {
	if theirs.User != ours.Peer || theirs.Peer != ours.User {
		return Strangers
	}
	of := func(shown, known identity.Head, newer, older Finding) Finding {
		switch shown.Order(known) {
		case identity.Newer:
			return newer
		case identity.Older:
			return older
		case identity.Fork:
			return Forked
		default:
			return Agreed
		}
	}
	return max(of(theirs.UserHead, ours.PeerHead, TheirsNewer, Ghost), of(theirs.PeerHead, ours.UserHead, OursNewer, OursOlder))
}

// SafetyWords is the safety number of two people in words: 14, those of the half that comes first in the digits first.
func SafetyWords(a, b identity.UserID) string {
	x, y := a.SafetyWords(), b.SafetyWords()
	n := identity.SafetyNumber(a, b)
	if half := len(n) / 2; n[:half] != identity.SafetyNumber(a, a)[:half] {
		x, y = y, x
	}
	return x + " " + y
}
