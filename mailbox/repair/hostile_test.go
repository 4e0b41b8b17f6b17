package repair_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/repair"
)

// An owner cannot send a relay to others that never leased its box.
func TestOnlyWhoGaveALeaseIsVisited(t *testing.T) {
	for _, leased := range []bool{false, true} {
		w := newWorld(t, 2, 1)
		s, victim := w.relays[0], w.relays[1]
		core := dht.SetCore{
			Box: mailboxtest.Key(1).Public().(ed25519.PublicKey), Epoch: dht.EpochAt(w.now), Number: 1, R: 2, W: 1,
			Issued: w.now.Truncate(time.Second), NotAfter: w.now.Add(30 * 24 * time.Hour).Truncate(time.Second),
			Members: []dht.Member{{Peer: s.peer}, {Peer: victim.peer, Rank: 1}},
		}
		signed, err := dht.SignSetCore(mailboxtest.Key(1), core)
		w.must(err)
		var leases []dht.Lease
		for _, r := range w.relays[:1+map[bool]int{true: 1}[leased]] {
			w.must(r.do(func(tx mailbox.Tx) error {
				l, err := r.local.Relay.Commit(tx, w.now, signed)
				leases = append(leases, l)
				return err
			}))
		}
		set, err := dht.SignSetRecord(mailboxtest.Key(1), core, leases)
		w.must(err)
		w.must(s.do(func(tx mailbox.Tx) error { return s.local.Relay.PutSet(tx, w.now, set.Bytes()) }))
		w.must(s.store.View(func(tx mailbox.Tx) error { s.planner.Look(tx, w.now, mailboxtest.Box(1)); return nil }))
		if got := len(s.planner.Due(w.now, w.rng)); got != len(leases)-1 {
			t.Errorf("leased %t: %d visits", leased, got)
		}
	}
}

// A relay that knows ever fewer of our boxes not is visited again at once; one
// that never takes them is left alone till the next round.
func TestBoxesThatAreNotTakenBringNoVisit(t *testing.T) {
	for name, c := range map[string]struct{ step, least, most int }{
		"taken": {512, 10, 12},
		"not":   {0, 2, 2},
	} {
		p := repair.New(id(0))
		p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: members(0, 0, 1), Content: true})
		visits, absent := 0, 5000
		for now := mailboxtest.T0; now.Before(mailboxtest.T0.Add(45 * time.Minute)); now = now.Add(time.Second) {
			for _, v := range p.Due(now, seeded()) {
				visits++
				p.Visited(v.Peer.ID, now, repair.Outcome{Absent: absent})
				absent = max(0, absent-c.step)
			}
		}
		if visits < c.least || visits > c.most {
			t.Errorf("%s: %d visits", name, visits)
		}
	}
}

// Whoever leases boxes names relays without end, and gives them what addresses he likes.
func TestWhatSetsNameIsBounded(t *testing.T) {
	p := repair.New(id(0))
	named := func(n int, addrs ...string) dht.Member {
		m := dht.Member{Peer: dht.Peer{ID: id(n)}, Rank: byte(n)}
		for _, a := range addrs {
			m.Peer.Addrs = append(m.Peer.Addrs, []byte(a))
		}
		return m
	}
	addrs := func() (all []string) {
		for _, x := range p.Others(boxID(1)) {
			for _, a := range x.Addrs {
				all = append(all, string(a))
			}
		}
		return all
	}
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: []dht.Member{named(1, "good")}})
	for n := range 3000 {
		set := []dht.Member{named(1, "bad", "bad "+string(rune(n)))}
		for i := range 15 {
			set = append(set, named(2+n*15+i))
		}
		p.Take(mailboxtest.T0, repair.Duty{Box: boxID(2 + n), Version: 1, Members: set})
	}
	if got := addrs(); !slices.Contains(got, "good") || len(got) > 16 {
		t.Errorf("addresses %q", got)
	}
	if got := p.Status(mailboxtest.T0).Peers; got > repair.MaxPeers {
		t.Errorf("%d relays are known", got)
	}
	p.Visited(id(1), mailboxtest.T0, repair.Outcome{Advert: &dht.Advert{Peer: dht.Peer{Addrs: [][]byte{[]byte("own")}}}})
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(9999), Version: 1, Members: []dht.Member{named(1, "bad again")}})
	if got := addrs(); !slices.Equal(got, []string{"own"}) {
		t.Errorf("its own word does not count: %q", got)
	}
}

// counting counts the copies that it hands on.
type counting struct {
	wire
	copies int
}

func (c *counting) Copies(ctx context.Context, p dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID) ([]mailbox.Copy, error) {
	got, err := c.wire.Copies(ctx, p, box, ids)
	c.copies += len(got)
	return got, err
}

// A sender chooses how long each relay keeps an envelope. What ended here is not
// fetched in vain, visit after visit, from who keeps it longer.
func TestWhatExpiredIsNotFetched(t *testing.T) {
	w := newWorld(t, 2, 1)
	w.open(1, 1, 0, 0, 1)
	s, other := w.relays[0], w.relays[1]
	for i := range 10 {
		for r, life := range map[*station]time.Duration{s: time.Hour, other: 29 * 24 * time.Hour} {
			w.must(r.do(func(tx mailbox.Tx) error {
				_, err := r.local.Relay.Deposit(tx, w.now, mailbox.Deposit{
					Box: mailboxtest.Box(1), Envelope: []byte{byte(i)}, Expires: w.now.Add(life),
				})
				return err
			}))
		}
	}
	w.now = w.now.Add(2 * time.Hour)
	c := &counting{wire: wire{s}}
	visit := func() {
		v := repair.Visit{Peer: other.peer, Compare: []mailbox.ID{mailboxtest.Box(1)}}
		if out, err := s.local.Visit(t.Context(), c, v); err != nil || out.Compared != 1 {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if visit(); c.copies > 0 {
		t.Errorf("%d copies fetched of what expired here", c.copies)
	}
	other.deposit(1, "new")
	if visit(); c.copies != 1 {
		t.Errorf("control: %d copies", c.copies)
	}
}

// A member hands over a copy and says that it expires in an hour. It is fetched anew
// from another that has the letter for longer: once it is missed, or once the two
// are compared for something else.
func TestACopyCutShortIsFetchedAnew(t *testing.T) {
	for name, other := range map[string]bool{"once it is missed": false, "for something else": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, 1)
			w.open(1, 1, 0, 0, 1)
			s, honest := w.relays[0], w.relays[1]
			honest.deposit(1, "letter")
			w.must(s.do(func(tx mailbox.Tx) error {
				_, err := s.local.Relay.Adopt(tx, w.now, nil, mailboxtest.Box(1), mailbox.Copy{
					Envelope: []byte("letter"), Expires: w.now.Add(time.Hour),
				})
				return err
			}))
			if other {
				honest.deposit(1, "another")
			} else {
				w.now = w.now.Add(2 * time.Hour)
			}
			c := &counting{wire: wire{s}}
			for range 3 {
				_, err := s.local.Visit(t.Context(), c, repair.Visit{Peer: honest.peer, Compare: []mailbox.ID{mailboxtest.Box(1)}})
				w.must(err)
			}
			want := honest.texts(1)
			if c.copies != len(want) {
				t.Errorf("%d copies fetched", c.copies)
			}
			w.now = w.now.Add(20 * 24 * time.Hour)
			if got := s.texts(1); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// A relay that has lost all but the tombstones of what came first is seen to lack the
// rest, though that is more than one question holds. The control has it all acknowledged.
func TestWhatIsLackedIsFoundBySample(t *testing.T) {
	for name, acked := range map[string]int{"the first": mailbox.MaxPossess, "control, all": 64} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, 1)
			w.open(1, 1, 0, 0, 1)
			s, other := w.relays[0], w.relays[1]
			for i := range 64 {
				text := fmt.Sprintf("text %03d", i)
				s.deposit(1, text)
				if i < acked {
					other.deposit(1, text)
					other.ack(1, text)
				}
			}
			out, err := s.local.Visit(t.Context(), wire{s}, repair.Visit{Peer: other.peer, Compare: []mailbox.ID{mailboxtest.Box(1)}})
			w.must(err)
			if lacks := len(out.Behind) == 1; lacks != (acked < 64) || len(out.Level)+len(out.Behind) != 1 {
				t.Errorf("level %d, behind %d", len(out.Level), len(out.Behind))
			}
		})
	}
}

// Boxes may be large, and whoever shares them may ask to be visited again and again:
// no look of a visit at the store takes long.
func TestLargeBoxesAreComparedInShortLooks(t *testing.T) {
	const held = 3000
	w := newWorld(t, 2, 1)
	s := w.relays[0]
	var boxes []mailbox.ID
	for n := 1; n <= 6; n++ {
		w.open(n, 1, 0, 0, 1)
		boxes = append(boxes, mailboxtest.Box(n))
		for _, r := range w.relays {
			w.must(r.do(func(tx mailbox.Tx) error {
				for i := range uint32(held) {
					body := binary.BigEndian.AppendUint32(nil, i)
					e := mailbox.Entry{
						ID: mailbox.EnvelopeIDOf(body), Size: 4, Stored: w.now.UnixMilli(), Expires: w.now.Add(24 * time.Hour).UnixMilli(),
					}
					if err := tx.Add(mailboxtest.Box(n), e, body); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	store := &mailboxtest.Looks{Store: s.store}
	s.local.Store = store
	out, err := s.local.Visit(t.Context(), wire{s}, repair.Visit{Peer: w.relays[1].peer, Compare: boxes})
	if err != nil || len(out.Level) != len(boxes) || store.Most > 2*held {
		t.Errorf("%d compared, %v, %d entries in one look", len(out.Level), err, store.Most)
	}
}

// Visits of the three grades are told apart, and there is one to a relay at a time.
func TestGradesOfVisits(t *testing.T) {
	p := repair.New(id(0))
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: members(0, 0, 1), Content: true})
	now := mailboxtest.T0
	next := func(want repair.Grade) {
		t.Helper()
		now = now.Add(71 * time.Minute)
		v := p.Due(now, seeded())
		if len(v) != 1 || v[0].Grade != want {
			t.Fatalf("%+v, want grade %d", v, want)
		}
		p.Begin(id(1))
		if again := p.Due(now.Add(71*time.Minute), seeded()); len(again) > 0 || !p.Deadline().IsZero() {
			t.Fatal("two visits at once")
		}
	}
	next(repair.Unknown)
	p.Visited(id(1), now, repair.Outcome{})
	next(repair.Known)
	p.Visited(id(1), now, repair.Outcome{Late: true})
	next(repair.Slow)
	p.Visited(id(1), now, repair.Outcome{})
	now = now.Add(repair.SlowFor)
	next(repair.Known)
	p.Unreachable(id(1), now, seeded())
	next(repair.Slow)
}
