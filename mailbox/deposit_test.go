package mailbox_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

var epoch = dht.EpochAt(t0)

func TestDepositGivesAReceiptThatVerifies(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	r := w.leave(1, "hello", 3*day)
	id := mailbox.EnvelopeIDOf([]byte("hello"))
	if err := r.Verify(w.relay.Peer(), mailboxtest.Box(1), id); err != nil {
		t.Error(err)
	}
	if !r.StoredAt.Equal(t0) || !r.ExpiresAt.Equal(t0.Add(3*day)) || r.SetNumber != 1 {
		t.Errorf("receipt %+v", r)
	}
	if got := w.fetch(1); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("fetched %q", got)
	}
}

func TestDepositIsRefusedByItsRule(t *testing.T) {
	goodPass := mailboxtest.Pass(1, 0, mailbox.NewRelay(mailboxtest.Key(99), mailbox.Limits{}).Peer())
	big := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	for name, c := range map[string]struct {
		limits mailbox.Limits
		epoch  uint32
		change func(*mailbox.Deposit)
		want   mailbox.Code
	}{
		"accepted":                   {},
		"empty envelope":             {change: func(d *mailbox.Deposit) { d.Envelope = nil }, want: mailbox.Malformed},
		"long pass":                  {change: func(d *mailbox.Deposit) { d.Pass = big(257) }, want: mailbox.Malformed},
		"long work":                  {change: func(d *mailbox.Deposit) { d.Work = big(9) }, want: mailbox.Malformed},
		"largest envelope":           {change: func(d *mailbox.Deposit) { d.Envelope = big(8 << 10) }},
		"too large":                  {change: func(d *mailbox.Deposit) { d.Envelope = big(8<<10 + 1) }, want: mailbox.TooLarge},
		"unknown box":                {change: func(d *mailbox.Deposit) { d.Box = mailbox.ID{1} }, want: mailbox.NotMine},
		"expires now":                {change: func(d *mailbox.Deposit) { d.Expires = t0 }, want: mailbox.Expired},
		"expired long ago":           {change: func(d *mailbox.Deposit) { d.Expires = t0.Add(-400 * day) }, want: mailbox.Expired},
		"older set number":           {change: func(d *mailbox.Deposit) { d.SetNumber = 0 }},
		"box without room":           {limits: mailbox.Limits{BoxBytes: 4}, want: mailbox.Full},
		"pass without room":          {limits: mailbox.Limits{PassBytes: 4}, want: mailbox.Full},
		"no pass, no work":           {change: func(d *mailbox.Deposit) { d.Pass = nil }, want: mailbox.NeedWork},
		"no pass, work off":          {change: func(d *mailbox.Deposit) { d.Pass = nil }, limits: mailbox.Limits{NoWork: true}},
		"no pass, large envelope":    {change: func(d *mailbox.Deposit) { d.Pass, d.Envelope = nil, big(4<<10+1) }, want: mailbox.TooLarge},
		"a pass at a front door":     {epoch: dht.FrontDoorEpoch, change: func(d *mailbox.Deposit) { d.Pass = goodPass }, want: mailbox.BadPass},
		"front door, no work":        {epoch: dht.FrontDoorEpoch, want: mailbox.NeedWork},
		"front door, work off":       {epoch: dht.FrontDoorEpoch, limits: mailbox.Limits{NoWork: true}},
		"front door, large envelope": {epoch: dht.FrontDoorEpoch, change: func(d *mailbox.Deposit) { d.Envelope = big(4<<10 + 1) }, want: mailbox.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.limits)
			if c.epoch == 0 {
				c.epoch = epoch
			}
			w.lease(1, c.epoch)
			d := w.byPass(1, 0, "hello", day)
			if c.epoch == dht.FrontDoorEpoch {
				d.Pass = nil
			}
			if c.change != nil {
				c.change(&d)
			}
			before := w.total()
			_, err := w.vet(d)
			wantCode(t, err, c.want) // beside the writer, the same answer
			_, err = w.deposit(d)
			wantCode(t, err, c.want)
			if after := w.total(); c.want != 0 && after != before {
				t.Errorf("a refusal changed %+v to %+v", before, after)
			}
		})
	}
}

func TestDepositWithWorkEntersTheFrontDoor(t *testing.T) {
	w := newWorld(t, mailbox.Limits{FrontWork: 8})
	w.lease(1, dht.FrontDoorEpoch)
	d := mailbox.Deposit{Box: mailboxtest.Box(1), Envelope: []byte("let me in"), Expires: t0.Add(day)}
	_, err := w.deposit(d)
	bits := wantCode(t, err, mailbox.NeedWork).Bits
	d.Work, _ = mailbox.SolveWork(d.Box, mailbox.EnvelopeIDOf(d.Envelope), bits, 0, 1<<20)
	_, err = w.deposit(d)
	wantCode(t, err, 0)
	d.Envelope = []byte("and me") // another envelope's work does not do
	_, err = w.deposit(d)
	wantCode(t, err, mailbox.NeedWork)
}

func TestFrontDoorHoldsSixtyFour(t *testing.T) {
	w := newWorld(t, mailbox.Limits{NoWork: true})
	w.lease(1, dht.FrontDoorEpoch)
	for i := range 64 {
		_, err := w.deposit(w.byWork(1, strings.Repeat("x", i+1), day))
		wantCode(t, err, 0)
	}
	_, err := w.deposit(w.byWork(1, "65", day))
	wantCode(t, err, mailbox.Full)
	if err := w.ack(1, "x"); err != nil { // a full box takes acks
		t.Fatal(err)
	}
	_, err = w.deposit(w.byWork(1, "65", day))
	wantCode(t, err, 0)
}

func TestTombstonesAreBounded(t *testing.T) {
	w := newWorld(t, mailbox.Limits{BoxTombs: 2}) // one a pass: a fourth, at least one
	w.lease(1, epoch)
	for holder, text := range []string{"a", "b"} {
		_, err := w.deposit(w.byPass(1, holder, text, day))
		wantCode(t, err, 0)
		wantCode(t, w.ack(1, text), 0)
		_, err = w.deposit(w.byPass(1, holder, "another "+text, day))
		wantCode(t, err, mailbox.Full)
	}
	_, err := w.deposit(w.byPass(1, 2, "c", day))
	wantCode(t, err, mailbox.Full)
}

func TestTTLIsCutToThirtyDays(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	if r := w.leave(1, "long", 400*day); !r.ExpiresAt.Equal(t0.Add(mailbox.MaxTTL)) {
		t.Errorf("expires %v", r.ExpiresAt)
	}
}

func TestRepeatedDepositIsReceiptedAndStoredOnce(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	first := w.leave(1, "once", 3*day)
	w.now = w.now.Add(hour)
	second := w.leave(1, "once", 5*day)
	if !second.StoredAt.Equal(first.StoredAt) || !second.ExpiresAt.Equal(first.ExpiresAt) {
		t.Errorf("second receipt %+v, first %+v", second, first)
	}
	if got := w.fetch(1); len(got) != 1 {
		t.Errorf("fetched %q", got)
	}
	if err := w.ack(1, "once"); err != nil {
		t.Fatal(err)
	}
	third := w.leave(1, "once", 5*day)
	if err := third.Verify(w.relay.Peer(), mailboxtest.Box(1), third.Envelope); err != nil {
		t.Error(err)
	}
	if got := w.fetch(1); len(got) != 0 {
		t.Errorf("an acknowledged envelope came back: %q", got)
	}
}

func TestExpiredEnvelopeMayBeDepositedAgain(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.leave(1, "late", hour)
	w.run(2 * hour) // expired, its day not over
	r := w.leave(1, "late", 3*day)
	if got := w.fetch(1); len(got) != 1 || !r.ExpiresAt.Equal(w.now.Add(3*day)) {
		t.Errorf("fetched %q, receipt %+v", got, r)
	}
	w.run(day)
	if got := w.fetch(1); len(got) != 1 {
		t.Errorf("the first day took the second deposit along: %q", got)
	}
}

func TestOneSignatureCoversACommit(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	pass := mailboxtest.Pass(1, 0, w.relay.Peer())
	for _, n := range []int{1, 2, 3, 5, 64, 1024, 1030} {
		var receipts []*mailbox.Receipt
		err := w.do(func(tx mailbox.Tx) error {
			for i := range n {
				body := []byte(strings.Repeat("x", i%100) + string(rune(n)) + string(rune(0x4e00+i)))
				r, err := w.relay.Deposit(tx, w.now, mailbox.Deposit{Box: mailboxtest.Box(1), Envelope: body, Expires: t0.Add(day), Pass: pass})
				if err != nil {
					return err
				}
				receipts = append(receipts, r)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sigs := map[[64]byte]bool{}
		for i, r := range receipts {
			sigs[r.Sig] = true
			parsed, err := mailbox.ParseReceipt(r.Bytes())
			if err != nil {
				t.Fatalf("%d of %d: %v", i, n, err)
			}
			if err := parsed.Verify(w.relay.Peer(), mailboxtest.Box(1), r.Envelope); err != nil {
				t.Fatalf("%d of %d: %v", i, n, err)
			}
		}
		if want := (n + 1023) / 1024; len(sigs) != want {
			t.Errorf("%d receipts: %d signatures, want %d", n, len(sigs), want)
		}
	}
}

func TestAFailedTransactionSignsNothing(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	var r *mailbox.Receipt
	stop := errors.New("stop")
	err := w.do(func(tx mailbox.Tx) error {
		r, _ = w.relay.Deposit(tx, w.now, w.byPass(1, 0, "a", day))
		return stop
	})
	if !errors.Is(err, stop) || r.Sig != [64]byte{} {
		t.Errorf("err %v, signature %x", err, r.Sig)
	}
	w.leave(1, "b", day)
	if r.Sig != [64]byte{} {
		t.Error("the next commit signed it")
	}
}
