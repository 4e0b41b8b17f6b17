package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
)

// Limits of a log.
const (
	// MaxMembers is how many people a group has at once.
	MaxMembers = 256
	// MaxEntries is how many entries a log has.
	MaxEntries = 4096
	// MaxEntry is the size of an entry, in bytes.
	MaxEntry = 1024
	// MaxParents is how many entries one entry builds on.
	MaxParents = 8
	// MaxUsers is how many people one entry adds, removes, or makes admins.
	MaxUsers = 16
	// MaxName is the size of a name, in bytes of UTF-8.
	MaxName = 64
	// MaxImage is the size of what describes an image, in bytes.
	MaxImage = MaxEntry - entryFixed - 32*MaxParents
	// maxTips is how many entries of one author may have nothing built on them, for one that forks its log.
	maxTips = 8
)

const (
	formatVersion = 1
	signatureSize = 64
	entryFixed    = 1 + 16 + 1 + 32 + 32 + (4 + 8 + 32) + 8 + 1 + 4 + signatureSize

	labelGroup = "kith1 group"
	labelEntry = "kith1 group entry"
)

// ErrInvalid is the only error of what was received and refused.
var ErrInvalid = errors.New("group: invalid")

// ID names a group: the first 16 bytes of SHA-256("kith1 group" | the entry that creates it).
type ID [16]byte

// String is the id in lower-case hex.
func (g ID) String() string { return hex.EncodeToString(g[:]) }

// Hash names an entry: SHA-256 of its bytes.
type Hash [32]byte

// Short is the part of a hash that rides in messages.
func (h Hash) Short() [16]byte { return [16]byte(h[:16]) }

// Kind is what an entry does.
type Kind uint8

// The kinds of entries.
const (
	Create Kind = 1 // makes the group, with its author as the only member and admin
	Add    Kind = 2
	Remove Kind = 3
	Leave  Kind = 4 // the author goes; anybody may
	Admin  Kind = 5 // makes members admins, or no admins any more
	Name   Kind = 6
	Image  Kind = 7
)

// Act is what an entry does, and to whom.
type Act struct {
	Kind  Kind
	Users []identity.UserID // of Add, Remove, Admin: 1 to MaxUsers, ascending
	Admin bool              // of Add and Admin: as admins; Admin without it takes that away
	Data  []byte            // of Create and Name: UTF-8; of Image: what describes it, empty for none
}

// removes says whether the act takes a membership, or the rights of an admin, from somebody against their will.
func (a *Act) removes() bool { return a.Kind == Remove || a.Kind == Admin && !a.Admin }

// Fields is what the author of an entry decides.
type Fields struct {
	Group   ID              // zero in Create
	User    identity.UserID // the author
	List    identity.Head   // the author's device list that names the signing device
	Lamport uint64          // milliseconds: greater than those of all parents
	Parents []Hash          // ascending; none in Create
	Act
}

// Entry is one act of one device, as signed. It is immutable.
type Entry struct {
	raw    []byte
	hash   Hash
	device [32]byte
	f      Fields
}

// Sign makes an entry. It says why it refuses fields that Parse would refuse.
func Sign(keys *identity.DeviceKeys, f Fields) (*Entry, error) {
	f.Users, f.Parents = slices.Clone(f.Users), slices.Clone(f.Parents)
	slices.SortFunc(f.Users, func(a, b identity.UserID) int { return bytes.Compare(a[:], b[:]) })
	slices.SortFunc(f.Parents, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	e := &Entry{device: keys.Public(0, 0).SigPub, f: f}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("group: sign: %w", err)
	}
	body := e.encode()
	if len(body)+signatureSize > MaxEntry {
		return nil, errors.New("group: sign: the entry is too large")
	}
	e.keep(append(body, signature.Sign(keys.Sign, append([]byte(labelEntry), body...))...))
	return e, nil
}

// Parse reads an entry and verifies its signature. That the key is one of its author's devices is for By to say.
func Parse(raw []byte) (*Entry, error) {
	e, err := decode(raw)
	if err != nil {
		return nil, err
	}
	body := raw[:len(raw)-signatureSize]
	if !signature.Verify(e.device[:], append([]byte(labelEntry), body...), raw[len(body):]) {
		return nil, ErrInvalid
	}
	return e, nil
}

// Restore reads an entry that this device has verified before.
func Restore(raw []byte) (*Entry, error) { return decode(raw) }

func (e *Entry) keep(raw []byte) { e.raw, e.hash = raw, sha256.Sum256(raw) }

// check holds the rules of an entry that need nothing but its fields.
func (e *Entry) check() error {
	f := &e.f
	root := f.Kind == Create
	switch {
	case f.Kind < Create || f.Kind > Image:
		return fmt.Errorf("unknown kind %d", f.Kind)
	case root != (len(f.Parents) == 0) || root != (f.Group == ID{}):
		return errors.New("the entry that creates a group, and no other, has no parents and no group")
	case len(f.Parents) > MaxParents:
		return fmt.Errorf("%d parents, at most %d", len(f.Parents), MaxParents)
	case !ascending(f.Parents) || !ascending(f.Users):
		return errors.New("something is named twice")
	case f.Lamport == 0 || f.Lamport >= 1<<63:
		return errors.New("time out of range")
	}
	return f.Act.check(f.User)
}

func (a *Act) check(author identity.UserID) error {
	people := a.Kind == Add || a.Kind == Remove || a.Kind == Admin
	switch {
	case people && (len(a.Users) == 0 || len(a.Users) > MaxUsers || len(a.Data) > 0):
		return fmt.Errorf("%d people, at most %d", len(a.Users), MaxUsers)
	case !people && len(a.Users) > 0 || a.Admin && a.Kind != Add && a.Kind != Admin:
		return errors.New("this act is about nobody")
	case a.Kind == Remove && slices.Contains(a.Users, author):
		return errors.New("who goes, leaves")
	case (a.Kind == Create || a.Kind == Name) && (len(a.Data) > MaxName || !utf8.Valid(a.Data)):
		return errors.New("a name is at most 64 bytes of UTF-8")
	case a.Kind == Image && len(a.Data) > MaxImage || a.Kind == Leave && len(a.Data) > 0:
		return errors.New("too much data")
	}
	return nil
}

// ascending reports whether ids are in strictly ascending order.
func ascending[T ~[32]byte](ids []T) bool {
	for i := 1; i < len(ids); i++ {
		if a, b := [32]byte(ids[i-1]), [32]byte(ids[i]); bytes.Compare(a[:], b[:]) >= 0 {
			return false
		}
	}
	return true
}

// encode is the entry before its signature.
func (e *Entry) encode() []byte {
	f := &e.f
	b := cryptobyte.NewBuilder(make([]byte, 0, MaxEntry))
	b.AddUint8(formatVersion)
	b.AddBytes(f.Group[:])
	b.AddUint8(uint8(f.Kind))
	b.AddBytes(f.User[:])
	b.AddBytes(e.device[:])
	b.AddUint32(f.List.Epoch)
	b.AddUint64(f.List.Seq)
	b.AddBytes(f.List.Hash[:])
	b.AddUint64(f.Lamport)
	b.AddUint8(uint8(len(f.Parents)))
	for _, p := range f.Parents {
		b.AddBytes(p[:])
	}
	body := f.Data
	if len(f.Users) > 0 {
		body = []byte{0}
		if f.Admin {
			body[0] = 1
		}
		for _, u := range f.Users {
			body = append(body, u[:]...)
		}
	}
	b.AddUint32(uint32(len(body)))
	b.AddBytes(body)
	return b.BytesOrPanic()
}

// decode reads the bytes and verifies no signature.
func decode(raw []byte) (*Entry, error) {
	if len(raw) > MaxEntry {
		return nil, ErrInvalid
	}
	var (
		e       Entry
		version uint8
		kind    uint8
		parents uint8
		size    uint32
		body    []byte
	)
	f, s := &e.f, cryptobyte.String(raw)
	if !s.ReadUint8(&version) || version != formatVersion || !s.CopyBytes(f.Group[:]) || !s.ReadUint8(&kind) ||
		!s.CopyBytes(f.User[:]) || !s.CopyBytes(e.device[:]) ||
		!s.ReadUint32(&f.List.Epoch) || !s.ReadUint64(&f.List.Seq) || !s.CopyBytes(f.List.Hash[:]) ||
		!s.ReadUint64(&f.Lamport) || !s.ReadUint8(&parents) || parents > MaxParents {
		return nil, ErrInvalid
	}
	for range parents {
		var p Hash
		if !s.CopyBytes(p[:]) {
			return nil, ErrInvalid
		}
		f.Parents = append(f.Parents, p)
	}
	if !s.ReadUint32(&size) || size > MaxEntry || !s.ReadBytes(&body, int(size)) || !s.Skip(signatureSize) || !s.Empty() {
		return nil, ErrInvalid
	}
	if f.Kind = Kind(kind); !f.readBody(body) || e.check() != nil {
		return nil, ErrInvalid
	}
	e.keep(bytes.Clone(raw))
	return &e, nil
}

func (a *Act) readBody(body []byte) bool {
	if a.Kind != Add && a.Kind != Remove && a.Kind != Admin {
		a.Data = body
		return true
	}
	if len(body) == 0 || len(body)%32 != 1 || body[0] > 1 {
		return false
	}
	a.Admin = body[0] == 1
	for u := range slices.Chunk(body[1:], 32) {
		a.Users = append(a.Users, identity.UserID(u))
	}
	return true
}

// Bytes is the entry as signed.
func (e *Entry) Bytes() []byte { return bytes.Clone(e.raw) }

// Hash names the entry.
func (e *Entry) Hash() Hash { return e.hash }

// Group is the group that the entry belongs to; the one that it makes, if it makes one.
func (e *Entry) Group() ID {
	if e.f.Kind != Create {
		return e.f.Group
	}
	sum := sha256.Sum256(append([]byte(labelGroup), e.raw...))
	return ID(sum[:16])
}

// Fields is what the author decided. What it points to is not to be changed.
func (e *Entry) Fields() Fields { return e.f }

// Device is the device that signed.
func (e *Entry) Device() identity.DeviceID { return identity.DeviceOf(e.device) }

// By reports whether a list is the one that the entry names, and proves that its signer is a device of its author.
func (e *Entry) By(list *identity.DeviceList) bool {
	if list.User() != e.f.User || list.Head() != e.f.List {
		return false
	}
	_, listed := list.Find(e.Device())
	return listed
}

// compare orders entries by (Lamport, hash): parents always come first.
func (e *Entry) compare(o *Entry) int {
	switch {
	case e.f.Lamport < o.f.Lamport:
		return -1
	case e.f.Lamport > o.f.Lamport:
		return 1
	}
	return bytes.Compare(e.hash[:], o.hash[:])
}
