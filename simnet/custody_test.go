package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// friends are two people with a device each, who know each other, among relays.
func friends(t *testing.T, seed uint64, relays int) (s *schedule, a, b *simnet.Device) {
	t.Helper()
	s = &schedule{t: t, seed: seed, w: simnet.New(seed)}
	for i := range relays {
		s.relays = append(s.relays, s.w.AddRelay(fmt.Sprintf("relay-%d", i+1)))
	}
	for _, name := range []string{"alice", "bob"} {
		d, err := s.w.AddDevice(name)
		s.must(err)
		s.must(d.Start())
		if a == nil {
			a = d
		} else {
			b = d
		}
	}
	s.befriend(a, b)
	s.w.Run(time.Minute)
	return s, a, b
}

func (s *schedule) text(from *simnet.Device, to, text string) (id string) {
	s.t.Helper()
	s.must(from.Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.Send(t, node.SendRequest{To: to, Text: text})
		id = v.ID
		return err
	}))
	return id
}

func stage(d *simnet.Device, id string) view.Status {
	var s view.Status
	d.View(func(tx store.Tx) (err error) { s, err = talk.Status(tx, id); return err })
	return s
}

// Four of five relays sign and keep nothing. The sender finds out, and the honest one gets the copy if it is in the set at
// all, which it is: the sender may then be gone for ever. In the control nobody is asked, and some messages are lost.
func TestLiarsAreFoundOut(t *testing.T) {
	lost := 0
	for _, deaf := range []bool{false, true} {
		for seed := range uint64(6) {
			if !deaf && seed > 2 || lost > 0 {
				break
			}
			s, a, b := friends(t, seed, 5)
			for _, r := range s.relays[:4] {
				r.Lie()
			}
			if deaf {
				a.Deafen()
			}
			b.Stop()
			id := s.text(a, "bob", "are you there?")
			s.w.Run(4 * 24 * time.Hour) // one holder a day
			if d := stage(a, id).Deliveries[0]; !deaf && (d.Stage != view.StageQueued || d.Custody != 1 || d.Voided != 4) {
				t.Errorf("seed %d: %s, custody %d, voided %d\n%s", seed, d.Stage, d.Custody, d.Voided, tail(s.w))
			}
			a.Stop()
			s.must(b.Start())
			s.w.Run(time.Hour)
			switch n := len(b.Shown); {
			case !deaf && n != 1:
				t.Errorf("seed %d: bob sees %d messages\n%s", seed, n, tail(s.w))
			case deaf && n == 0:
				lost++
			}
		}
	}
	if lost == 0 {
		t.Error("control: nothing is lost without audits")
	}
}

// A box that is full takes the next message when its owner has emptied it: the relay says so, and no clock of the sender
// has a part in it.
func TestRoomIsTold(t *testing.T) {
	s, a, b := friends(t, 3, 1)
	b.Stop()
	s.relays[0].Limit(mailbox.Limits{BoxCount: 2})
	var ids []string
	for i := range 8 {
		ids = append(ids, s.text(a, "bob", fmt.Sprintf("%d", i)))
	}
	s.w.Run(time.Minute)
	full := 0
	for _, id := range ids {
		if stage(a, id).Stage == view.StageFull {
			full++
		}
	}
	if full != 6 {
		t.Fatalf("control: %d of 8 found it full\n%s", full, tail(s.w))
	}
	s.must(b.Start())
	s.w.Run(30 * time.Second)
	if len(b.Shown) != 8 {
		t.Errorf("after half a minute bob sees %d of 8\n%s", len(b.Shown), tail(s.w))
	}
}
