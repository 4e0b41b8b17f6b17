package relay

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// ErrReply says that a relay answered with something that does not verify or
// does not fit the question. It is one opaque error on purpose.
var ErrReply = errors.New("relay: invalid reply")

// replyError is ErrReply for a frame of a relay that breaks the rules.
func replyError(err error) error {
	if errors.Is(err, frame.ErrInvalid) {
		return ErrReply
	}
	return err
}

// parseAnswer decodes a relay's frame and checks the shapes of the schema.
func parseAnswer(body []byte) (*pb.Answer, error) {
	a := new(pb.Answer)
	if err := frame.Parse(body, a); err != nil {
		return nil, err
	}
	if !answerShaped(a) {
		return nil, frame.ErrInvalid
	}
	return a, nil
}

func answerShaped(a *pb.Answer) bool {
	switch w := a.What.(type) {
	case *pb.Answer_Done:
		return true
	case *pb.Answer_Refusal:
		return w.Refusal.GetCode() > 0 && len(w.Refusal.GetSet()) <= dht.MaxRecord
	case *pb.Answer_Advert:
		return len(w.Advert) <= dht.MaxAdvert
	case *pb.Answer_Set:
		return len(w.Set) <= dht.MaxRecord
	case *pb.Answer_Receipt:
		return len(w.Receipt) <= mailbox.MaxReceipt
	case *pb.Answer_Leases:
		for _, l := range w.Leases.GetLeases() {
			if len(l.GetSig()) != ed25519.SignatureSize || l.GetRank() > maxRank || l.GetEnd() > maxMillis/1000 {
				return false
			}
		}
		return len(w.Leases.GetLeases()) <= MaxBoxesPerAsk
	case *pb.Answer_Challenge:
		return len(w.Challenge.GetNonce()) == nonceSize
	case *pb.Answer_Drained:
		return len(w.Drained.GetBox()) == idSize
	case *pb.Answer_Items:
		for _, it := range w.Items.GetItems() {
			if n := len(it.GetEnvelope()); n == 0 || n > mailbox.MaxEnvelope {
				return false
			}
		}
		return len(w.Items.GetBox()) == idSize && len(w.Items.GetItems()) > 0
	}
	return answerShapedBetween(a)
}

// answerShapedBetween is answerShaped for what relays ask each other.
func answerShapedBetween(a *pb.Answer) bool {
	switch w := a.What.(type) {
	case *pb.Answer_Compared:
		return len(w.Compared) > 0 && len(w.Compared) <= MaxCompare
	case *pb.Answer_Digested:
		n := len(w.Digested.GetHeld())
		return n%heldSize == 0 && n/heldSize <= mailbox.MaxDigest
	case *pb.Answer_Copied:
		for _, c := range w.Copied.GetCopies() {
			n, cert := len(c.GetEnvelope()), len(c.GetCert())
			if n == 0 || n > mailbox.MaxEnvelope || len(c.GetAdmit()) != admitSize ||
				cert != 0 && cert != certSize || c.GetExpiresMs() > maxMillis {
				return false
			}
		}
		return len(w.Copied.GetCopies()) <= mailbox.MaxCopies
	case *pb.Answer_Possessed:
		return packed(w.Possessed, proofSize, mailbox.MaxPossess)
	case *pb.Answer_Clock:
		return w.Clock <= maxMillis
	case *pb.Answer_Adverts:
		for _, raw := range w.Adverts.GetAdverts() {
			if len(raw) > dht.MaxAdvert {
				return false
			}
		}
		return len(w.Adverts.GetAdverts()) <= MaxGossip
	}
	return false
}

// checkReceipt is the receipt of a deposit, if it says that this relay keeps
// this envelope in this box.
func (s *roots) checkReceipt(raw []byte, relay dht.Peer, d mailbox.Deposit) (mailbox.Receipt, error) {
	r, err := mailbox.ParseReceipt(raw)
	if err != nil {
		return mailbox.Receipt{}, ErrReply
	}
	if s.verify(r, relay, d) != nil {
		return mailbox.Receipt{}, ErrReply
	}
	return *r, nil
}

// checkRefusal drops a set that does not help the sender: one that is not of
// this box, not signed by it, or not newer than the one the sender used.
func checkRefusal(r *mailbox.Refusal, d mailbox.Deposit) *mailbox.Refusal {
	if len(r.Set) == 0 {
		return r
	}
	set, err := dht.ParseSetRecord(r.Set)
	if err != nil || mailbox.ID(set.BoxID()) != d.Box || set.Number() <= d.SetNumber {
		r.Set = nil
	}
	return r
}

// checkSet is a set record that its box signed.
func checkSet(raw []byte, box mailbox.ID) ([]byte, error) {
	if len(raw) == 0 {
		return nil, dht.ErrNotFound
	}
	set, err := dht.ParseSetRecord(raw)
	if err != nil || mailbox.ID(set.BoxID()) != box {
		return nil, ErrReply
	}
	return raw, nil
}

// checkLeases are the leases for cores, each signed by the relay and bound to
// the place that the core gives it.
func checkLeases(m *pb.Leases, relay dht.Peer, cores []dht.SetCore) ([]dht.Lease, error) {
	key, ok := dht.PeerKey(relay.ID)
	if !ok || len(m.GetLeases()) != len(cores) {
		return nil, ErrReply
	}
	out := make([]dht.Lease, len(cores))
	for i, l := range m.GetLeases() {
		out[i] = dht.Lease{Rank: byte(l.GetRank()), End: time.Unix(int64(l.GetEnd()), 0).UTC(), Sig: [64]byte(l.GetSig())}
		if !ranked(cores[i], relay.ID, out[i].Rank) || !out[i].Verify(key, cores[i].Hash()) {
			return nil, ErrReply
		}
	}
	return out, nil
}

// ranked says whether the core names the relay with this rank.
func ranked(c dht.SetCore, relay []byte, rank byte) bool {
	for _, m := range c.Members {
		if m.Rank == rank && string(m.Peer.ID) == string(relay) {
			return true
		}
	}
	return false
}

// checkAdvert is the relay's own advert, not yet over.
func checkAdvert(raw []byte, relay dht.Peer, now time.Time) (*dht.Advert, error) {
	a, err := dht.ParseAdvert(raw)
	if err != nil || string(a.Peer.ID) != string(relay.ID) || !a.Fresh(now) {
		return nil, ErrReply
	}
	return a, nil
}

// checkCompared are the answers for n boxes.
func checkCompared(raw []byte, n int) ([]mailbox.Comparison, error) {
	if len(raw) != n {
		return nil, ErrReply
	}
	out := make([]mailbox.Comparison, n)
	for i, b := range raw {
		if out[i] = mailbox.Comparison(b); out[i] < mailbox.Same || out[i] > mailbox.NotHere {
			return nil, ErrReply
		}
	}
	return out, nil
}

// checkDigested is a page whose arrival numbers ascend from after, so that a
// client that asks on comes to an end.
func checkDigested(m *pb.Digested, after uint64) ([]mailbox.Held, error) {
	raw := m.GetHeld()
	if m == nil || len(raw) == 0 && m.GetMore() {
		return nil, ErrReply
	}
	page := make([]mailbox.Held, 0, len(raw)/heldSize)
	for ; len(raw) >= heldSize; raw = raw[heldSize:] {
		e := mailbox.Held{
			Seq: binary.BigEndian.Uint64(raw), ID: mailbox.EnvelopeID(raw[8:]),
			Size: binary.BigEndian.Uint32(raw[48:]),
		}
		expires := binary.BigEndian.Uint64(raw[40:])
		if e.Seq <= after || expires > maxMillis || e.Size == 0 || e.Size > mailbox.MaxEnvelope {
			return nil, ErrReply
		}
		after, e.Expires = e.Seq, time.UnixMilli(int64(expires)).UTC()
		page = append(page, e)
	}
	return page, nil
}

// checkCopied are copies of what was asked for, each once.
func checkCopied(m *pb.Copied, ids []mailbox.EnvelopeID) ([]mailbox.Copy, error) {
	if m == nil {
		return nil, ErrReply
	}
	asked := make(map[mailbox.EnvelopeID]bool, len(ids))
	for i := range ids {
		asked[ids[i]] = true
	}
	var out []mailbox.Copy
	for _, c := range m.GetCopies() {
		id := mailbox.EnvelopeIDOf(c.GetEnvelope())
		if !asked[id] {
			return nil, ErrReply
		}
		asked[id] = false
		out = append(out, mailbox.Copy{
			Envelope: c.GetEnvelope(), Expires: time.UnixMilli(int64(c.GetExpiresMs())).UTC(),
			Admit: [admitSize]byte(c.GetAdmit()), Cert: c.GetCert(),
		})
	}
	return out, nil
}

// checkPossessed are the possessions of n envelopes.
func checkPossessed(raw []byte, n int) ([]mailbox.Possession, error) {
	if len(raw) != n*proofSize || n == 0 {
		return nil, ErrReply
	}
	out := make([]mailbox.Possession, n)
	for i := range out {
		p := raw[i*proofSize:]
		if out[i] = (mailbox.Possession{State: p[0], Proof: [32]byte(p[1:])}); out[i].State > mailbox.Buried {
			return nil, ErrReply
		}
	}
	return out, nil
}

// checkAdverts are adverts of other relays that hold now. What is over may be
// an honest relay's leftover; what is not signed is none.
func checkAdverts(m *pb.Adverts, relay dht.Peer, now time.Time) ([]*dht.Advert, error) {
	if m == nil {
		return nil, ErrReply
	}
	var out []*dht.Advert
	for _, raw := range m.GetAdverts() {
		a, err := dht.ParseAdvert(raw)
		if err != nil {
			return nil, ErrReply
		}
		if a.Fresh(now) && string(a.Peer.ID) != string(relay.ID) {
			out = append(out, a)
		}
	}
	return out, nil
}

// signedRoot is a root with its relay's signature.
type signedRoot struct {
	relay string
	root  [32]byte
	sig   [64]byte
}

// roots remembers the last signed roots that verified, so that the receipts of
// one commit cost one check of a signature and not one each. What is bound in
// a receipt is in its leaf, and so in the root.
type roots struct {
	mu   sync.Mutex
	seen [rememberedRoots]signedRoot
	next int
}

// verify is mailbox.Receipt.Verify with memory.
func (s *roots) verify(r *mailbox.Receipt, relay dht.Peer, d mailbox.Deposit) error {
	id := mailbox.EnvelopeIDOf(d.Envelope)
	if string(r.Relay) != string(relay.ID) || r.Box != d.Box || r.Envelope != id {
		return mailbox.ErrInvalid
	}
	k := signedRoot{string(relay.ID), r.Root(), r.Sig}
	if s.has(k) {
		return nil
	}
	if err := r.Verify(relay.ID, d.Box, id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[s.next%rememberedRoots] = k
	s.next++
	return nil
}

func (s *roots) has(k signedRoot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.seen {
		if s.seen[i] == k {
			return true
		}
	}
	return false
}
