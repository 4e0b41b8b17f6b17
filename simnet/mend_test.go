package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/simnet"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

// town is two people with five relays: three members of bob's mailbox and two
// standbys. Alice has sent while bob was away, three relays have signed.
type town struct {
	*schedule
	alice, bob *simnet.Device
	members    []*simnet.Relay
	standbys   []*simnet.Relay
	texts      int
}

// newTown plays until bob is away and n texts of alice's are in custody.
func newTown(t *testing.T, n int, before func(*town)) *town {
	x := &town{schedule: &schedule{t: t, seed: 7, w: simnet.New(7)}}
	for i := range 5 {
		x.relays = append(x.relays, x.w.AddRelay(fmt.Sprintf("relay-%d", i+1)))
	}
	x.alice, x.bob = x.person("alice"), x.person("bob")
	x.befriend(x.alice, x.bob)
	x.w.Run(10 * time.Minute)
	if before != nil {
		before(x)
	}
	x.bob.Stop()
	x.texts = 0
	x.send(n)
	for _, r := range x.relays {
		if r.Held() > 0 {
			x.members = append(x.members, r)
		} else {
			x.standbys = append(x.standbys, r)
		}
	}
	if len(x.members) != 3 {
		t.Fatalf("%d relays hold the mail\n%s", len(x.members), tail(x.w))
	}
	return x
}

func (x *town) person(name string) *simnet.Device {
	d, err := x.w.AddDevice(name)
	x.must(err)
	x.must(d.Start())
	return d
}

// send has alice send n more texts.
func (x *town) send(n int) {
	for range n {
		x.texts++
		x.must(x.alice.Do(func(e *node.Engine, t *node.Turn) error {
			_, err := e.Send(t, node.SendRequest{To: "bob", Text: fmt.Sprintf("text %d", x.texts)})
			return err
		}))
	}
	x.w.Run(5 * time.Minute)
}

// arrives has bob come back and says how many of the texts he has in the end.
func (x *town) arrives() int {
	x.must(x.bob.Start())
	x.w.Run(6 * hour)
	got := 0
	x.bob.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, "alice", 0)
		got = len(all)
		return err
	})
	x.broken = append(x.broken, x.w.Failures()...)
	if len(x.broken) > 0 {
		x.t.Errorf("%q\n%s", x.broken, tail(x.w))
	}
	return got
}

func (x *town) wantAll() {
	x.t.Helper()
	if got := x.arrives(); got != x.texts {
		x.t.Errorf("%d of %d texts arrived\n%s", got, x.texts, tail(x.w))
	}
}

// gone destroys relays: process and disk, for ever.
func gone(relays ...*simnet.Relay) {
	for _, r := range relays {
		r.Kill()
		r.Wipe()
	}
}

// holders counts the relays that hold all texts.
func (x *town) holders() int {
	n := 0
	for _, r := range x.relays {
		if r.Up() && r.Held() >= x.texts {
			n++
		}
	}
	return n
}

func TestAWipedMemberIsRefilled(t *testing.T) {
	x := newTown(t, 10, nil)
	x.alice.Stop()
	gone(x.members[0])
	x.w.Run(hour)
	x.members[0].Restart()
	x.w.Run(5 * time.Minute)
	if got := x.members[0].Held(); got != 10 {
		t.Errorf("it holds %d", got)
	}
	gone(x.members[1], x.members[2])
	x.wantAll()
}

// One relay after the other is destroyed for ever, and the sender too: as long
// as repair has its time in between, nothing is lost.
func TestMembersDieOneAfterTheOther(t *testing.T) {
	for _, off := range []bool{false, true} {
		x := newTown(t, 10, func(x *town) {
			if off {
				x.w.NoRepair()
			}
		})
		x.alice.Stop()
		gone(x.members[0])
		x.w.Run(11 * hour)
		if got := x.holders(); got != 2 {
			t.Errorf("after 11 hours %d hold all", got)
		}
		x.w.Run(3 * hour)
		if got := x.holders(); off == (got == 3) {
			t.Errorf("repair off %t: %d hold all after 14 hours", off, got)
		}
		gone(x.members[1])
		x.w.Run(15 * hour)
		gone(x.members[2])
		if off {
			if got := x.arrives(); got > 0 {
				t.Errorf("control: %d texts arrive without repair", got)
			}
			continue
		}
		if got := x.holders(); got != 2 {
			t.Errorf("in the end %d hold all", got)
		}
		x.wantAll()
	}
}

// All holders at once are more than repair can mend; the sender's outbox is the
// last replica.
func TestAllHoldersDieAndTheSenderLives(t *testing.T) {
	x := newTown(t, 10, nil)
	gone(x.members...)
	x.w.Run(2 * day)
	x.wantAll()
}

// While bob's mailbox moves, a relay that is cut off takes mail by the old set.
// When it hears of the new one it hands over, and the sender need not be there.
func TestASetChangeLosesNothing(t *testing.T) {
	for _, off := range []bool{false, true} {
		x := newTown(t, 1, func(x *town) {
			if off {
				x.w.NoRepair()
			}
		})
		x.must(x.bob.Start())
		x.w.Run(hour)
		old := x.members[0]
		x.w.Part("alice", old.Name())
		x.w.Run(3 * day) // bob elects others for the relay that is silent
		x.bob.Stop()
		x.send(5)
		if old.Held() < 5 {
			t.Fatalf("the old relay holds %d\n%s", old.Held(), tail(x.w))
		}
		x.alice.Stop()
		x.w.Heal()
		x.w.Run(4 * hour)
		gone(old)
		if got := x.arrives(); off == (got == x.texts) {
			t.Errorf("repair off %t: %d of %d texts arrived\n%s", off, got, x.texts, tail(x.w))
		}
	}
}

func TestADrainedRelayMayGo(t *testing.T) {
	x := newTown(t, 10, nil)
	x.alice.Stop()
	x.members[0].Drain()
	x.w.Run(hour)
	if !x.members[0].Drained() || x.holders() != 4 {
		t.Fatalf("drained %t, %d hold all\n%s", x.members[0].Drained(), x.holders(), tail(x.w))
	}
	gone(x.members[0])
	x.w.Run(10 * day)
	gone(x.members[1])
	x.w.Run(day)
	gone(x.members[2])
	x.wantAll()
}

// A relay that signs and drops is caught by the proof that it cannot give, and
// a standby takes its place.
func TestALiarIsReplaced(t *testing.T) {
	for _, off := range []bool{false, true} {
		x := newTown(t, 1, func(x *town) {
			if off {
				x.w.NoRepair()
			}
		})
		x.members[0].Lie()
		x.send(9)
		x.alice.Stop()
		x.w.Run(2 * day)
		if honest := x.holders() - 1; off == (honest == 3) {
			t.Errorf("repair off %t: %d honest relays hold all\n%s", off, honest, tail(x.w))
		}
	}
}

// A member that alice reaches alone hands copies on, and says that they expire in three hours. Once she reaches the
// others, her own deposits count there, and the letters outlive the liar and her. The control is an alice that never does.
func TestAMemberThatCutsCopiesShortEndsNoMail(t *testing.T) {
	for _, reaches := range []bool{true, false} {
		x := newTown(t, 1, nil)
		liar := x.members[0]
		liar.CutCopies()
		x.w.Part("alice", liar.Name())
		x.send(5)
		x.w.Part("alice")
		x.w.Run(70 * time.Minute)
		if got := x.holders(); got != 3 {
			t.Fatalf("%d hold all\n%s", got, tail(x.w))
		}
		if reaches {
			x.w.Heal()
		}
		x.w.Run(10 * time.Minute)
		if x.standbys[0].Held()+x.standbys[1].Held() > 0 { // she would go there if the members' receipts were too short
			t.Errorf("a deposit does not count at a member that has a copy\n%s", tail(x.w))
		}
		x.alice.Stop()
		x.w.Heal()
		gone(liar)
		x.w.Run(5 * day)
		if got := x.arrives(); got != map[bool]int{true: 6, false: 1}[reaches] {
			t.Errorf("she reaches the others %t: %d of %d texts arrive\n%s", reaches, got, x.texts, tail(x.w))
		}
	}
}

// On a network the first question of a visit arrives after a dial: one relay finds another empty, which then visits it.
func TestVisitsTakeTheirTime(t *testing.T) {
	refilled := func(leg time.Duration) time.Duration {
		x := newTown(t, 3, nil)
		x.w.Connect(simnet.Net{RTT: [][]time.Duration{{2 * leg}}})
		empty := x.members[0]
		gone(empty)
		empty.Restart()
		began := x.w.Now()
		if !x.w.RunUntil(day, func() bool { return empty.Held() == x.texts }) {
			t.Fatalf("legs of %v: not refilled\n%s", leg, tail(x.w))
		}
		return x.w.Now().Sub(began)
	}
	at := refilled(time.Millisecond)
	for _, leg := range []time.Duration{time.Second, 2 * time.Second} {
		if more := (refilled(leg) - at).Seconds() / leg.Seconds(); more < 10 || more > 11 {
			t.Errorf("legs of %v: %.1f legs later, want twice 5 and a tenth of jitter", leg, more)
		}
	}
}
