package relay

import (
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

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
