package relay

import (
	"sync"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

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
