package mailbox_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/pass"
)

// members are relays of box 1's set, with the keys 90, 99 and 91.
func members(t *testing.T, l mailbox.Limits, epoch uint32) []*world {
	t.Helper()
	var all []*world
	for _, key := range []int{90, 99, 91} {
		all = append(all, newWorldOf(t, key, l))
	}
	core := all[1].core(1, epoch, 1)
	for _, w := range all {
		_, err := w.commit(1, core)
		wantCode(t, err, 0)
		wantCode(t, w.putSet(w.record(1, core, 90, 99, 91)), 0)
		w.tick(0)
	}
	return all
}

func (w *world) sum() (sum [32]byte) {
	_ = w.store.View(func(tx mailbox.Tx) error { sum = w.relay.Sum(tx, w.now, mailboxtest.Box(1)); return nil })
	return sum
}

// compare asks w, as the relay from, about box 1.
func (w *world) compare(from []byte, sum [32]byte) (c []mailbox.Comparison) {
	_ = w.store.View(func(tx mailbox.Tx) error {
		c = w.relay.Compare(tx, w.now, from, []mailbox.BoxSum{{Box: mailboxtest.Box(1), Sum: sum}, {Box: mailbox.ID{1}}})
		return nil
	})
	return c
}

func (w *world) digest(from []byte, after uint64) (page []mailbox.Held, more bool, err error) {
	err = w.store.View(func(tx mailbox.Tx) (err error) {
		page, more, err = w.relay.Digest(tx, w.now, from, mailboxtest.Box(1), after)
		return err
	})
	return page, more, err
}

func (w *world) copies(from []byte, ids ...mailbox.EnvelopeID) (c []mailbox.Copy, err error) {
	err = w.store.View(func(tx mailbox.Tx) (err error) {
		c, err = w.relay.Copies(tx, w.now, from, mailboxtest.Box(1), ids)
		return err
	})
	return c, err
}

func (w *world) adopt(c mailbox.Copy) (stored bool, err error) {
	err = w.do(func(tx mailbox.Tx) (err error) {
		stored, err = w.relay.Adopt(tx, w.now, peer(90).ID, mailboxtest.Box(1), c)
		return err
	})
	return stored, err
}

func (w *world) possess(ids ...mailbox.EnvelopeID) (p []mailbox.Possession) {
	w.t.Helper()
	err := w.store.View(func(tx mailbox.Tx) (err error) {
		p, err = w.relay.Possess(tx, w.now, mailboxtest.Box(1), [32]byte{7}, ids)
		return err
	})
	wantCode(w.t, err, 0)
	return p
}

// pull has w fetch from another relay whatever it lacks, page by page.
func (w *world) pull(from *world) (stored int) {
	w.t.Helper()
	var after uint64
	for more := true; more; {
		var page []mailbox.Held
		var err error
		page, more, err = from.digest(w.relay.Peer(), after)
		wantCode(w.t, err, 0)
		for part := range slices.Chunk(page, mailbox.MaxCopies) {
			var ids []mailbox.EnvelopeID
			for _, h := range part {
				ids, after = append(ids, h.ID), h.Seq
			}
			for len(ids) > 0 {
				copies, err := from.copies(w.relay.Peer(), ids...)
				wantCode(w.t, err, 0)
				if len(copies) == 0 {
					break
				}
				ids = ids[len(copies):]
				for _, c := range copies {
					ok, err := w.adopt(c)
					if err != nil && !w.now.After(from.now) { // a clock ahead finds things expired
						w.t.Fatal(err)
					}
					if ok {
						stored++
					}
				}
			}
		}
	}
	return stored
}

func id(text string) mailbox.EnvelopeID { return mailbox.EnvelopeIDOf([]byte(text)) }

func TestACoMemberPullsWhatItLacks(t *testing.T) {
	all := members(t, mailbox.Limits{FrontWork: 4}, epoch)
	a, b := all[0], all[1]
	const letters = mailbox.MaxDigest + 100
	letter := a.byPass(1, 3, "", 3*day)
	for i := range letters {
		letter.Envelope = fmt.Appendf(nil, "letter %d", i)
		_, err := a.deposit(letter)
		wantCode(t, err, 0)
	}
	_, err := a.deposit(a.byWork(1, "a stranger's", day))
	wantCode(t, err, 0)
	a.leave(1, "for an hour", hour)
	a.leave(1, "acknowledged", day)
	wantCode(t, a.ack(1, "acknowledged"), 0)
	for _, w := range all {
		w.tick(hour)
	}

	want := []mailbox.Comparison{mailbox.Differs, mailbox.NotHere}
	if got := a.compare(b.relay.Peer(), b.sum()); !slices.Equal(got, want) {
		t.Errorf("before: %v", got)
	}
	if got := b.pull(a); got != letters+1 {
		t.Errorf("pulled %d, want %d", got, letters+1)
	}
	if got := a.compare(b.relay.Peer(), b.sum()); got[0] != mailbox.Same {
		t.Errorf("after: %v", got)
	}
	if got, want := b.total(), a.total(); got.Count != want.Count-1 || got.Tombs != 0 { // a still has the expired one
		t.Errorf("%+v here, %+v there", got, want)
	}
	if got := all[2].pull(b); got != letters+1 { // by what b learned of certificates and work
		t.Errorf("the third pulled %d from the second", got)
	}
	if got := b.pull(a); got != 0 {
		t.Errorf("pulled %d again", got)
	}
}

// What a relay holds is told to the relays of the newest set it knows alone.
func TestRepairIsForTheNewestSet(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	a := all[0]
	a.leave(1, "secret", day)
	newer := a.record(1, a.core(1, epoch, 2, peer(90), peer(93)), 90, 93)
	refused := func(who []byte, set []byte) {
		t.Helper()
		_, _, err := a.digest(who, 0)
		if r := wantCode(t, err, mailbox.NotMine); set != nil && !bytes.Equal(r.Set, set) {
			t.Error("the refusal does not hold the newest set")
		}
		_, err = a.copies(who, id("secret"))
		wantCode(t, err, mailbox.NotMine)
		if got := a.compare(who, a.sum()); got[0] != mailbox.NotHere {
			t.Errorf("compared: %v", got)
		}
	}
	let := func(who []byte) {
		t.Helper()
		page, more, err := a.digest(who, 0)
		if wantCode(t, err, 0); len(page) != 1 || more || page[0].ID != id("secret") || page[0].Size != 6 {
			t.Errorf("digest %+v, more %v", page, more)
		}
	}
	let(peer(91).ID)
	refused(peer(93).ID, nil)
	wantCode(t, a.putSet(newer), 0)
	let(peer(93).ID) // a new member may ask an old one
	refused(peer(91).ID, newer)
	refused(nil, newer)
}

// At a set change the relay that left serves its co-members and the owner.
func TestARelayThatLeftTheSetHandsOver(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	old, fresh := all[1], newWorldOf(t, 93, mailbox.Limits{})
	old.leave(1, "kept", day)
	core := old.core(1, epoch, 2, peer(90), peer(93), peer(91))
	newer := old.record(1, core, 90, 93, 91)
	_, err := fresh.commit(1, core)
	wantCode(t, err, 0)
	wantCode(t, fresh.putSet(newer), 0)
	wantCode(t, old.putSet(newer), 0)
	if got := fresh.pull(old); got != 1 {
		t.Errorf("the new member pulled %d", got)
	}
	if got := old.fetch(1); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("the owner finds %q at the old member", got)
	}
	c, err := all[0].copies(old.relay.Peer(), id("kept"))
	wantCode(t, err, 0) // the other old members have not heard of the change yet
	if len(c) != 0 {
		t.Errorf("copies %+v", c)
	}
	stored, err := old.adopt(mailbox.Copy{Envelope: []byte("late"), Expires: t0.Add(day)})
	wantCode(t, err, mailbox.NotMine) // but it takes nothing more
	if stored {
		t.Error("stored")
	}
	wantCode(t, old.ack(1, "kept"), 0)
}

func TestCopiesFitInAnAnswer(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	a, who := all[0], peer(91).ID
	var ids []mailbox.EnvelopeID
	for i := range 10 {
		text := string(bytes.Repeat([]byte{byte('a' + i)}, 8<<10))
		a.leave(1, text, day)
		ids = append(ids, id(text))
	}
	wantCode(t, a.ack(1, string(bytes.Repeat([]byte{'a'}, 8<<10))), 0)
	c, err := a.copies(who, append([]mailbox.EnvelopeID{{1}}, ids...)...)
	if wantCode(t, err, 0); len(c) != 6 || mailbox.EnvelopeIDOf(c[0].Envelope) != ids[1] {
		t.Errorf("%d copies", len(c))
	}
	_, err = a.copies(who, make([]mailbox.EnvelopeID, mailbox.MaxCopies+1)...)
	wantCode(t, err, mailbox.Malformed)
	wantCode(t, a.store.View(func(tx mailbox.Tx) error {
		sums := make([]mailbox.BoxSum, mailbox.MaxCompare+9)
		if got := a.relay.Compare(tx, a.now, who, sums); len(got) != mailbox.MaxCompare {
			t.Errorf("%d answers", len(got))
		}
		_, err := a.relay.Possess(tx, a.now, mailboxtest.Box(1), [32]byte{}, make([]mailbox.EnvelopeID, mailbox.MaxPossess+1))
		wantCode(t, err, mailbox.Malformed)
		return nil
	}), 0)
}

// copyOf is a copy as an honest relay gives it.
func copyOf(text string, holder int, expires time.Time) mailbox.Copy {
	cert := mailboxtest.Cert(1, holder)
	return mailbox.Copy{Envelope: []byte(text), Expires: expires, Admit: cert.ID(), Cert: cert[:]}
}

func TestACopyIsJudgedAsADeposit(t *testing.T) {
	work := func(text string) (mark [8]byte) {
		nonce, _ := mailbox.SolveWork(mailboxtest.Box(1), id(text), 8, 0, 1<<20)
		copy(mark[:], nonce)
		return mark
	}
	other := mailboxtest.Cert(2, 0)
	for name, c := range map[string]struct {
		change func(*mailbox.Copy)
		epoch  uint32
		want   mailbox.Code
	}{
		"by its pass":         {},
		"without certificate": {change: func(c *mailbox.Copy) { c.Cert = nil }, want: mailbox.NeedWork},
		"under another mark":  {change: func(c *mailbox.Copy) { c.Admit[0] ^= 1 }, want: mailbox.BadPass},
		"half a certificate":  {change: func(c *mailbox.Copy) { c.Cert = c.Cert[:50] }, want: mailbox.BadPass},
		"another box's pass":  {change: func(c *mailbox.Copy) { c.Cert, c.Admit = other[:], other.ID() }, want: mailbox.BadPass},
		"at a front door":     {epoch: dht.FrontDoorEpoch, want: mailbox.BadPass},
		"by work":             {change: func(c *mailbox.Copy) { c.Cert, c.Admit = nil, work("hello") }},
		"by another's work":   {change: func(c *mailbox.Copy) { c.Cert, c.Admit = nil, work("hullo") }, want: mailbox.NeedWork},
		"by work, too large":  {change: func(c *mailbox.Copy) { c.Cert, c.Envelope = nil, make([]byte, 4097) }, want: mailbox.TooLarge},
		"nothing":             {change: func(c *mailbox.Copy) { c.Envelope = nil }, want: mailbox.Malformed},
		"too large":           {change: func(c *mailbox.Copy) { c.Envelope = make([]byte, 8193) }, want: mailbox.TooLarge},
		"expired":             {change: func(c *mailbox.Copy) { c.Expires = t0 }, want: mailbox.Expired},
		"for too long":        {change: func(c *mailbox.Copy) { c.Expires = t0.Add(400 * day) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, mailbox.Limits{FrontWork: 8})
			if c.epoch == 0 {
				c.epoch = epoch
			}
			w.lease(1, c.epoch)
			one := copyOf("hello", 0, t0.Add(day))
			if c.change != nil {
				c.change(&one)
			}
			stored, err := w.adopt(one)
			wantCode(t, err, c.want)
			if stored != (c.want == 0) {
				t.Errorf("stored %v", stored)
			}
			_ = w.store.View(func(tx mailbox.Tx) error {
				if e, ok := tx.Find(mailboxtest.Box(1), mailbox.EnvelopeIDOf(one.Envelope)); ok && e.Expires > t0.Add(mailbox.MaxTTL).UnixMilli() {
					t.Errorf("kept until %d", e.Expires)
				}
				return nil
			})
		})
	}
}

// TestTombstonesStopResurrection acknowledges at one relay what another still
// holds. The control is a relay that never had it: without a tombstone of its
// own the same copy comes in.
func TestTombstonesStopResurrection(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	a, b, control := all[0], all[1], all[2]
	a.leave(1, "read", 3*day)
	b.leave(1, "read", 3*day)
	wantCode(t, a.ack(1, "read"), 0)
	if got := a.pull(b); got != 0 || len(a.fetch(1)) != 0 {
		t.Errorf("an acknowledged envelope came back: %q", a.fetch(1))
	}
	if p := a.possess(id("read"), id("never")); p[0].State != mailbox.Buried || p[1].State != mailbox.Unknown {
		t.Errorf("possession %v", p)
	}
	if got := control.pull(b); got != 1 {
		t.Errorf("control: pulled %d", got)
	}
	if p := control.possess(id("read")); p[0].State != mailbox.Holds || p[0].Proof != mailbox.ProofOf([32]byte{7}, []byte("read")) {
		t.Errorf("possession %v", p)
	}
}

// What expired here does not come back from a relay whose clock is behind.
func TestExpiredMailIsNotAdopted(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	a, b := all[0], all[1]
	a.leave(1, "short", hour)
	b.leave(1, "short", hour)
	a.tick(hour)
	if got := a.pull(b); got != 0 {
		t.Errorf("pulled %d", got)
	}
	longer := copyOf("short", 0, t0.Add(20*day)) // a liar says that it lives on
	stored, err := a.adopt(longer)
	if wantCode(t, err, 0); stored || len(a.fetch(1)) != 0 {
		t.Errorf("what expired came back: %q", a.fetch(1))
	}
}

// TestALyingMemberDoesNotSayHowLongMailLives hands over a copy that expires in an
// hour. The sender's own deposit, or a longer copy of another member, counts all
// the same, also once the first copy has expired. The control is a deposit: for as
// long as its sender said, and no longer.
func TestALyingMemberDoesNotSayHowLongMailLives(t *testing.T) {
	expiry := func(w *world) (at time.Time) {
		_ = w.store.View(func(tx mailbox.Tx) error {
			e, _ := tx.Find(mailboxtest.Box(1), id("letter"))
			at = time.UnixMilli(e.Expires)
			return nil
		})
		return at
	}
	deposit := func(w *world) {
		r := w.leave(1, "letter", 20*day)
		if wantCode(t, r.Verify(w.relay.Peer(), mailboxtest.Box(1), id("letter")), 0); !r.ExpiresAt.Equal(expiry(w)) {
			t.Errorf("the receipt says %v, the store %v", r.ExpiresAt, expiry(w))
		}
	}
	longer := func(w *world) {
		_, err := w.adopt(copyOf("letter", 1, w.now.Add(20*day)))
		wantCode(t, err, 0)
	}
	for name, c := range map[string]struct {
		again   func(*world)
		after   time.Duration
		deposit bool // the control: the first is no copy
		ack     bool
		held    []string
	}{
		"deposit":                 {again: deposit, held: []string{"letter"}},
		"deposit, once expired":   {again: deposit, after: 2 * hour, held: []string{"letter"}},
		"deposit after an ack":    {again: deposit, ack: true},
		"copy":                    {again: longer, held: []string{"letter"}},
		"copy, once expired":      {again: longer, after: 2 * hour, held: []string{"letter"}},
		"copy after an ack":       {again: longer, ack: true},
		"control":                 {again: deposit, deposit: true},
		"control, copy":           {again: longer, deposit: true},
		"control, expired, copy":  {again: longer, deposit: true, after: 2 * hour},
		"control, nothing better": {again: func(*world) {}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, mailbox.Limits{BoxCount: 1}) // nothing needs room twice
			w.lease(1, epoch)
			if c.deposit {
				w.leave(1, "letter", hour)
			} else if stored, err := w.adopt(copyOf("letter", 1, t0.Add(hour))); !stored || err != nil {
				t.Fatal(stored, err)
			}
			if c.ack {
				wantCode(t, w.ack(1, "letter"), 0)
			}
			w.run(c.after)
			c.again(w)
			w.run(3 * hour)
			if got := w.fetch(1); !slices.Equal(got, c.held) {
				t.Errorf("held: %q", got)
			}
			w.run(2 * day)
			if got := w.fetch(1); !slices.Equal(got, c.held) || w.total().Count != len(c.held) {
				t.Errorf("days later: %q, %+v", got, w.total())
			}
		})
	}
}

// Liars may say that a copy lives on and on: it is written anew for a day at least,
// and ends 30 days after the first.
func TestCopiesDoNotLiveOnAndOn(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	written := 0
	for w.now.Before(t0.Add(29 * day)) {
		for i := range 24 {
			if stored, _ := w.adopt(copyOf("letter", 0, w.now.Add(day/2+time.Duration(i)*hour))); stored {
				written++
			}
		}
		w.run(12 * hour)
	}
	if written < 10 || written > 30 {
		t.Errorf("written %d times", written)
	}
	_, _ = w.adopt(copyOf("letter", 0, w.now.Add(30*day)))
	w.run(t0.Add(mailbox.MaxTTL).Sub(w.now))
	if got := w.fetch(1); len(got) != 0 {
		t.Errorf("held: %q", got)
	}
}

// A copy is charged to whom the relay that gave it says. A deposit is charged to its pass,
// once, and a stranger's needs its work.
func TestADepositInThePlaceOfACopyIsAdmitted(t *testing.T) {
	w := newWorld(t, mailbox.Limits{FrontWork: 8})
	w.lease(1, epoch)
	_, err := w.adopt(copyOf("letter", 1, t0.Add(hour)))
	wantCode(t, err, 0)
	d := w.byPass(1, 0, "letter", 20*day)
	for name, spoil := range map[string]func(*mailbox.Deposit){
		"BadPass":  func(d *mailbox.Deposit) { d.Pass = mailboxtest.Pass(2, 0, w.relay.Peer()) },
		"NeedWork": func(d *mailbox.Deposit) { d.Pass = nil },
	} {
		bad := d
		spoil(&bad)
		_, vetted := w.vet(bad)
		_, err := w.deposit(bad)
		want := map[string]mailbox.Code{"BadPass": mailbox.BadPass, "NeedWork": mailbox.NeedWork}[name]
		wantCode(t, vetted, want)
		wantCode(t, err, want)
	}
	d.Vetted, err = w.vet(d)
	wantCode(t, err, 0)
	_, err = w.deposit(d)
	wantCode(t, err, 0)
	_ = w.store.View(func(tx mailbox.Tx) error {
		for holder, want := range []int{1, 0} {
			cert := mailboxtest.Cert(1, holder)
			_, known := tx.Pass(mailboxtest.Box(1), cert.ID())
			if got := tx.By(mailboxtest.Box(1), cert.ID()); got.Count != want || known != (want > 0) {
				t.Errorf("pass %d: %+v, certificate %v", holder, got, known)
			}
		}
		return nil
	})
}

// TestClockJumpsDoNotSpoilRepair jumps one relay's clock by 31 days and back:
// it deletes nothing, takes nothing for longer than 30 days, and afterwards
// holds what the others hold.
func TestClockJumpsDoNotSpoilRepair(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": 31 * day, "back": -31 * day} {
		t.Run(name, func(t *testing.T) {
			all := members(t, mailbox.Limits{}, epoch)
			a, b := all[0], all[1]
			a.leave(1, "both", 5*day)
			b.leave(1, "both", 5*day)
			b.leave(1, "one", 5*day)
			right := a.now
			a.tick(jump)
			a.pull(b)
			a.now = right.Add(hour)
			b.now = a.now
			a.tick(0)
			a.pull(b)
			if got := a.fetch(1); len(got) != 2 {
				t.Errorf("after the jump: %q", got)
			}
			if got := a.compare(b.relay.Peer(), b.sum()); got[0] != mailbox.Same {
				t.Errorf("compared: %v", got)
			}
			_ = a.store.View(func(tx mailbox.Tx) error {
				tx.List(mailboxtest.Box(1), 0, func(e mailbox.Entry) bool {
					if e.Expires != right.Add(5*day).UnixMilli() {
						t.Errorf("kept until %d", e.Expires)
					}
					return true
				})
				return nil
			})
		})
	}
}

// TestALyingMemberIsBoundByThePassesItSaw has a co-member make up envelopes
// under the certificate of a contact. They take three quarters of that pass's
// room: the contact and all others go on depositing. The control shows that the
// room which is left is really the pass's last.
func TestALyingMemberIsBoundByThePassesItSaw(t *testing.T) {
	w := newWorld(t, mailbox.Limits{PassCount: 8, BoxCount: 100, FrontWork: 12})
	w.lease(1, epoch)
	w.leave(1, "seen by the liar", day)
	adopted := 0
	for i := range 100 {
		stored, err := w.adopt(copyOf(fmt.Sprint("made up ", i), 0, t0.Add(day)))
		if err != nil {
			wantCode(t, err, mailbox.Full)
		}
		if stored {
			adopted++
		}
	}
	if adopted != 5 {
		t.Errorf("%d made up envelopes came in", adopted)
	}
	for i := range 2 {
		w.leave(1, fmt.Sprint("the contact ", i), day)
	}
	_, err := w.deposit(w.byPass(1, 0, "control", day))
	wantCode(t, err, mailbox.Full)
	_, err = w.deposit(w.byPass(1, 1, "another contact", day))
	wantCode(t, err, 0)
	strangers := 0
	for i := range 1000 { // and a stranger's envelope costs work, also second-hand
		if stored, _ := w.adopt(mailbox.Copy{Envelope: fmt.Appendf(nil, "stranger %d", i), Expires: t0.Add(day)}); stored {
			strangers++
		}
	}
	if strangers > 10 {
		t.Errorf("%d of 1000 envelopes without work came in", strangers)
	}
	unknown := pass.Issue(mailboxtest.Key(8), pub(mailboxtest.Key(9)))
	_, err = w.adopt(mailbox.Copy{Envelope: []byte("x"), Expires: t0.Add(day), Admit: unknown.ID(), Cert: unknown[:]})
	wantCode(t, err, mailbox.BadPass)
}

// Mail outlives its lease by up to 30 days, and so does repair.
func TestRepairGoesOnAfterTheLease(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	a, b := all[0], all[1]
	a.run(7 * day)
	a.leave(1, "late", mailbox.MaxTTL)
	a.run(20 * day) // the lease is over
	b.run(27 * day)
	_, err := b.deposit(b.byPass(1, 0, "new", day))
	wantCode(t, err, mailbox.NotMine)
	if got := b.pull(a); got != 1 {
		t.Errorf("pulled %d", got)
	}
	b.run(30 * day)
	_, err = b.adopt(copyOf("later", 0, b.now.Add(day)))
	wantCode(t, err, mailbox.NotMine)
}

func TestALeavingRelayTakesNoNewBoxes(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	leave := func(at time.Time) error {
		return w.do(func(tx mailbox.Tx) error { return w.relay.Leave(tx, w.now, at) })
	}
	wantCode(t, leave(t0.Add(-hour)), mailbox.Malformed)
	wantCode(t, leave(t0.Add(day)), 0)
	wantCode(t, w.reserve(2, w.reserveSig(2)), mailbox.NotServing)
	_, err := w.commit(1, w.core(1, epoch, 2))
	wantCode(t, err, mailbox.NotServing)
	w.leave(1, "mail goes on", day)
	stored, err := w.adopt(copyOf("and repair", 0, t0.Add(day)))
	if wantCode(t, err, 0); !stored {
		t.Error("not adopted")
	}
	wantCode(t, leave(time.Time{}), 0)
	_, err = w.commit(1, w.core(1, epoch, 2))
	wantCode(t, err, 0)
}

func TestRoomComesBackWithAnAck(t *testing.T) {
	for name, c := range map[string]struct {
		limits mailbox.Limits
		epoch  uint32
	}{
		"count":      {mailbox.Limits{BoxCount: 1}, epoch},
		"bytes":      {mailbox.Limits{BoxBytes: mailbox.MaxEnvelope}, epoch},
		"front door": {mailbox.Limits{FrontCount: 1, NoWork: true}, dht.FrontDoorEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.limits)
			room := func(box mailbox.ID) (ok bool) {
				_ = w.store.View(func(tx mailbox.Tx) error { ok, _ = w.relay.Room(tx, w.now, box); return nil })
				return ok
			}
			w.lease(1, c.epoch)
			if !room(mailboxtest.Box(1)) || !room(mailbox.ID{1}) {
				t.Error("no room in an empty box, or in none")
			}
			d := w.byPass(1, 0, "x", day)
			if c.epoch == dht.FrontDoorEpoch {
				d.Pass = nil
			}
			_, err := w.deposit(d)
			wantCode(t, err, 0)
			if room(mailboxtest.Box(1)) {
				t.Error("room in a full box")
			}
			wantCode(t, w.ack(1, "x"), 0)
			if !room(mailboxtest.Box(1)) {
				t.Error("an ack made no room")
			}
		})
	}
}

// spoilt is a Tx whose disk has lost the bytes of one envelope.
type spoilt struct {
	mailbox.Tx
	lost map[mailbox.EnvelopeID]bool
}

func (s spoilt) Body(box mailbox.ID, e mailbox.Entry) ([]byte, error) {
	if s.lost[e.ID] {
		return nil, mailbox.ErrDamaged
	}
	return s.Tx.Body(box, e)
}

func (s spoilt) Mend(box mailbox.ID, e mailbox.Entry, envelope []byte) error {
	delete(s.lost, e.ID)
	return s.Tx.Mend(box, e, envelope)
}

func TestDamageIsNotServedAndMended(t *testing.T) {
	all := members(t, mailbox.Limits{}, epoch)
	w := all[0]
	w.leave(1, "whole", day)
	w.leave(1, "spoilt", day)
	wantCode(t, w.do(func(tx mailbox.Tx) error {
		bad, box := spoilt{tx, map[mailbox.EnvelopeID]bool{id("spoilt"): true}}, mailboxtest.Box(1)
		look := func() (copies, holds int) {
			c, err := w.relay.Copies(bad, w.now, peer(91).ID, box, []mailbox.EnvelopeID{id("whole"), id("spoilt")})
			wantCode(t, err, 0)
			p, err := w.relay.Possess(bad, w.now, box, [32]byte{}, []mailbox.EnvelopeID{id("whole"), id("spoilt")})
			wantCode(t, err, 0)
			for _, x := range p {
				holds += int(x.State)
			}
			return len(c), holds
		}
		if c, h := look(); c != 1 || h != 1 {
			t.Errorf("damaged: %d copies, %d held", c, h)
		}
		for text, want := range map[string]bool{"spoilt": true, "whole": false, "unknown": false} {
			if got, err := w.relay.Mend(bad, box, []byte(text)); got != want || err != nil {
				t.Errorf("mend %q: %v, %v", text, got, err)
			}
		}
		if c, h := look(); c != 2 || h != 2 {
			t.Errorf("mended: %d copies, %d held", c, h)
		}
		return nil
	}), 0)
}
