package mailbox_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func (w *world) reserve(n int, sig []byte) error {
	box := pub(mailboxtest.Key(n))
	return w.do(func(tx mailbox.Tx) error { return w.relay.Reserve(tx, w.now, box, sig) })
}

func (w *world) reserveSig(n int) []byte {
	return mailbox.SignRequest(mailboxtest.Key(n), w.relay.Peer(), mailbox.VerbReserve, nil)
}

func TestReserveKeepsAPlaceForAWhile(t *testing.T) {
	w := newWorld(t, mailbox.Limits{MaxBoxes: 1})
	w.tick(0)
	wantCode(t, w.reserve(1, w.reserveSig(1)), 0)
	wantCode(t, w.reserve(1, w.reserveSig(1)), 0)
	wantCode(t, w.reserve(2, w.reserveSig(2)), mailbox.Full)
	_, err := w.commit(2, w.core(2, epoch, 1))
	wantCode(t, err, mailbox.Full)
	_, err = w.deposit(mailbox.Deposit{Box: mailboxtest.Box(1), Envelope: []byte("x"), Expires: t0.Add(day)})
	wantCode(t, err, mailbox.NotMine) // a place is not a lease
	if s := w.tick(mailbox.ReserveFor); s.Boxes != 1 {
		t.Errorf("swept %+v", s)
	}
	wantCode(t, w.reserve(2, w.reserveSig(2)), 0)
}

func TestReserveWantsTheBoxKeyForThisRelay(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	other := mailbox.SignRequest(mailboxtest.Key(1), peer(90).ID, mailbox.VerbReserve, nil)
	verb := mailbox.SignRequest(mailboxtest.Key(1), w.relay.Peer(), mailbox.VerbAck, nil)
	for name, sig := range map[string][]byte{
		"none": nil, "another relay's": other, "another verb's": verb, "another box's": w.reserveSig(2),
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, w.reserve(1, sig), mailbox.Malformed) })
	}
}

func TestCommitGivesALeaseThatVerifies(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	c := w.core(1, epoch, 1)
	l, err := w.commit(1, c)
	wantCode(t, err, 0)
	if !l.Verify(pub(mailboxtest.Key(99)), c.Hash()) || l.Rank != 1 {
		t.Errorf("lease %+v", l)
	}
	next := time.Unix((int64(epoch)+2)*604800, 0)
	if !l.End.Equal(next) {
		t.Errorf("lease ends %v, want the end of the next epoch, %v", l.End, next)
	}
	again, err := w.commit(1, c)
	wantCode(t, err, 0)
	if again != l {
		t.Errorf("the same core got %+v, then %+v", l, again)
	}
}

func TestCommitIsRefusedByItsRule(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world, *dht.SetCore)
		spoil  bool
		want   mailbox.Code
	}{
		"accepted":              {},
		"front door":            {change: func(_ *world, c *dht.SetCore) { c.Epoch = dht.FrontDoorEpoch }},
		"five epochs ahead":     {change: func(_ *world, c *dht.SetCore) { c.Epoch += 5 }},
		"seven epochs ahead":    {change: func(_ *world, c *dht.SetCore) { c.Epoch += 7 }, want: mailbox.Malformed},
		"last epoch":            {change: func(_ *world, c *dht.SetCore) { c.Epoch-- }},
		"the epoch before last": {change: func(_ *world, c *dht.SetCore) { c.Epoch -= 2 }, want: mailbox.Expired},
		"not a member": {change: func(_ *world, c *dht.SetCore) {
			c.Members[1].Peer = peer(92)
		}, want: mailbox.Malformed},
		"badly signed": {spoil: true, want: mailbox.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, mailbox.Limits{})
			core := w.core(1, epoch, 1)
			if c.change != nil {
				c.change(w, &core)
			}
			signed := w.signedCore(1, core)
			if c.spoil {
				signed[len(signed)-1] ^= 1
			}
			err := w.do(func(tx mailbox.Tx) error { _, err := w.relay.Commit(tx, w.now, signed); return err })
			wantCode(t, err, c.want)
		})
	}
}

func TestFrontDoorLeaseGrows(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	c := w.core(1, dht.FrontDoorEpoch, 1)
	first, err := w.commit(1, c)
	wantCode(t, err, 0)
	w.now = w.now.Add(day)
	second, err := w.commit(1, c)
	wantCode(t, err, 0)
	if second.End.Sub(first.End) != day {
		t.Errorf("lease went from %v to %v", first.End, second.End)
	}
}

func TestCommitRefusesAnOlderOrForkedSet(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	_, err := w.commit(1, w.core(1, epoch, 5))
	wantCode(t, err, 0)
	fork := w.core(1, epoch, 5, dht.Peer{ID: w.relay.Peer()}, peer(93))
	_, err = w.commit(1, fork)
	wantCode(t, err, mailbox.Malformed)
	c := w.core(1, epoch, 5)
	record := w.record(1, c, 90, 99, 91)
	wantCode(t, w.putSet(record), 0)
	_, err = w.commit(1, w.core(1, epoch, 4))
	if r := wantCode(t, err, mailbox.NotMine); !bytes.Equal(r.Set, record) {
		t.Error("the refusal does not hold the newest set")
	}
}

func TestNewestSetIsServedToWhoeverComesWithAnOlderOne(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	_, err := w.getSet(1)
	wantCode(t, err, mailbox.NotMine)
	wantCode(t, w.putSet(w.record(1, w.core(1, epoch, 2), 90)), mailbox.NotMine) // no lease yet
	_, err = w.commit(1, w.core(1, epoch, 2))
	wantCode(t, err, 0)
	first := w.record(1, w.core(1, epoch, 2), 90, 99, 91)
	second := w.record(1, w.core(1, epoch, 3), 90, 99, 91)
	for _, raw := range [][]byte{first, second, first} {
		wantCode(t, w.putSet(raw), 0)
	}
	got, err := w.getSet(1)
	if wantCode(t, err, 0); !bytes.Equal(got, second) {
		t.Error("not the newest set")
	}
	r := w.leave(1, "with number 1", day)
	if r.SetNumber != 3 {
		t.Errorf("the receipt states set %d", r.SetNumber)
	}
	wantCode(t, w.putSet(append(second[:len(second)-1:len(second)-1], 0)), mailbox.Malformed)
}

func TestRelayThatLeftTheSetRefusesAndStillServesTheOwner(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.leave(1, "before", day)
	without := w.record(1, w.core(1, epoch, 2, peer(90), peer(91)), 90, 91)
	wantCode(t, w.putSet(without), 0)
	_, err := w.deposit(mailbox.Deposit{Box: mailboxtest.Box(1), Envelope: []byte("after"), Expires: t0.Add(day)})
	if r := wantCode(t, err, mailbox.NotMine); !bytes.Equal(r.Set, without) {
		t.Error("the refusal does not hold the newest set")
	}
	if got := w.fetch(1); len(got) != 1 {
		t.Errorf("fetched %q", got)
	}
	wantCode(t, w.ack(1, "before"), 0)
}

func TestDepositsEndWithTheLease(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	l, err := w.commit(1, w.core(1, epoch, 1))
	wantCode(t, err, 0)
	d := w.byPass(1, 0, "x", l.End.Add(day).Sub(t0))
	w.now = l.End.Add(-time.Millisecond)
	_, err = w.deposit(d)
	wantCode(t, err, 0)
	w.now = l.End
	d.Envelope = []byte("y")
	_, err = w.deposit(d)
	wantCode(t, err, mailbox.NotMine)
}

// A commit raises the number before the record comes: the record that then
// comes is the newest all the same.
func TestARecordReplacesTheOneFromBeforeTheCommit(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	members := []dht.Peer{{ID: w.relay.Peer()}, peer(91)}
	for number := uint64(1); number <= 3; number++ {
		c := w.core(1, epoch, number, members...)
		_, err := w.commit(1, c)
		wantCode(t, err, 0)
		raw := w.record(1, c, 99, 91)
		wantCode(t, w.putSet(raw), 0)
		if got, err := w.getSet(1); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("number %d: another record is served (%v)", number, err)
		}
	}
}

// A relay that lost its disk knows its own lease again, as long as it runs.
func TestARelayRegainsABoxByItsOwnLease(t *testing.T) {
	before := newWorld(t, mailbox.Limits{})
	c := before.core(1, epoch, 4, dht.Peer{ID: before.relay.Peer()}, peer(91))
	_, err := before.commit(1, c)
	wantCode(t, err, 0)
	raw := before.record(1, c, 99, 91)

	w := newWorld(t, mailbox.Limits{MaxBoxes: 1})
	w.tick(0)
	wantCode(t, w.putSet(raw), 0)
	r := w.leave(1, "again", day)
	if r.SetNumber != 4 {
		t.Errorf("number %d", r.SetNumber)
	}
	_, err = w.deposit(w.byPass(1, 0, "late", 29*day))
	wantCode(t, err, 0)
	w.run(15 * day)
	_, err = w.deposit(mailbox.Deposit{Box: mailboxtest.Box(1), Envelope: []byte("x"), Expires: w.now.Add(day)})
	wantCode(t, err, mailbox.NotMine) // no longer than the lease

	for name, x := range map[string]struct {
		limits mailbox.Limits
		raw    []byte
		at     time.Time
		code   mailbox.Code
	}{
		"named without a lease": {raw: before.record(1, before.core(1, epoch, 5, peer(91), dht.Peer{ID: before.relay.Peer()}), 91), code: mailbox.NotMine},
		"of others":             {raw: before.record(1, before.core(1, epoch, 5, peer(91), peer(92)), 91, 92), code: mailbox.NotMine},
		"over":                  {raw: raw, at: t0.Add(38 * day), code: mailbox.NotMine},
		"no place":              {limits: mailbox.Limits{MaxBoxes: 1}, raw: raw, code: mailbox.Full},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, x.limits)
			w.tick(0)
			if !x.at.IsZero() {
				w.now = x.at
			}
			if x.code == mailbox.Full {
				w.lease(2, epoch)
			}
			wantCode(t, w.putSet(x.raw), x.code)
			if _, err := w.getSet(1); err == nil {
				t.Error("a record is kept")
			}
		})
	}
}
