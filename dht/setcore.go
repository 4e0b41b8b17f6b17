package dht

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// FrontDoorEpoch stands in the epoch field of a front-door set.
const FrontDoorEpoch uint32 = 0xFFFFFFFF

const labelSetCore = "kith1 set core sig"

// EpochAt is the mailbox epoch of a moment: unix seconds / EpochLength.
func EpochAt(t time.Time) uint32 {
	return uint32(t.Unix() / int64(EpochLength/time.Second))
}

// Member is one relay of a set.
type Member struct {
	Peer    Peer
	Rank    byte // position in the order of repair; distinct and ascending within a set
	Standby bool // holds a lease, takes over when a member before it dies
}

// SetCore is what an owner asks relays to lease: the relays of one box in one
// epoch. Relays countersign its hash, so none of its fields can change later
// without new leases.
type SetCore struct {
	Box              ed25519.PublicKey // 32 bytes
	Epoch            uint32            // FrontDoorEpoch for a front door
	Number           uint64            // rises with every change, also of leases only
	Issued, NotAfter time.Time         // whole seconds; NotAfter is a freshness mark
	R, W, S          byte              // replicas wanted, receipts that make custody, standbys wanted
	Members          []Member          // strictly ascending rank
}

// Bytes is the fixed encoding that Hash covers; nil if the core is not valid.
func (c SetCore) Bytes() []byte {
	if !c.valid() {
		return nil
	}
	b := cryptobyte.NewBuilder(nil)
	b.AddUint8(recordVersion)
	b.AddBytes(c.Box)
	b.AddUint32(c.Epoch)
	b.AddUint64(c.Number)
	addTime(b, c.Issued)
	addTime(b, c.NotAfter)
	b.AddBytes([]byte{c.R, c.W, c.S, byte(len(c.Members))})
	for _, m := range c.Members {
		addPeer(b, m.Peer)
		b.AddUint8(m.Rank)
		b.AddUint8(boolByte(m.Standby))
	}
	return b.BytesOrPanic()
}

// Hash is SHA-256("kith1 set core" | Bytes); leases bind it.
func (c SetCore) Hash() [32]byte {
	return sha256.Sum256(append([]byte("kith1 set core"), c.Bytes()...))
}

// SignSetCore returns Bytes | owner's signature 64, the form that a relay is
// shown when it is asked to commit. key is the box key.
func SignSetCore(key ed25519.PrivateKey, core SetCore) ([]byte, error) {
	body := core.Bytes()
	if body == nil || !core.Box.Equal(publicOf(key)) {
		return nil, ErrInvalid
	}
	return sign(key, labelSetCore, body), nil
}

// ParseSetCore reads and verifies what SignSetCore made.
func ParseSetCore(signed []byte) (SetCore, error) {
	body, sig, ok := splitSig(signed, MaxSetRecord)
	if !ok {
		return SetCore{}, ErrInvalid
	}
	var c SetCore
	s := cryptobyte.String(body)
	if !readSetCore(&s, &c) || !s.Empty() || !verify(c.Box, labelSetCore, body, sig) {
		return SetCore{}, ErrInvalid
	}
	return c, nil
}

// active counts the members that are not standbys.
func (c *SetCore) active() int {
	n := 0
	for _, m := range c.Members {
		if !m.Standby {
			n++
		}
	}
	return n
}

// valid checks everything that does not need a signature: 1 <= W <= active
// members <= R, standbys <= S, distinct peers, ascending ranks, sane times.
func (c *SetCore) valid() bool {
	active := c.active()
	if len(c.Box) != ed25519.PublicKeySize || len(c.Members) > MaxMembers || !validSpan(c.Issued, c.NotAfter) {
		return false
	}
	if c.W < 1 || int(c.W) > active || active > int(c.R) || len(c.Members)-active > int(c.S) {
		return false
	}
	for i, m := range c.Members {
		if !m.Peer.valid(MaxAddrs) || (i > 0 && m.Rank <= c.Members[i-1].Rank) {
			return false
		}
		same := func(o Member) bool { return string(o.Peer.ID) == string(m.Peer.ID) }
		if slices.ContainsFunc(c.Members[:i], same) {
			return false
		}
	}
	return true
}

func readSetCore(s *cryptobyte.String, c *SetCore) bool {
	var box []byte
	var n uint8
	if !readVersion(s) || !s.ReadBytes(&box, ed25519.PublicKeySize) || !s.ReadUint32(&c.Epoch) ||
		!s.ReadUint64(&c.Number) || !readTime(s, &c.Issued) || !readTime(s, &c.NotAfter) {
		return false
	}
	if !s.ReadUint8(&c.R) || !s.ReadUint8(&c.W) || !s.ReadUint8(&c.S) || !s.ReadUint8(&n) || n > MaxMembers {
		return false
	}
	c.Box = box
	c.Members = make([]Member, n)
	for i := range c.Members {
		if !readMember(s, &c.Members[i]) {
			return false
		}
	}
	return c.valid()
}

func readMember(s *cryptobyte.String, m *Member) bool {
	var standby uint8
	if !readPeer(s, MaxAddrs, &m.Peer) || !s.ReadUint8(&m.Rank) || !s.ReadUint8(&standby) || standby > 1 {
		return false
	}
	m.Standby = standby == 1
	return true
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
