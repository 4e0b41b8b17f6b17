// Package link is the text that two people, or two devices of one person, hand to each other to begin: invite links and
// device links, and the proofs that both sides make with the link's secret.
//
// A link is at most 79 bytes before its base32 form, so that its QR code stays small enough for a terminal: whoever
// holds it can find the person (20 bytes of the user id), prove that it holds the link (16-byte secret, never sent),
// and reach one peer (a key and an IPv4 address). The text form adds further peers. The secret authenticates both
// directions; whoever reads the link can use it, once, until it expires. What is done with it is the engine's work.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/dht"
)

// Sizes and limits of a link.
const (
	Scheme     = "KITH:"
	SecretSize = 16
	MaxPeers   = 4    // further peers in the text form
	MaxLink    = 4096 // characters of a link in its text form

	version   = 1
	hintSize  = 32 + 1 + 4 + 2
	bareSize  = 4 + 20 + SecretSize
	maxExpiry = 1<<24 - 1 // hours since 1970
)

// Labels of the values that the secret makes.
const (
	labelInvite  = "kith1 invite"
	labelJoin    = "kith1 join"
	labelWelcome = "kith1 welcome"
)

// ErrInvalid is the one error for text that is not a link.
var ErrInvalid = errors.New("link: not a kith link")

// Kind says what a link is for.
type Kind uint8

// The kinds of link.
const (
	KindInvite Kind = 1 // makes two people contacts
	KindDevice Kind = 2 // adds a device to a person
)

// Link is a parsed link. Peers are where to look first: the hint, then those of the text form.
type Link struct {
	Kind    Kind
	Expires time.Time // whole hours
	User    [20]byte  // first bytes of the user id
	Secret  [SecretSize]byte
	Peers   []dht.Peer
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Short is the form for a QR code: one peer with one IPv4 address at most.
func (l Link) Short() string {
	b := cryptobyte.NewBuilder(make([]byte, 0, bareSize+hintSize))
	b.AddUint8(version<<4 | uint8(l.Kind))
	b.AddUint24(uint32(min(max(l.Expires.Unix()/3600, 0), maxExpiry)))
	b.AddBytes(l.User[:])
	b.AddBytes(l.Secret[:])
	if h, ok := bestHint(l.Peers); ok {
		b.AddBytes(h.key)
		b.AddUint8(h.transport)
		b.AddBytes(h.ip[:])
		b.AddUint16(h.port)
	}
	return Scheme + encoding.EncodeToString(b.BytesOrPanic())
}

// Text is the form for copy and paste: Short, then all peers with their addresses.
func (l Link) Text() string {
	if len(l.Peers) == 0 {
		return l.Short()
	}
	b := cryptobyte.NewBuilder(nil)
	for _, p := range l.Peers[:min(len(l.Peers), MaxPeers)] {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(p.ID) })
		addrs := p.Addrs[:min(len(p.Addrs), dht.MaxAddrs)]
		b.AddUint8(uint8(len(addrs)))
		for _, a := range addrs {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(a) })
		}
	}
	return l.Short() + "." + encoding.EncodeToString(b.BytesOrPanic())
}

// Parse reads a link in either form; letter case and surrounding space do not matter. Expiry is not checked.
func Parse(text string) (Link, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	if len(text) > MaxLink || !strings.HasPrefix(text, Scheme) {
		return Link{}, ErrInvalid
	}
	head, tail, more := strings.Cut(text[len(Scheme):], ".")
	raw, err := decode(head)
	if err != nil {
		return Link{}, err
	}
	l, err := parseHead(raw)
	if err != nil || !more {
		return l, err
	}
	if raw, err = decode(tail); err != nil {
		return Link{}, err
	}
	peers, err := parsePeers(raw)
	if err != nil {
		return Link{}, err
	}
	l.Peers = peers
	return l, nil
}

// decode refuses what does not encode back to the same text, so that one link has one spelling.
func decode(s string) ([]byte, error) {
	raw, err := encoding.DecodeString(s)
	if err != nil || encoding.EncodeToString(raw) != s {
		return nil, ErrInvalid
	}
	return raw, nil
}

func parseHead(raw []byte) (Link, error) {
	var (
		l     Link
		kind  uint8
		hours uint32
	)
	s := cryptobyte.String(raw)
	if !s.ReadUint8(&kind) || !s.ReadUint24(&hours) || !s.CopyBytes(l.User[:]) || !s.CopyBytes(l.Secret[:]) {
		return Link{}, ErrInvalid
	}
	l.Kind, l.Expires = Kind(kind&15), time.Unix(int64(hours)*3600, 0).UTC()
	if kind>>4 != version || (l.Kind != KindInvite && l.Kind != KindDevice) {
		return Link{}, ErrInvalid
	}
	if s.Empty() {
		return l, nil
	}
	h, ok := parseHint(s)
	if !ok {
		return Link{}, ErrInvalid
	}
	l.Peers = []dht.Peer{h.peer()}
	return l, nil
}

func parsePeers(raw []byte) ([]dht.Peer, error) {
	var out []dht.Peer
	for s := cryptobyte.String(raw); !s.Empty(); {
		var (
			id cryptobyte.String
			n  uint8
			p  dht.Peer
		)
		if len(out) == MaxPeers || !s.ReadUint8LengthPrefixed(&id) || !s.ReadUint8(&n) || n > dht.MaxAddrs {
			return nil, ErrInvalid
		}
		if _, ok := dht.PeerKey(id); !ok {
			return nil, ErrInvalid
		}
		p.ID = slices.Clone(id)
		for range n {
			var a cryptobyte.String
			if !s.ReadUint8LengthPrefixed(&a) || len(a) == 0 || len(a) > dht.MaxAddr {
				return nil, ErrInvalid
			}
			p.Addrs = append(p.Addrs, slices.Clone(a))
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, ErrInvalid
	}
	return out, nil
}

// ID names a link without giving its secret away: H("kith1 invite" | secret)[:8].
func (l Link) ID() [8]byte { return ID(l.Secret) }

// ID is the id of the link with this secret.
func ID(secret [SecretSize]byte) [8]byte {
	h := sha256.Sum256(slices.Concat([]byte(labelInvite), secret[:]))
	return [8]byte(h[:8])
}

// JoinProof shows the inviter that the joining device of the joining user holds the secret; WelcomeProof answers it.
// Both are HMAC-SHA256(secret, label | inviter's user id | joiner's user id | id of the proving device).
func JoinProof(secret [SecretSize]byte, inviter, joiner, device [32]byte) []byte {
	return proof(secret, labelJoin, inviter[:], joiner[:], device[:])
}

// WelcomeProof is the inviter's side of JoinProof.
func WelcomeProof(secret [SecretSize]byte, inviter, joiner, device [32]byte) []byte {
	return proof(secret, labelWelcome, inviter[:], joiner[:], device[:])
}

func proof(secret [SecretSize]byte, label string, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, secret[:])
	m.Write([]byte(label))
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}
