package relay

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// doWrites puts the writing jobs through the store: those that a transaction
// is quickly done with together, the others one by one, and only one of the
// relay at a time. A store has one writer: eight signatures to check for each
// of a thousand requests must not keep everybody's deposits from the disk.
func (s *Server) doWrites(jobs []*job) {
	var quick []*job
	for _, j := range jobs {
		if writer(j.ask) && !slow(j.ask) {
			quick = append(quick, j)
		}
	}
	s.doTogether(s.vetted(quick))
	for _, j := range jobs {
		if slow(j.ask) {
			s.signs <- struct{}{}
			s.doTogether([]*job{j})
			<-s.signs
		}
	}
}

// vetted takes out and refuses the deposits whose pass does not hold: checking
// it costs two signatures, which are not the writer's work. A pass that held
// once is remembered, and welcome however many others did not hold.
func (s *Server) vetted(jobs []*job) (left []*job) {
	bad := 0
	for _, j := range jobs {
		w, ok := j.ask.What.(*pb.Ask_Deposit)
		if !ok || len(w.Deposit.GetPass()) == 0 || s.vet(j, depositOf(w.Deposit), bad < maxBadPasses) {
			left = append(left, j)
		} else if mailbox.Code(j.answer.GetRefusal().GetCode()) == mailbox.BadPass {
			bad++
		}
	}
	return left
}

// vet says whether a deposit's pass is known to hold or, if it may look, holds.
func (s *Server) vet(j *job, d mailbox.Deposit, look bool) bool {
	key := d.PassKey()
	var known bool
	if j.vetted, known = s.passes.get(key); known {
		return true
	}
	if !look {
		j.answer = refuseJob(&mailbox.Refusal{Code: mailbox.RateLimited})
		return false
	}
	s.proofs <- struct{}{}
	err := s.cfg.Store.View(func(tx mailbox.Tx) (err error) {
		j.vetted, err = s.cfg.Relay.Vet(tx, s.cfg.Now(), d)
		return err
	})
	<-s.proofs
	if err != nil {
		if err = j.settle(err); err != nil {
			s.failed([]*job{j}, err)
		}
		return false
	}
	if j.vetted != (mailbox.Vetted{}) {
		s.passes.put(key, j.vetted)
	}
	return true
}

// passCache has the passes that held, by Deposit.PassKey.
type passCache struct {
	mu   sync.Mutex
	held map[[32]byte]mailbox.Vetted
}

func (p *passCache) get(key [32]byte) (mailbox.Vetted, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.held[key]
	return v, ok
}

func (p *passCache) put(key [32]byte, v mailbox.Vetted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil || len(p.held) >= passesHeld {
		p.held = map[[32]byte]mailbox.Vetted{}
	}
	p.held[key] = v
}

// slow says whether a request has signatures to check that others would wait
// for.
func slow(ask *pb.Ask) bool {
	switch ask.What.(type) {
	case *pb.Ask_PutSet, *pb.Ask_Reserve, *pb.Ask_Commit:
		return true
	}
	return false
}

// doTogether puts jobs through the store in one transaction. If the store
// fails, none of them happened and each is told so.
func (s *Server) doTogether(writes []*job) {
	if len(writes) == 0 {
		return
	}
	err := s.cfg.Store.Do(s.ctx, func(tx mailbox.Tx) error {
		now := s.cfg.Now()
		for _, j := range writes {
			if err := s.write(tx, now, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.failed(writes, err)
	}
}

// failed tells the askers that the store could not serve them.
func (s *Server) failed(jobs []*job, err error) {
	s.counted.each[Failed].Add(int64(len(jobs)))
	s.cfg.Log.Warn("relay: store", "err", err, "requests", len(jobs))
	code := mailbox.NotServing
	if errors.Is(err, mailbox.ErrDiskFull) {
		code = mailbox.Full
	}
	for _, j := range jobs {
		*j = job{ask: j.ask, size: j.size, came: j.came, answer: refuseJob(&mailbox.Refusal{Code: code, Detail: "store"})}
	}
}

func writer(ask *pb.Ask) bool {
	switch ask.What.(type) {
	case *pb.Ask_Deposit, *pb.Ask_Ack, *pb.Ask_PutSet, *pb.Ask_Reserve, *pb.Ask_Commit:
		return true
	}
	return false
}

func refuseJob(r *mailbox.Refusal) *pb.Answer { return &pb.Answer{What: refusalFrame(r)} }

// write runs one job in a transaction, which may happen more than once. It
// returns only errors of the store.
func (s *Server) write(tx mailbox.Tx, now time.Time, j *job) error {
	j.answer = done()
	j.result = result{}
	var err error
	switch w := j.ask.What.(type) {
	case *pb.Ask_Deposit:
		err = s.deposit(tx, now, j, w.Deposit)
	case *pb.Ask_Ack:
		ids := idsOf[mailbox.EnvelopeID](w.Ack.GetIds())
		j.acked, j.frees = len(ids), mailbox.IDOf(w.Ack.GetKey())
		err = s.cfg.Relay.Ack(tx, now, ed25519.PublicKey(w.Ack.GetKey()), ids, w.Ack.GetSig())
	case *pb.Ask_PutSet:
		j.newSet = true
		err = s.cfg.Relay.PutSet(tx, now, w.PutSet.GetRecord())
	case *pb.Ask_Reserve:
		for _, b := range w.Reserve.GetBoxes() {
			if err = s.cfg.Relay.Reserve(tx, now, ed25519.PublicKey(b.GetKey()), b.GetSig()); err != nil {
				break
			}
		}
	case *pb.Ask_Commit:
		err = s.commit(tx, now, j, w.Commit)
	}
	return j.settle(err)
}

// settle turns the rules' answer "no" into the job's answer; what is not an
// answer of the rules goes back to the store.
func (j *job) settle(err error) error {
	if err == nil {
		return nil
	}
	refusal, ok := errors.AsType[*mailbox.Refusal](err)
	if !ok {
		if !errors.Is(err, mailbox.ErrInvalid) {
			return err
		}
		refusal = &mailbox.Refusal{Code: mailbox.Malformed}
	}
	j.answer = refuseJob(refusal)
	j.result = result{}
	return nil
}

func (s *Server) deposit(tx mailbox.Tx, now time.Time, j *job, d *pb.Deposit) error {
	if len(d.GetEnvelope()) > mailbox.MaxEnvelope {
		return &mailbox.Refusal{Code: mailbox.TooLarge}
	}
	in := depositOf(d)
	in.Vetted = j.vetted
	r, err := s.cfg.Relay.Deposit(tx, now, in)
	if err != nil {
		return err
	}
	j.receipt, j.wakes = r, true
	return nil
}

func (s *Server) commit(tx mailbox.Tx, now time.Time, j *job, c *pb.Commit) error {
	out := &pb.Leases{}
	for _, signed := range c.GetSigned() {
		l, err := s.cfg.Relay.Commit(tx, now, signed)
		if err != nil {
			return err
		}
		out.Leases = append(out.Leases, &pb.Lease{
			Rank: uint32(l.Rank), End: uint64(l.End.Unix()), Sig: l.Sig[:],
		})
	}
	j.answer.What = &pb.Answer_Leases{Leases: out}
	return nil
}

// doRead serves a job that does not write.
func (s *Server) doRead(h *held, j *job) {
	switch w := j.ask.What.(type) {
	case *pb.Ask_Advert:
		s.readAdvert(j)
	case *pb.Ask_GetSet:
		s.readSet(j, mailbox.ID(w.GetSet.GetBox()))
	default:
		s.between(h, j)
	}
}

func (s *Server) readAdvert(j *job) {
	raw, err := s.advert.get(s)
	if err != nil {
		s.failed([]*job{j}, err)
		return
	}
	j.answer = advertAnswer(raw)
}

func (s *Server) readSet(j *job, box mailbox.ID) {
	var raw []byte
	err := s.cfg.Store.View(func(tx mailbox.Tx) (err error) {
		raw, err = s.cfg.Relay.GetSet(tx, s.cfg.Now(), box)
		return err
	})
	j.answer = &pb.Answer{What: &pb.Answer_Set{Set: raw}}
	if err = j.settle(err); err != nil {
		s.failed([]*job{j}, err)
	}
}

// wake tells the collect streams which boxes have something new, and those who
// wait for room which may have it.
func (s *Server) wake(jobs []*job) {
	s.freed(s.makesRoom(jobs))
	for _, j := range jobs {
		if j.wakes {
			s.hub.wake(mailbox.ID(j.ask.GetDeposit().GetBox()))
		}
	}
}

// Arrived tells the collect streams that a box got something otherwise than by
// a deposit: copies of other relays.
func (s *Server) Arrived(box mailbox.ID) { s.hub.wake(box) }

// advertCache keeps the relay's own advert: it is signed on demand, and anew
// after advertEvery or when the addresses change.
type advertCache struct {
	mu    sync.Mutex
	raw   []byte
	made  time.Time
	addrs [][]byte
	leave time.Time
	last  uint64 // number of the last advert
}

func (c *advertCache) get(s *Server) ([]byte, error) {
	now := s.cfg.Now()
	addrs := advertAddrs(s.addrs())
	leave, err := s.leavingAt()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	age := now.Sub(c.made)
	if c.raw != nil && age >= 0 && age < advertEvery && leave.Equal(c.leave) && slices.EqualFunc(addrs, c.addrs, slices.Equal) {
		return c.raw, nil
	}
	number := max(uint64(now.UnixMilli()), c.last+1) // two of one millisecond differ
	a, err := dht.SignAdvert(s.key, s.describe(now, number, addrs, leave))
	if err != nil {
		return nil, err
	}
	c.last = number
	c.raw, c.made, c.addrs, c.leave = a.Bytes(), now, addrs, leave
	return c.raw, nil
}

// describe fills the advert in with the limits in force. Its number is the
// unix time in milliseconds, which grows over restarts.
func (s *Server) describe(now time.Time, number uint64, addrs [][]byte, leave time.Time) dht.Advert {
	l := s.cfg.Relay.Limits()
	return dht.Advert{
		Peer:          dht.Peer{ID: s.cfg.Relay.Peer(), Addrs: addrs},
		Number:        number,
		Issued:        now.Truncate(time.Second),
		NotAfter:      now.Truncate(time.Second).Add(advertLife),
		MaxEnvelope:   l.MaxEnvelope,
		BoxBytes:      l.BoxBytes,
		BoxCount:      l.BoxCount,
		RetentionDays: retentionDays,
		WorkBits:      l.FrontWork,
		Family:        s.cfg.Family,
		LeavingAt:     leave,
	}
}

// leavingAt is when this relay leaves, as its store says; zero: it stays.
func (s *Server) leavingAt() (at time.Time, err error) {
	err = s.cfg.Store.View(func(tx mailbox.Tx) error {
		at = tx.Leaving()
		return nil
	})
	return at, err
}

// Announce pushes the relay's advert on every collect stream; call it when the
// relay has begun to leave, or stays after all (mailbox.Relay.Leave). Whoever
// begins to collect while the relay leaves gets the advert at once.
func (s *Server) Announce() error {
	raw, err := s.advert.get(s)
	if err != nil {
		return fmt.Errorf("advert: %w", err)
	}
	for _, c := range s.hub.streams() {
		if c.h.out.Send(advertAnswer(raw)) != nil {
			c.h.end()
		}
	}
	return nil
}

func advertAnswer(raw []byte) *pb.Answer { return &pb.Answer{What: &pb.Answer_Advert{Advert: raw}} }

// advertAddrs picks the addresses of an advert: public ones first, loopback
// last, else in the host's order.
func advertAddrs(all []ma.Multiaddr) [][]byte {
	rank := func(a ma.Multiaddr) int {
		switch {
		case manet.IsPublicAddr(a):
			return 0
		case manet.IsIPLoopback(a):
			return 2
		}
		return 1
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b ma.Multiaddr) int { return rank(a) - rank(b) })
	var out [][]byte
	for _, a := range all {
		if b := a.Bytes(); len(b) <= dht.MaxAddr && len(out) < dht.MaxAdvertAddrs {
			out = append(out, b)
		}
	}
	return out
}
