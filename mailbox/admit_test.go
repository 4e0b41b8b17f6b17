package mailbox_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/pass"
)

// TestOnlyItsOwnPassLetsIn tries passes that somebody might have or make.
func TestOnlyItsOwnPassLetsIn(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.lease(2, epoch+1) // the same owner's box of the next epoch, say
	here := w.relay.Peer()
	good := mailboxtest.Pass(1, 0, here)
	forged := pass.Issue(mailboxtest.Key(1000), pub(mailboxtest.Key(1000)))
	flipped := bytes.Clone(good)
	flipped[pass.Size-1] ^= 1
	for name, c := range map[string]struct {
		pass []byte
		want mailbox.Code
	}{
		"its own":                 {pass: good},
		"its own again":           {pass: good},
		"another holder's":        {pass: mailboxtest.Pass(1, 7, here)},
		"another relay's":         {mailboxtest.Pass(1, 0, peer(90).ID), mailbox.BadPass},
		"another box's":           {mailboxtest.Pass(3, 0, here), mailbox.BadPass},
		"another epoch's":         {mailboxtest.Pass(2, 0, here), mailbox.BadPass},
		"certified by the holder": {pass.Use(mailboxtest.Key(1000), forged, here, mailboxtest.Box(1)), mailbox.BadPass},
		"used by a thief":         {pass.Use(mailboxtest.Key(6), mailboxtest.Cert(1, 0), here, mailboxtest.Box(1)), mailbox.BadPass},
		"with a flipped bit":      {flipped, mailbox.BadPass},
		"cut":                     {good[:pass.Size-1], mailbox.BadPass},
		"a certificate alone":     {good[:pass.CertSize], mailbox.BadPass},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the relay remembers what it found good, and nothing else
				d := w.byPass(1, 0, name, day)
				d.Pass = c.pass
				_, err := w.vet(d)
				wantCode(t, err, c.want)
				_, err = w.deposit(d)
				wantCode(t, err, c.want)
			}
		})
	}
	d := w.byPass(2, 0, "a pass that the relay knows, at another box", day)
	d.Pass = good
	_, err := w.deposit(d)
	wantCode(t, err, mailbox.BadPass)
}

func TestPassesSeenAreForgottenAndCheckedAgain(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.leave(1, "first", day)
	other := mailbox.NewRelay(mailboxtest.Key(99), mailbox.Limits{}) // after a restart
	d := w.byPass(1, 0, "second", day)
	wantCode(t, w.do(func(tx mailbox.Tx) error { _, err := other.Deposit(tx, w.now, d); return err }), 0)
	d.Pass[pass.Size-1] ^= 1
	d.Envelope = []byte("third")
	wantCode(t, w.do(func(tx mailbox.Tx) error { _, err := other.Deposit(tx, w.now, d); return err }), mailbox.BadPass)
}

// TestTheWriterTakesVetsWordForSignatures makes the box's key unknown after Vet:
// whoever checks signatures then refuses, which is the control.
func TestTheWriterTakesVetsWordForSignatures(t *testing.T) {
	w := newWorld(t, mailbox.Limits{PassCount: 3})
	w.lease(1, epoch)
	d := w.byPass(1, 0, "one", day)
	v, err := w.vet(d)
	wantCode(t, err, 0)
	stranger := d
	stranger.Pass = nil
	if none, _ := w.vet(stranger); none != (mailbox.Vetted{}) {
		t.Error("a verdict without a pass")
	}
	wantCode(t, w.do(func(tx mailbox.Tx) error {
		return tx.PutBox(d.Box, mailbox.Box{Member: true, End: t0.Add(day)})
	}), 0)
	_, err = w.deposit(d)
	wantCode(t, err, mailbox.BadPass)
	for i := range 3 {
		d.Vetted, d.Envelope = v, []byte{byte(i)}
		again, err := w.vet(d) // nor does Vet check twice
		if wantCode(t, err, 0); again != v {
			t.Error("another verdict")
		}
		_, err = w.deposit(d)
		wantCode(t, err, 0)
	}
	d.Envelope = []byte("quotas hold all the same")
	_, err = w.deposit(d)
	wantCode(t, err, mailbox.Full)
	d.Pass = mailboxtest.Pass(1, 1, w.relay.Peer())
	_, err = w.deposit(d) // the word is for one pass
	wantCode(t, err, mailbox.BadPass)
}

// A box row of the format before passes has no key; the set has it.
func TestTheKeyOfAnOldRowComesFromItsSet(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	forget := func(tx mailbox.Tx) error {
		b, _ := tx.Box(mailboxtest.Box(1))
		b.Key = [32]byte{}
		return tx.PutBox(mailboxtest.Box(1), b)
	}
	wantCode(t, w.do(forget), 0)
	_, err := w.deposit(w.byPass(1, 0, "no set", day))
	wantCode(t, err, mailbox.BadPass)
	wantCode(t, w.putSet(w.record(1, w.core(1, epoch, 1), 90, 99, 91)), 0)
	wantCode(t, w.do(forget), 0)
	w.leave(1, "with a set", day)
}

// flood has strangers try n deposits into a box and counts those let in.
func (w *world) flood(box, n int) (in int) {
	for i := range n {
		_, err := w.deposit(mailbox.Deposit{
			Box: mailboxtest.Box(box), Envelope: fmt.Appendf(nil, "flood %d", i), Expires: w.now.Add(day),
		})
		if err == nil {
			in++
		}
	}
	return in
}

// TestAFloodOfStrangersLeavesContactsMail floods a box and a front door with
// strangers who pay for nothing; the control has them hold one contact's pass.
func TestAFloodOfStrangersLeavesContactsMail(t *testing.T) {
	limits := mailbox.Limits{NoWork: true, BoxCount: 100, PassCount: 100, MaxBytes: 4 * mailbox.BoxFloor}
	contacts := func(w *world) (accepted int) {
		for i := range 100 {
			if _, err := w.deposit(w.byPass(1, i%10, fmt.Sprint("contact ", i), day)); err == nil {
				accepted++
			}
		}
		return accepted
	}
	w := newWorld(t, limits)
	w.lease(1, epoch)
	w.lease(2, dht.FrontDoorEpoch)
	if in := w.flood(1, 10_000) + w.flood(2, 10_000); in != 2*64 {
		t.Errorf("%d strangers were let in", in)
	}
	if got := contacts(w); got != 100 {
		t.Errorf("%d of 100 contacts' deposits were accepted after the flood", got)
	}

	w = newWorld(t, limits)
	w.lease(1, epoch)
	stolen := mailboxtest.Pass(1, 50, w.relay.Peer())
	for i := range 1000 {
		d := mailbox.Deposit{Box: mailboxtest.Box(1), Envelope: fmt.Appendf(nil, "flood %d", i), Expires: w.now.Add(day), Pass: stolen}
		_, _ = w.deposit(d)
	}
	if got := contacts(w); got != 0 {
		t.Errorf("control: %d deposits were accepted though the box is full", got)
	}
}

// Contacts' mail does not take the strangers' room either.
func TestAFullBoxLetsStrangersIn(t *testing.T) {
	w := newWorld(t, mailbox.Limits{NoWork: true, BoxCount: 5})
	w.lease(1, epoch)
	for i := range 5 {
		w.leave(1, fmt.Sprint(i), day)
	}
	_, err := w.deposit(w.byPass(1, 0, "one more", day))
	wantCode(t, err, mailbox.Full)
	if in := w.flood(1, 100); in != 64 {
		t.Errorf("%d strangers were let in", in)
	}
}

// Strangers whose envelopes the owner acknowledges do not use up the
// tombstones of contacts.
func TestTombstonesOfStrangersAreTheirOwn(t *testing.T) {
	w := newWorld(t, mailbox.Limits{NoWork: true, BoxTombs: 8})
	w.lease(1, epoch)
	refused := 0
	for i := range 20 {
		text := fmt.Sprint("stranger ", i)
		d := w.byPass(1, 0, text, day)
		d.Pass = nil
		if _, err := w.deposit(d); err != nil {
			wantCode(t, err, mailbox.Full)
			refused++
			continue
		}
		wantCode(t, w.ack(1, text), 0)
	}
	if refused != 18 {
		t.Errorf("%d of 20 refused", refused)
	}
	for i := range 8 {
		w.leave(1, fmt.Sprint(i), day)
	}
}

func TestWorkRisesWithTheStrangersPlacesInUse(t *testing.T) {
	w := newWorld(t, mailbox.Limits{FrontWork: 4, FrontCount: 8})
	w.lease(1, epoch)
	for used, want := range []byte{4, 4, 5, 5, 6, 6, 7, 7} {
		bare := w.byPass(1, 0, fmt.Sprint("stranger ", used), day)
		bare.Pass = nil
		_, err := w.deposit(bare)
		if r := wantCode(t, err, mailbox.NeedWork); r.Bits != want {
			t.Errorf("%d places in use: %d bits asked, want %d", used, r.Bits, want)
		}
		w.leave(1, fmt.Sprint("contact ", used), day) // does not make it harder
		_, err = w.deposit(w.byWork(1, fmt.Sprint("stranger ", used), day))
		wantCode(t, err, 0)
	}
	_, err := w.deposit(w.byWork(1, "stranger 8", day))
	wantCode(t, err, mailbox.Full)
}

// TestAGreedyPassTakesItsOwnRoomAlone; the control gives one pass the whole box.
func TestAGreedyPassTakesItsOwnRoomAlone(t *testing.T) {
	for name, c := range map[string]struct {
		limits mailbox.Limits
		want   mailbox.Code
	}{
		"by count":          {limits: mailbox.Limits{BoxCount: 20, PassCount: 5}},
		"by bytes":          {limits: mailbox.Limits{BoxBytes: 200, PassBytes: 50}},
		"control: by count": {mailbox.Limits{BoxCount: 20, PassCount: 20}, mailbox.Full},
		"control: by bytes": {mailbox.Limits{BoxBytes: 200, PassBytes: 200}, mailbox.Full},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.limits)
			w.lease(1, epoch)
			for i := range 50 {
				_, err := w.deposit(w.byPass(1, 1, fmt.Sprintf("greedy  %2d", i), day))
				if err != nil {
					wantCode(t, err, mailbox.Full)
				}
			}
			_, err := w.deposit(w.byPass(1, 2, "modest one", day))
			wantCode(t, err, c.want)
			if err := w.ack(1, "greedy   0"); err != nil { // its own place comes free
				t.Fatal(err)
			}
			_, err = w.deposit(w.byPass(1, 1, "greedy  99", day))
			wantCode(t, err, 0)
		})
	}
}

// TestSybilBoxesLeaveEveryFloor has boxes of one owner fill the relay. The box
// of somebody else, who comes later, gets its floor, and nothing above it: that
// is the control which shows that the relay was full.
func TestSybilBoxesLeaveEveryFloor(t *testing.T) {
	const boxes, size = 8, 1024
	w := newWorld(t, mailbox.Limits{MaxBytes: 2 * boxes * mailbox.BoxFloor, BoxCount: 100_000})
	fill := func(box int) (in int) {
		w.lease(box, epoch)
		letter := w.byPass(box, 0, "", day)
		for i := range 10_000 {
			letter.Envelope = append(fmt.Appendf(nil, "%d %d ", box, i), make([]byte, size)...)[:size]
			if _, err := w.deposit(letter); err != nil {
				wantCode(t, err, mailbox.Full)
				return i
			}
		}
		t.Fatal("the relay never fills")
		return 0
	}
	for box := range boxes - 1 {
		fill(1 + box)
	}
	used := w.total()
	if room := w.relay.Limits().MaxOver(used); used.Over > room || room-used.Over >= size+mailbox.EntryCost {
		t.Errorf("a full relay has taken %d of the room of %d", used.Over, room)
	}
	if used.Bytes*10 > 2*boxes*mailbox.BoxFloor*9 {
		t.Errorf("control: its %d bytes alone say that it is full", used.Bytes)
	}
	const floor = mailbox.BoxFloor / (size + mailbox.EntryCost)
	if got := fill(boxes); got != floor {
		t.Errorf("the last box took %d envelopes, its floor is %d", got, floor)
	}
	if used = w.total(); used.Bytes+uint64(used.Count)*mailbox.EntryCost > 2*boxes*mailbox.BoxFloor {
		t.Errorf("the relay holds more than its limit: %+v", used)
	}
	wantCode(t, w.reserve(boxes+1, w.reserveSig(boxes+1)), mailbox.Full) // as many boxes as floors
}

// Tiny envelopes cost what their entries cost.
func TestTinyEnvelopesCannotFillMemory(t *testing.T) {
	w := newWorld(t, mailbox.Limits{MaxBytes: 2 * mailbox.BoxFloor})
	w.lease(1, epoch)
	letter := w.byPass(1, 0, "", day)
	for i := range 10_000 {
		letter.Envelope = []byte{byte(i), byte(i >> 8)}
		if _, err := w.deposit(letter); err != nil {
			wantCode(t, err, mailbox.Full)
			break
		}
	}
	if n := w.total().Count; n != 2*mailbox.BoxFloor/(mailbox.EntryCost+2) {
		t.Errorf("%d entries of two bytes in a relay of %d bytes", n, 2*mailbox.BoxFloor)
	}
}

// A full disk refuses envelopes and nothing else.
type fullDisk struct{ mailbox.Tx }

func (fullDisk) Add(mailbox.ID, mailbox.Entry, []byte) error { return mailbox.ErrDiskFull }

func TestAFullDiskIsARefusal(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	d := w.byPass(1, 0, "x", day)
	do := func(fn func(mailbox.Tx)) {
		if err := w.do(func(tx mailbox.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	do(func(tx mailbox.Tx) { // others of the commit go on
		_, err := w.relay.Deposit(fullDisk{tx}, w.now, d)
		wantCode(t, err, mailbox.Full)
	})
	kept := func() (known bool) {
		do(func(tx mailbox.Tx) { _, known = tx.Pass(d.Box, pass.Cert(d.Pass[:pass.CertSize]).ID()) })
		return known
	}
	if kept() {
		t.Error("a refused deposit leaves a certificate")
	}
	if _, err := w.deposit(d); err != nil || !kept() {
		t.Errorf("control: %v", err)
	}
}

// BenchmarkVet checks the two signatures of a pass.
func BenchmarkVet(b *testing.B) {
	store, r := mailbox.NewMemory(), mailbox.NewRelay(mailboxtest.Key(99), mailbox.Limits{})
	d := mailbox.Deposit{Box: mailboxtest.Box(1), Expires: t0.Add(day), Pass: mailboxtest.Pass(1, 0, r.Peer()), Envelope: make([]byte, 1024)}
	box := mailbox.Box{Member: true, End: t0.Add(day), Key: [32]byte(pub(mailboxtest.Key(1)))}
	err := store.Do(context.Background(), func(tx mailbox.Tx) error {
		err := tx.PutBox(d.Box, box)
		for i := 0; i < b.N && err == nil; i++ {
			_, err = r.Vet(tx, t0, d)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDeposit is a deposit of 1 KiB by a pass that the relay has seen, in
// memory: no disk, no signature.
func BenchmarkDeposit(b *testing.B) {
	store, r := mailbox.NewMemory(), mailbox.NewRelay(mailboxtest.Key(99), mailbox.Limits{
		BoxCount: 1 << 31, BoxBytes: 1 << 50, PassCount: 1 << 31, PassBytes: 1 << 50, MaxBytes: 1 << 50,
	})
	d := mailbox.Deposit{Box: mailboxtest.Box(1), Expires: t0.Add(day), Pass: mailboxtest.Pass(1, 0, r.Peer()), Envelope: make([]byte, 1024)}
	box := mailbox.Box{Member: true, End: t0.Add(day), Key: [32]byte(pub(mailboxtest.Key(1)))}
	err := store.Do(context.Background(), func(tx mailbox.Tx) error { return tx.PutBox(d.Box, box) })
	b.ReportAllocs()
	for i := 0; i < b.N && err == nil; {
		err = store.Do(context.Background(), func(tx mailbox.Tx) error {
			for range min(1024, b.N-i) {
				i++
				d.Envelope[0], d.Envelope[1], d.Envelope[2], d.Envelope[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
				if _, err := r.Deposit(tx, t0, d); err != nil {
					return err
				}
			}
			tx.Receipts().Cut(0)
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
}
