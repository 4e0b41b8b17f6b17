package repair_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/repair"
)

// handOver does one pass of a drain at a relay.
func (s *station) handOver(d *repair.Drain) *repair.Drain {
	s.refresh()
	d = s.planner.Drain(d, func(box mailbox.ID) (sum [32]byte) {
		s.w.must(s.store.View(func(tx mailbox.Tx) error { sum = s.local.Relay.Sum(tx, s.w.now, box); return nil }))
		return sum
	})
	for _, v := range d.Asks() {
		proved, _ := s.local.HandOver(context.Background(), wire{s}, v)
		d.Proved(v.Peer.ID, proved)
	}
	return d
}

func TestDrainEndsWhenEnoughProve(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	s := w.relays[1]
	d := s.handOver(nil)
	if boxes, done := d.Progress(); boxes != 1 || done != 0 {
		t.Fatalf("%d of %d boxes are handed over to two members", done, boxes)
	}
	s.leaving = w.now.Add(24 * hour) // the advert says so: the standby hears of it
	w.run(2 * hour)
	d = s.handOver(d)
	if _, done := d.Progress(); done != 1 || !w.holds(3, 30) {
		t.Fatalf("%d boxes are handed over; the standby holds %d", done, len(w.relays[3].texts(1)))
	}
	s.deposit(1, texts(31)[30]) // deposits go on
	if _, done := s.handOver(d).Progress(); done != 0 {
		t.Error("new mail counts as handed over")
	}
	w.run(2 * hour)
	if _, done := s.handOver(d).Progress(); done != 1 {
		t.Error("new mail is not handed over")
	}
}

// Mail that no other relay can take is left, until its owner has it.
func TestADrainCountsWhatNobodyElseTakes(t *testing.T) {
	w := newWorld(t, 2, 1)
	w.open(1, 1, 0, 0)
	s := w.relays[0]
	s.deposit(1, "alone")
	core := dht.SetCore{ // leased, and its set never came
		Box: mailboxtest.Key(2).Public().(ed25519.PublicKey), Epoch: dht.EpochAt(w.now), Number: 1, R: 1, W: 1,
		Members: []dht.Member{{Peer: s.peer}}, Issued: w.now, NotAfter: w.now.Add(24 * hour),
	}
	signed, err := dht.SignSetCore(mailboxtest.Key(2), core)
	w.must(err)
	w.must(s.do(func(tx mailbox.Tx) error { _, err := s.local.Relay.Commit(tx, w.now, signed); return err }))
	s.deposit(2, "without a set")
	d := s.handOver(nil)
	if boxes, done := d.Progress(); boxes != 2 || done != 0 {
		t.Errorf("%d of %d boxes are handed over to nobody", done, boxes)
	}
	s.ack(1, "alone")
	s.ack(2, "without a set")
	if boxes, _ := s.handOver(d).Progress(); boxes != 0 {
		t.Errorf("%d boxes are left when their owners have their mail", boxes)
	}
}

func TestAProofCountsWhileTheSetNamesWhoGaveIt(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.open(1, 1, 0, 0, 1)
	s := w.relays[0]
	s.deposit(1, "text")
	w.run(10 * time.Minute)
	d := s.handOver(nil)
	if _, done := d.Progress(); done != 1 {
		t.Fatal("control: it is not handed over")
	}
	w.open(1, 2, 0, 0, 2)
	if _, done := s.handOver(d).Progress(); done != 0 {
		t.Error("the proof of a relay that left the set counts")
	}
}

func TestALiarTakesNothingOver(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	w.relays[1].leaving = w.now.Add(24 * hour)
	w.relays[0].lies, w.relays[4].up = true, false
	w.run(2 * hour)
	if _, done := w.relays[1].handOver(nil).Progress(); done != 0 {
		t.Error("a relay that cannot prove counts")
	}
}

// hostile answers what nobody asked for, without end.
type hostile struct {
	wire
	asks int
}

func (h *hostile) Compare(_ context.Context, _ dht.Peer, sums []mailbox.BoxSum) ([]mailbox.Comparison, error) {
	out := make([]mailbox.Comparison, len(sums)+5)
	for i := range out {
		out[i] = mailbox.Differs
	}
	return out, nil
}

func (h *hostile) Digest(_ context.Context, _ dht.Peer, _ mailbox.ID, after uint64) (page []mailbox.Held, more bool, err error) {
	h.asks++
	for i := range uint64(mailbox.MaxDigest) {
		page = append(page, mailbox.Held{Seq: after + i + 1, ID: sha256.Sum256([]byte{byte(after), byte(after >> 8), byte(after >> 16), byte(i), byte(i >> 8)})})
	}
	return page, true, nil
}

func (h *hostile) Copies(context.Context, dht.Peer, mailbox.ID, []mailbox.EnvelopeID) ([]mailbox.Copy, error) {
	h.asks++
	return nil, nil
}

// forger sends copies that nobody asked for.
type forger struct{ hostile }

func (f *forger) Copies(context.Context, dht.Peer, mailbox.ID, []mailbox.EnvelopeID) ([]mailbox.Copy, error) {
	return []mailbox.Copy{{Envelope: []byte("forged")}}, nil
}

func TestHostileAnswersAreBounded(t *testing.T) {
	w := scattered(t)
	s := w.relays[0]
	s.refresh()
	v := repair.Visit{Peer: w.relays[1].peer, Compare: []mailbox.ID{mailboxtest.Box(1)}}
	h := &hostile{wire: wire{s}}
	if out, err := s.local.Visit(context.Background(), h, v); err != nil || out.Adopted > 0 || h.asks > 300 {
		t.Errorf("%d asks, %+v, %v", h.asks, out, err)
	}
	if out, err := s.local.Visit(context.Background(), &forger{hostile{wire: wire{s}}}, v); err == nil || out.Adopted > 0 {
		t.Errorf("a forged copy: %+v, %v", out, err)
	}
}
