package dht

import (
	"bytes"
	"crypto/ed25519"
	"iter"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

const labelSet = "kith1 set sig"

// SetRecord names the relays of one box with their leases, signed by the box
// key. Contacts get it inside sessions, members hold and serve it, the
// directory has only a sealed copy (SealSet). At most MaxSetRecord bytes.
type SetRecord struct {
	core   SetCore
	leases []Lease
	raw    []byte
}

// SignSetRecord joins a core with the leases that its members gave. key is the
// box key. Leases are sorted by rank; one that its member did not sign for
// exactly this core is refused, a member without a lease is not.
func SignSetRecord(key ed25519.PrivateKey, core SetCore, leases []Lease) (*SetRecord, error) {
	body := core.Bytes()
	if body == nil || !core.Box.Equal(publicOf(key)) || len(leases) > len(core.Members) {
		return nil, ErrInvalid
	}
	sorted := slices.Clone(leases)
	slices.SortFunc(sorted, func(a, b Lease) int { return int(a.Rank) - int(b.Rank) })
	b := cryptobyte.NewBuilder(body)
	b.AddUint8(uint8(len(sorted)))
	for _, l := range sorted {
		l.add(b)
	}
	return ParseSetRecord(sign(key, labelSet, b.BytesOrPanic()))
}

// ParseSetRecord reads a set record and verifies the owner's signature and
// every lease. Freshness is not judged: see Usable.
func ParseSetRecord(raw []byte) (*SetRecord, error) { return sets.Of(raw, parseSetRecord) }

func parseSetRecord(raw []byte) (*SetRecord, error) {
	raw = copyOf(raw, MaxSetRecord)
	body, sig, ok := splitSig(raw, MaxSetRecord)
	if !ok {
		return nil, ErrInvalid
	}
	rec := &SetRecord{raw: raw}
	s := cryptobyte.String(body)
	if !readSetCore(&s, &rec.core) || !readLeases(&s, rec) || !s.Empty() {
		return nil, ErrInvalid
	}
	if !verify(rec.core.Box, labelSet, body, sig) || !rec.leasesHold() {
		return nil, ErrInvalid
	}
	return rec, nil
}

// SetMembers reads the members of a record that ParseSetRecord has accepted
// before, as a relay keeps it, and the ranks of those that gave a lease. It checks
// no signature.
func SetMembers(raw []byte) (members []Member, leased []byte, ok bool) {
	var rec SetRecord
	s := cryptobyte.String(raw)
	if len(raw) > MaxSetRecord || !readSetCore(&s, &rec.core) || !readLeases(&s, &rec) {
		return nil, nil, false
	}
	for _, l := range rec.leases {
		leased = append(leased, l.Rank)
	}
	return rec.core.Members, leased, true
}

// SetNames says of such a record whether a relay is among its members. It
// copies nothing.
func SetNames(raw, peer []byte) bool {
	const head = 1 + 32 + 4 + 8 + 8 + 8 + 3 // up to the number of members, see SetCore.Bytes
	key, found := bytes.CutPrefix(peer, []byte(peerPrefix))
	s := cryptobyte.String(raw)
	var n uint8
	if !found || len(raw) > MaxSetRecord || !s.Skip(head) || !s.ReadUint8(&n) {
		return false
	}
	for range n {
		var k []byte
		var addrs uint8
		if !s.ReadBytes(&k, 32) || !s.ReadUint8(&addrs) {
			return false
		}
		if bytes.Equal(k, key) {
			return true
		}
		for range addrs {
			var a cryptobyte.String
			if !s.ReadUint8LengthPrefixed(&a) {
				return false
			}
		}
		if !s.Skip(2) { // rank, standby
			return false
		}
	}
	return false
}

func readLeases(s *cryptobyte.String, rec *SetRecord) bool {
	var n uint8
	if !s.ReadUint8(&n) || int(n) > len(rec.core.Members) {
		return false
	}
	rec.leases = make([]Lease, n)
	for i := range rec.leases {
		if !readLease(s, &rec.leases[i]) || (i > 0 && rec.leases[i].Rank <= rec.leases[i-1].Rank) {
			return false
		}
	}
	return true
}

// leasesHold verifies each lease with the key of the member of its rank.
func (s *SetRecord) leasesHold() bool {
	hash := s.core.Hash()
	for _, l := range s.leases {
		m, ok := s.member(l.Rank)
		if !ok {
			return false
		}
		key, ok := PeerKey(m.Peer.ID)
		if !ok || !l.Verify(key, hash) {
			return false
		}
	}
	return true
}

func (s *SetRecord) member(rank byte) (Member, bool) {
	i := slices.IndexFunc(s.core.Members, func(m Member) bool { return m.Rank == rank })
	if i < 0 {
		return Member{}, false
	}
	return s.core.Members[i], true
}

// Usable reports whether a sender may deposit with this set now: its epoch is
// the current one, a neighbour or the front door, and at least W members that
// are not standbys hold a lease that has not ended.
func (s *SetRecord) Usable(now time.Time) bool {
	if e := EpochAt(now); s.core.Epoch != FrontDoorEpoch && s.core.Epoch+1 != e &&
		s.core.Epoch != e && s.core.Epoch != e+1 {
		return false
	}
	held := 0
	for _, l := range s.leases {
		if m, ok := s.member(l.Rank); ok && !m.Standby && l.End.After(now) {
			held++
		}
	}
	return held >= int(s.core.W)
}

// Box is the box public key, 32 bytes.
func (s *SetRecord) Box() ed25519.PublicKey { return s.core.Box }

// BoxID is the mailbox id of the box.
func (s *SetRecord) BoxID() [32]byte { return BoxID(s.core.Box) }

// Epoch is the mailbox epoch, or FrontDoorEpoch.
func (s *SetRecord) Epoch() uint32 { return s.core.Epoch }

// Number orders the records of one box; the highest counts.
func (s *SetRecord) Number() uint64 { return s.core.Number }

// Issued is when the owner signed.
func (s *SetRecord) Issued() time.Time { return s.core.Issued }

// NotAfter is the freshness mark.
func (s *SetRecord) NotAfter() time.Time { return s.core.NotAfter }

// R is how many replicas the owner wants.
func (s *SetRecord) R() byte { return s.core.R }

// W is how many custody receipts make custody.
func (s *SetRecord) W() byte { return s.core.W }

// S is how many standbys the owner wants.
func (s *SetRecord) S() byte { return s.core.S }

// Members are the relays by ascending rank, standbys included.
func (s *SetRecord) Members() []Member { return slices.Clone(s.core.Members) }

// EachMember shows them, without a copy of them all.
func (s *SetRecord) EachMember() iter.Seq[Member] { return slices.Values(s.core.Members) }

// Leases are by ascending rank.
func (s *SetRecord) Leases() []Lease { return slices.Clone(s.leases) }

// Core is what the leases bind.
func (s *SetRecord) Core() SetCore {
	c := s.core
	c.Members = slices.Clone(c.Members)
	return c
}

// Is says whether the record was read from these bytes.
func (s *SetRecord) Is(raw []byte) bool { return bytes.Equal(s.raw, raw) }

// Bytes is the record as received or signed.
func (s *SetRecord) Bytes() []byte { return bytes.Clone(s.raw) }

// Raw is what Bytes is a copy of: nobody may change it.
func (s *SetRecord) Raw() []byte { return s.raw }
