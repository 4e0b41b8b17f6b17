package repair_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/repair"
)

var errAway = errors.New("away")

// world is a few relays on stores in memory that visit each other in virtual time.
type world struct {
	t      testing.TB
	now    time.Time
	rng    *rand.ChaCha8
	relays []*station
	off    bool // repair does not run
	visits int
}

// station is one relay of a world.
type station struct {
	w       *world
	key     ed25519.PrivateKey
	peer    dht.Peer
	store   *mailbox.Memory
	planner *repair.Planner
	local   *repair.Local
	up      bool
	lies    bool // claims everything and has the bytes of nothing
	empty   bool // answers as if it had never had anything, and adopts nothing
	leaving time.Time
	last    repair.Outcome
}

func newWorld(t testing.TB, relays int, seed uint64) *world {
	w := &world{t: t, now: mailboxtest.T0.Add(12 * time.Hour), rng: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})}
	for i := range relays {
		key := mailboxtest.Key(50 + i)
		s := &station{w: w, key: key, store: mailbox.NewMemory(), up: true}
		s.peer = dht.Peer{ID: dht.PeerFromKey(key.Public().(ed25519.PublicKey))}
		s.local = &repair.Local{
			Store: s.store, Relay: mailbox.NewRelay(key, mailbox.Limits{NoWork: true}),
			Now: func() time.Time { return w.now }, Rand: w.rng,
		}
		s.planner = repair.New(s.peer.ID)
		w.relays = append(w.relays, s)
	}
	return w
}

// open gives box n to relays, by number; the last standbys of them stand by.
func (w *world) open(n int, number uint64, standbys int, at ...int) {
	w.t.Helper()
	core := dht.SetCore{
		Box: mailboxtest.Key(n).Public().(ed25519.PublicKey), Epoch: dht.EpochAt(w.now), Number: number, R: byte(max(1, len(at)-standbys)), W: 1,
		S: byte(standbys), Issued: w.now.Truncate(time.Second), NotAfter: w.now.Add(30 * 24 * time.Hour).Truncate(time.Second),
	}
	for i, a := range at {
		core.Members = append(core.Members, dht.Member{Peer: w.relays[a].peer, Rank: byte(i), Standby: i >= len(at)-standbys})
	}
	signed, err := dht.SignSetCore(mailboxtest.Key(n), core)
	w.must(err)
	var leases []dht.Lease
	for _, a := range at {
		s := w.relays[a]
		w.must(s.do(func(tx mailbox.Tx) error {
			l, err := s.local.Relay.Commit(tx, w.now, signed)
			leases = append(leases, l)
			return err
		}))
	}
	set, err := dht.SignSetRecord(mailboxtest.Key(n), core, leases)
	w.must(err)
	for _, s := range w.relays {
		if !s.up {
			continue
		}
		err := s.do(func(tx mailbox.Tx) error { return s.local.Relay.PutSet(tx, w.now, set.Bytes()) })
		if _, refused := errors.AsType[*mailbox.Refusal](err); !refused {
			w.must(err)
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (s *station) do(fn func(mailbox.Tx) error) error { return s.store.Do(context.Background(), fn) }

func (s *station) deposit(n int, text string) {
	s.w.t.Helper()
	s.w.must(s.do(func(tx mailbox.Tx) error {
		_, err := s.local.Relay.Deposit(tx, s.w.now, mailbox.Deposit{
			Box: mailboxtest.Box(n), Envelope: []byte(text), Expires: s.w.now.Add(29 * 24 * time.Hour),
		})
		return err
	}))
}

func (s *station) ack(n int, text string) {
	s.w.t.Helper()
	ids := []mailbox.EnvelopeID{mailbox.EnvelopeIDOf([]byte(text))}
	sig := mailbox.SignRequest(mailboxtest.Key(n), s.peer.ID, mailbox.VerbAck, mailbox.AckContent(ids))
	pub := mailboxtest.Key(n).Public().(ed25519.PublicKey)
	s.w.must(s.do(func(tx mailbox.Tx) error { return s.local.Relay.Ack(tx, s.w.now, pub, ids, sig) }))
}

// wipe loses the disk and what the process knew; the key stays.
func (s *station) wipe() {
	s.store = mailbox.NewMemory()
	s.local.Store = s.store
	s.planner = repair.New(s.peer.ID)
}

// texts lists what a relay holds for box n.
func (s *station) texts(n int) (out []string) {
	w := s.w
	w.must(s.store.View(func(tx mailbox.Tx) error {
		items, _, err := s.local.Relay.Fetch(tx, w.now, mailboxtest.Box(n), 0, 0, 1<<20)
		for _, i := range items {
			out = append(out, string(i.Envelope))
		}
		return err
	}))
	slices.Sort(out)
	return out
}

// refresh tells the planner what the store holds, as upkeep does.
func (s *station) refresh() {
	s.w.must(s.store.View(func(tx mailbox.Tx) error {
		tx.EachBox(func(id mailbox.ID, _ mailbox.Box) bool {
			s.planner.Look(tx, s.w.now, id)
			return true
		})
		return nil
	}))
	s.planner.Sweep()
}

// turn does what is due at one relay.
func (s *station) turn() {
	s.refresh()
	for _, v := range s.planner.Due(s.w.now, s.w.rng) {
		s.w.visits++
		out, err := s.local.Visit(context.Background(), wire{s}, v)
		s.last = out
		if errors.Is(err, errAway) {
			s.planner.Unreachable(v.Peer.ID, s.w.now, s.w.rng)
			continue
		}
		s.w.must(err)
		s.planner.Visited(v.Peer.ID, s.w.now, out)
	}
}

// run lets time pass in steps of five minutes.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(5 * time.Minute) {
		for _, s := range w.relays {
			if s.up && !w.off {
				s.turn()
			}
		}
	}
}

// wire asks the other relays of a world.
type wire struct{ from *station }

func (x wire) to(p dht.Peer) (*station, error) {
	for _, s := range x.from.w.relays {
		if string(s.peer.ID) == string(p.ID) && s.up {
			return s, nil
		}
	}
	return nil, errAway
}

func (x wire) Compare(_ context.Context, p dht.Peer, sums []mailbox.BoxSum) (out []mailbox.Comparison, err error) {
	s, err := x.to(p)
	if err != nil {
		return nil, err
	}
	if s.lies {
		return slices.Repeat([]mailbox.Comparison{mailbox.Same}, len(sums)), nil
	}
	err = s.store.View(func(tx mailbox.Tx) error {
		out = s.local.Relay.Compare(tx, s.w.now, x.from.peer.ID, sums)
		return nil
	})
	return out, err
}

func (x wire) Digest(_ context.Context, p dht.Peer, box mailbox.ID, after uint64) (page []mailbox.Held, more bool, err error) {
	s, err := x.to(p)
	if err != nil || s.empty {
		return nil, false, err
	}
	err = s.store.View(func(tx mailbox.Tx) (err error) {
		page, more, err = s.local.Relay.Digest(tx, s.w.now, x.from.peer.ID, box, after)
		return err
	})
	return page, more, err
}

func (x wire) Copies(_ context.Context, p dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID) (out []mailbox.Copy, err error) {
	s, err := x.to(p)
	if err != nil || s.lies || s.empty {
		return nil, err
	}
	err = s.store.View(func(tx mailbox.Tx) (err error) {
		out, err = s.local.Relay.Copies(tx, s.w.now, x.from.peer.ID, box, ids)
		return err
	})
	return out, err
}

func (x wire) Possess(_ context.Context, p dht.Peer, box mailbox.ID, nonce [32]byte, ids []mailbox.EnvelopeID) (out []mailbox.Possession, err error) {
	s, err := x.to(p)
	if err != nil {
		return nil, err
	}
	if s.lies || s.empty {
		out = make([]mailbox.Possession, len(ids))
		for i := range out {
			if s.lies {
				out[i] = mailbox.Possession{State: mailbox.Holds, Proof: nonce}
			}
		}
		return out, nil
	}
	err = s.store.View(func(tx mailbox.Tx) (err error) {
		out, err = s.local.Relay.Possess(tx, s.w.now, box, nonce, ids)
		return err
	})
	return out, err
}

func (x wire) Advert(_ context.Context, p dht.Peer) (*dht.Advert, error) {
	s, err := x.to(p)
	if err != nil || s.leaving.IsZero() { // signatures cost the most here
		return nil, err
	}
	return dht.SignAdvert(s.key, dht.Advert{
		Peer: s.peer, Issued: s.w.now, NotAfter: s.w.now.Add(time.Hour), LeavingAt: s.leaving,
	})
}

func (x wire) Offer(_ context.Context, p dht.Peer, boxes []mailbox.ID) error {
	s, err := x.to(p)
	if err != nil {
		return err
	}
	s.refresh()
	s.planner.Offered(x.from.peer.ID, s.w.now, boxes)
	return nil
}

func (x wire) GetSet(_ context.Context, p dht.Peer, box mailbox.ID) (raw []byte, err error) {
	s, err := x.to(p)
	if err != nil {
		return nil, err
	}
	err = s.do(func(tx mailbox.Tx) (err error) { raw, err = s.local.Relay.GetSet(tx, s.w.now, box); return err })
	return raw, err
}

func (x wire) PutSet(_ context.Context, p dht.Peer, raw []byte) error {
	s, err := x.to(p)
	if err != nil {
		return err
	}
	return s.do(func(tx mailbox.Tx) error { return s.local.Relay.PutSet(tx, s.w.now, raw) })
}

func texts(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("text %02d", i))
	}
	return out
}
