package repair_test

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/pass"
)

const hour = time.Hour

// three members and two standbys share box 1; each member got some of the mail.
func scattered(t *testing.T) *world {
	w := newWorld(t, 5, 1)
	w.open(1, 1, 2, 0, 1, 2, 3, 4)
	for i, text := range texts(30) {
		w.relays[i%3].deposit(1, text)
	}
	return w
}

func (w *world) holds(relay, n int) bool {
	return slices.Equal(w.relays[relay].texts(1), texts(n))
}

func TestMembersCompleteEachOther(t *testing.T) {
	for _, off := range []bool{true, false} {
		w := scattered(t)
		w.off = off
		w.run(10 * time.Minute) // a new set is compared at once
		for i := range 3 {
			if w.holds(i, 30) == off {
				t.Errorf("repair off %t: member %d holds %d", off, i, len(w.relays[i].texts(1)))
			}
		}
		for i := 3; i < 5; i++ {
			if got := w.relays[i].texts(1); len(got) > 0 {
				t.Errorf("standby %d holds %d while all members live", i, len(got))
			}
		}
	}
}

func TestAWipedMemberIsRefilled(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	w.relays[1].wipe()
	w.run(2 * hour)
	if !w.holds(1, 30) {
		t.Errorf("holds %d", len(w.relays[1].texts(1)))
	}
	w.run(2 * hour)
	if s := w.relays[0].planner.Status(w.now); s.Deficit != 0 || s.Boxes != 1 || s.Peers != 4 {
		t.Errorf("%+v", s)
	}
}

// A contact whose pass is used up keeps nobody else's mail from being copied.
func TestAFullPassStandsInNobodysWay(t *testing.T) {
	w := newWorld(t, 2, 1)
	for _, s := range w.relays {
		s.local.Relay = mailbox.NewRelay(s.key, mailbox.Limits{NoWork: true, PassCount: 8})
	}
	w.open(1, 1, 0, 0, 1)
	box, a := mailboxtest.Key(1), w.relays[0]
	byPass := func(holder int, text string) {
		key := mailboxtest.Key(holder)
		cert := pass.Issue(box, key.Public().(ed25519.PublicKey))
		w.must(a.do(func(tx mailbox.Tx) error {
			_, err := a.local.Relay.Deposit(tx, w.now, mailbox.Deposit{
				Box: mailboxtest.Box(1), Envelope: []byte(text), Expires: w.now.Add(24 * hour),
				Pass: pass.Use(key, cert, a.peer.ID, mailboxtest.Box(1)),
			})
			return err
		}))
	}
	all := texts(12)
	for i, text := range all {
		byPass(90+i/8, text) // eight by the one, then four by the other
	}
	w.run(10 * time.Minute)
	if got, want := w.relays[1].texts(1), append(slices.Clone(all[:6]), all[8:]...); !slices.Equal(got, want) {
		t.Errorf("holds %v", got) // six: a quarter of a pass is kept for deposits
	}
}

func TestStandbysTakeOverInTurn(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	w.relays[1].up = false
	w.run(11*hour + 30*time.Minute)
	if len(w.relays[3].texts(1)) > 0 {
		t.Error("the first standby took over early")
	}
	w.run(3 * hour)
	if !w.holds(3, 30) {
		t.Errorf("the first standby holds %d", len(w.relays[3].texts(1)))
	}
	if got := w.relays[0].planner.Status(w.now); got.Lost != 1 || got.Deficit != 1 {
		t.Errorf("%+v", got)
	}
	w.run(3 * 24 * hour)
	if len(w.relays[4].texts(1)) > 0 {
		t.Error("the second standby took over for one lost member")
	}
	w.relays[0].up = false
	w.run(16 * hour)
	if !w.holds(4, 30) {
		t.Errorf("the second standby holds %d", len(w.relays[4].texts(1)))
	}
	// It stays at it, and completes what comes later.
	w.relays[1].up, w.relays[0].up = true, true
	w.relays[1].deposit(1, texts(31)[30])
	w.run(4 * hour)
	for i := range 5 {
		if !w.holds(i, 31) {
			t.Errorf("relay %d holds %d", i, len(w.relays[i].texts(1)))
		}
	}
}

func TestACutOffStandbyTakesNothingOver(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	for i := range 3 {
		w.relays[i].up = false
	}
	w.relays[4].up = false
	w.run(20 * hour)
	if s := w.relays[3].planner.Status(w.now); s.Took != 0 || s.Lost != 0 {
		t.Errorf("whoever reaches nobody knows nothing of others: %+v", s)
	}
}

func TestLiarsAreFound(t *testing.T) {
	for name, lie := range map[string]func(*station){
		"claims all": func(s *station) { s.lies = true },
		"has none":   func(s *station) { s.empty = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := scattered(t)
			w.run(hour)
			lie(w.relays[1])
			w.run(40 * hour)
			if !w.holds(3, 30) {
				t.Errorf("the standby holds %d", len(w.relays[3].texts(1)))
			}
			if got := w.relays[4].texts(1); len(got) > 0 {
				t.Errorf("the second standby holds %d", len(got))
			}
		})
	}
}

func TestTombstonesStopResurrection(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	gone := texts(30)[7]
	w.relays[0].ack(1, gone) // relay 1 and 2 have not heard
	w.relays[2].wipe()
	w.run(5 * hour)
	if slices.Contains(w.relays[0].texts(1), gone) {
		t.Error("an acknowledged envelope came back")
	}
	if !w.holds(1, 30) || !w.holds(2, 30) {
		t.Error("another's tombstone was believed")
	}
	if s := w.relays[1].planner.Status(w.now); s.Deficit != 0 {
		t.Errorf("what the other had acknowledged is no deficit: %+v", s)
	}
}

func TestANewSetIsFilledAndTheOldRelayHandsOver(t *testing.T) {
	w := scattered(t)
	w.off = true // the old members did not even compare
	w.run(hour)
	w.off = false
	w.open(1, 2, 0, 2, 3, 4)
	w.run(3 * hour)
	for i := 2; i < 5; i++ {
		if !w.holds(i, 30) {
			t.Errorf("new member %d holds %d", i, len(w.relays[i].texts(1)))
		}
	}
}

// A relay that was away while its set changed hears of it from the members, and
// hands over what only it has.
func TestARelayHearsOfTheNewerSet(t *testing.T) {
	w := scattered(t)
	w.run(hour)
	w.relays[0].deposit(1, texts(31)[30])
	w.relays[0].up = false
	w.open(1, 2, 0, 2, 3, 4)
	w.run(3 * hour)
	w.relays[0].up = true
	w.run(4 * hour)
	for i := 2; i < 5; i++ {
		if !w.holds(i, 31) {
			t.Errorf("new member %d holds %d", i, len(w.relays[i].texts(1)))
		}
	}
}
