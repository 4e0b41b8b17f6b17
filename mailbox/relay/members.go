package relay

import (
	"encoding/binary"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// between serves what relays ask each other. Who asks is the peer of the
// connection, which libp2p has authenticated.
func (s *Server) between(h *held, j *job) {
	var err error
	switch w := j.ask.What.(type) {
	case *pb.Ask_Compare:
		err = s.compare(h, j, sumsOf(w.Compare.GetSums()))
	case *pb.Ask_Digest:
		err = s.digest(h, j, mailbox.ID(w.Digest.GetBox()), w.Digest.GetAfter())
	case *pb.Ask_Copies:
		err = s.copies(h, j, mailbox.ID(w.Copies.GetBox()), idsOf[mailbox.EnvelopeID](w.Copies.GetIds()))
	case *pb.Ask_Possess:
		err = s.possess(j, w.Possess)
	case *pb.Ask_Clock:
		j.answer = &pb.Answer{What: &pb.Answer_Clock{Clock: uint64(s.cfg.Now().UnixMilli())}}
	case *pb.Ask_Gossip:
		s.gossip(j)
	case *pb.Ask_Offer:
		if s.cfg.Offered != nil {
			s.cfg.Offered([]byte(h.from), idsOf[mailbox.ID](w.Offer.GetBoxes()))
		}
		j.answer = done()
	}
	if err = j.settle(err); err != nil {
		s.failed([]*job{j}, err)
	}
}

func done() *pb.Answer { return &pb.Answer{What: &pb.Answer_Done{Done: &pb.Done{}}} }

// look reads the store while few others do what takes as long: a digest of a
// large box must not keep the deposits of everybody from the processor.
func (s *Server) look(fn func(mailbox.Tx) error) error {
	select {
	case s.looks <- struct{}{}:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	defer func() { <-s.looks }()
	return s.cfg.Store.View(fn)
}

// compare answers in runs, and charges for what it had to look at: that is
// known only afterwards. Whoever owns boxes can have many with much in them, or
// name one again and again: no look may take long, for a look keeps every write
// from the store, and who owes for the last question waits with the next.
func (s *Server) compare(h *held, j *job, sums []mailbox.BoxSum) error {
	if h.inDebt() {
		return &mailbox.Refusal{Code: mailbox.RateLimited}
	}
	out := make([]byte, len(sums))
	entries := 0
	for at := 0; at < len(sums); {
		var done, seen int
		err := s.look(func(tx mailbox.Tx) error {
			run := sums[at:min(at+compareRun, len(sums))]
			for done, seen = 0, 0; done < len(run) && seen < entriesPerLook; done++ {
				out[at+done] = byte(s.cfg.Relay.Compare(tx, s.cfg.Now(), []byte(h.from), run[done:done+1])[0])
				seen += tx.Usage(run[done].Box).Count
			}
			return nil
		})
		if err != nil {
			return err
		}
		at, entries = at+done, entries+seen
	}
	h.owe(entries / entriesPerToken)
	j.answer = &pb.Answer{What: &pb.Answer_Compared{Compared: out}}
	return nil
}

func (s *Server) digest(h *held, j *job, box mailbox.ID, after uint64) error {
	var page []mailbox.Held
	var more bool
	err := s.look(func(tx mailbox.Tx) (err error) {
		page, more, err = s.cfg.Relay.Digest(tx, s.cfg.Now(), []byte(h.from), box, after)
		return err
	})
	if err != nil {
		return err
	}
	m := &pb.Digested{Held: make([]byte, 0, len(page)*heldSize), More: more}
	for i := range page {
		m.Held = appendHeld(m.Held, page[i])
	}
	j.answer = &pb.Answer{What: &pb.Answer_Digested{Digested: m}}
	return nil
}

func appendHeld(b []byte, e mailbox.Held) []byte {
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	b = append(b, e.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(0, e.Expires.UnixMilli())))
	return binary.BigEndian.AppendUint32(b, e.Size)
}

func (s *Server) copies(h *held, j *job, box mailbox.ID, ids []mailbox.EnvelopeID) error {
	var got []mailbox.Copy
	err := s.look(func(tx mailbox.Tx) (err error) {
		got, err = s.cfg.Relay.Copies(tx, s.cfg.Now(), []byte(h.from), box, ids)
		return err
	})
	if err != nil {
		return err
	}
	m := &pb.Copied{}
	for _, c := range got {
		m.Copies = append(m.Copies, copyFrame(c))
	}
	j.answer = &pb.Answer{What: &pb.Answer_Copied{Copied: m}}
	return nil
}

func copyFrame(c mailbox.Copy) *pb.Copy {
	return &pb.Copy{
		Envelope: c.Envelope, ExpiresMs: uint64(max(0, c.Expires.UnixMilli())), Admit: c.Admit[:], Cert: c.Cert,
	}
}

func (s *Server) possess(j *job, p *pb.Possess) error {
	var got []mailbox.Possession
	err := s.look(func(tx mailbox.Tx) (err error) {
		got, err = s.cfg.Relay.Possess(tx, s.cfg.Now(), mailbox.ID(p.GetBox()), [32]byte(p.GetNonce()),
			idsOf[mailbox.EnvelopeID](p.GetIds()))
		return err
	})
	if err != nil {
		return err
	}
	out := make([]byte, 0, len(got)*proofSize)
	for i := range got {
		out = append(append(out, got[i].State), got[i].Proof[:]...)
	}
	j.answer = &pb.Answer{What: &pb.Answer_Possessed{Possessed: out}}
	return nil
}

func (s *Server) gossip(j *job) {
	m := &pb.Adverts{}
	if s.cfg.Gossip != nil {
		m.Adverts = s.cfg.Gossip()
	}
	m.Adverts = m.Adverts[:min(len(m.Adverts), MaxGossip)]
	j.answer = &pb.Answer{What: &pb.Answer_Adverts{Adverts: m}}
}
