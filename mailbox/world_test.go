package mailbox_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// t0 is noon, so that days of expiry and multiples of 24 h differ.
var t0 = mailboxtest.T0.Add(12 * hour)

// world is one relay in memory with a clock that the test moves.
type world struct {
	t     *testing.T
	relay *mailbox.Relay
	store *mailbox.Memory
	now   time.Time
}

func newWorld(t *testing.T, l mailbox.Limits) *world { return newWorldOf(t, 99, l) }

// newWorldOf is a world whose relay has key n of the suite.
func newWorldOf(t *testing.T, n int, l mailbox.Limits) *world {
	return &world{t: t, relay: mailbox.NewRelay(mailboxtest.Key(n), l), store: mailbox.NewMemory(), now: t0}
}

func (w *world) do(fn func(tx mailbox.Tx) error) error { return w.store.Do(context.Background(), fn) }

func pub(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func peer(n int) dht.Peer { return dht.Peer{ID: dht.PeerFromKey(pub(mailboxtest.Key(n)))} }

// core is a set of box key n with this relay among three members.
func (w *world) core(n int, epoch uint32, number uint64, members ...dht.Peer) dht.SetCore {
	c := dht.SetCore{
		Box: pub(mailboxtest.Key(n)), Epoch: epoch, Number: number, R: 3, W: 2,
		Issued: w.now.Truncate(time.Second), NotAfter: w.now.Add(14 * day).Truncate(time.Second),
	}
	if members == nil {
		members = []dht.Peer{peer(90), {ID: w.relay.Peer()}, peer(91)}
	}
	for i, m := range members {
		c.Members = append(c.Members, dht.Member{Peer: m, Rank: byte(i)})
	}
	return c
}

func (w *world) signedCore(n int, c dht.SetCore) []byte {
	w.t.Helper()
	signed, err := dht.SignSetCore(mailboxtest.Key(n), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return signed
}

func (w *world) commit(n int, c dht.SetCore) (l dht.Lease, err error) {
	w.t.Helper()
	signed := w.signedCore(n, c)
	err = w.do(func(tx mailbox.Tx) (err error) { l, err = w.relay.Commit(tx, w.now, signed); return err })
	return l, err
}

// lease gives box n a lease of the current epoch, or the front door's.
func (w *world) lease(n int, epoch uint32) {
	w.t.Helper()
	if _, err := w.commit(n, w.core(n, epoch, 1)); err != nil {
		w.t.Fatal(err)
	}
}

// record is the set record of a core with a lease of every member.
func (w *world) record(n int, c dht.SetCore, keys ...int) []byte {
	w.t.Helper()
	var leases []dht.Lease
	for i, k := range keys {
		leases = append(leases, dht.SignLease(mailboxtest.Key(k), c.Hash(), byte(i), w.now.Add(7*day).Truncate(time.Second)))
	}
	set, err := dht.SignSetRecord(mailboxtest.Key(n), c, leases)
	if err != nil {
		w.t.Fatal(err)
	}
	return set.Bytes()
}

func (w *world) putSet(raw []byte) error {
	return w.do(func(tx mailbox.Tx) error { return w.relay.PutSet(tx, w.now, raw) })
}

func (w *world) getSet(n int) (raw []byte, err error) {
	err = w.do(func(tx mailbox.Tx) (err error) {
		raw, err = w.relay.GetSet(tx, w.now, mailboxtest.Box(n))
		return err
	})
	return raw, err
}

func (w *world) deposit(d mailbox.Deposit) (r *mailbox.Receipt, err error) {
	err = w.do(func(tx mailbox.Tx) (err error) { r, err = w.relay.Deposit(tx, w.now, d); return err })
	return r, err
}

func (w *world) vet(d mailbox.Deposit) (v mailbox.Vetted, err error) {
	err = w.store.View(func(tx mailbox.Tx) (err error) { v, err = w.relay.Vet(tx, w.now, d); return err })
	return v, err
}

// byPass is a deposit into box n by the pass of a holder.
func (w *world) byPass(n, holder int, text string, ttl time.Duration) mailbox.Deposit {
	return mailbox.Deposit{
		Box: mailboxtest.Box(n), Envelope: []byte(text), Expires: w.now.Add(ttl), SetNumber: 1,
		Pass: mailboxtest.Pass(n, holder, w.relay.Peer()),
	}
}

// byWork is a stranger's deposit into box n, with the work that is asked now.
func (w *world) byWork(n int, text string, ttl time.Duration) mailbox.Deposit {
	w.t.Helper()
	d := w.byPass(n, 0, text, ttl)
	d.Pass = nil
	_, err := w.deposit(d)
	var r *mailbox.Refusal
	if errors.As(err, &r) && r.Code == mailbox.NeedWork {
		d.Work, _ = mailbox.SolveWork(d.Box, mailbox.EnvelopeIDOf(d.Envelope), r.Bits, 0, 1<<30)
	}
	return d
}

// leave deposits a text for a while by the pass of holder 0 and has to succeed.
func (w *world) leave(n int, text string, ttl time.Duration) *mailbox.Receipt {
	w.t.Helper()
	r, err := w.deposit(w.byPass(n, 0, text, ttl))
	if err != nil {
		w.t.Fatalf("deposit %q: %v", text, err)
	}
	return r
}

// fetch returns the texts of a box.
func (w *world) fetch(n int) []string {
	w.t.Helper()
	var texts []string
	err := w.store.View(func(tx mailbox.Tx) error {
		items, more, err := w.relay.Fetch(tx, w.now, mailboxtest.Box(n), 0, 0, 1<<20)
		for _, i := range items {
			texts = append(texts, string(i.Envelope))
		}
		if more {
			w.t.Error("more")
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return texts
}

func (w *world) ack(n int, texts ...string) error {
	var ids []mailbox.EnvelopeID
	for _, text := range texts {
		ids = append(ids, mailbox.EnvelopeIDOf([]byte(text)))
	}
	key := mailboxtest.Key(n)
	sig := mailbox.SignRequest(key, w.relay.Peer(), mailbox.VerbAck, mailbox.AckContent(ids))
	return w.do(func(tx mailbox.Tx) error { return w.relay.Ack(tx, w.now, pub(key), ids, sig) })
}

func (w *world) total() (u mailbox.Usage) {
	_ = w.store.View(func(tx mailbox.Tx) error { u = tx.Total(); return nil })
	return u
}

// tick moves the clock and ticks.
func (w *world) tick(by time.Duration) mailbox.Swept {
	w.t.Helper()
	w.now = w.now.Add(by)
	var s mailbox.Swept
	err := w.do(func(tx mailbox.Tx) (err error) { s, err = w.relay.Tick(tx, w.now); return err })
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// run lets time pass evenly, a tick every half hour, and sums up.
func (w *world) run(by time.Duration) (sum mailbox.Swept) {
	w.t.Helper()
	for end := w.now.Add(by); w.now.Before(end); {
		s := w.tick(min(hour/2, end.Sub(w.now)))
		sum.Days, sum.Envelopes, sum.Boxes = sum.Days+s.Days, sum.Envelopes+s.Envelopes, sum.Boxes+s.Boxes
	}
	return sum
}

// wantCode fails unless err is a refusal with this code; code 0 wants no error.
func wantCode(t *testing.T, err error, code mailbox.Code) *mailbox.Refusal {
	t.Helper()
	var r *mailbox.Refusal
	if code == 0 {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return nil
	}
	if !errors.As(err, &r) || r.Code != code {
		t.Fatalf("got %v, want %v", err, code)
	}
	return r
}
