package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/simnet"
)

// texts are what a device shows of a conversation, in order.
func texts(d *simnet.Device, who string) (out string) {
	d.View(func(tx store.Tx) error {
		list, err := talk.Messages(tx, who, 0)
		for _, m := range list {
			out += m.Text + ";"
		}
		return err
	})
	return out
}

// A new device gets the last month from another of its person, and one that was away for longer than relays keep mail
// gets what it missed. In the control the other device is away as well: then nobody has it.
func TestHistoryFollows(t *testing.T) {
	s, laptop, bob := friends(t, 11, 3)
	want := ""
	write := func(n int, pause time.Duration) {
		for i := range n {
			from, to, name := laptop, "bob", "alice"
			if i%2 == 1 {
				from, to, name = bob, "alice", "bob"
			}
			text := fmt.Sprintf("%s %d", name, len(want))
			s.text(from, to, text)
			want += text + ";"
			s.w.Run(pause)
		}
	}
	write(6, time.Hour)
	phone, err := s.w.LinkDevice("alice-phone", laptop)
	s.must(err)
	s.must(phone.Start())
	s.w.Run(time.Hour)
	if got := texts(phone, "bob"); got != want {
		t.Fatalf("the new device shows %q, want %q\n%s", got, want, tail(s.w))
	}

	phone.Stop()
	write(4, 2*24*time.Hour)
	s.w.Run(31 * 24 * time.Hour)
	laptop.Stop()
	s.must(phone.Start())
	s.w.Run(24 * time.Hour)
	if texts(phone, "bob") == want {
		t.Error("control: the phone has everything while no other device is there: relays kept it for too long")
	}
	s.must(laptop.Start())
	s.w.Run(12 * time.Hour)
	if got := texts(phone, "bob"); got != want {
		t.Fatalf("after 39 days the phone shows %q, want %q\n%s", got, want, tail(s.w))
	}
	if got := texts(laptop, "bob"); got != want {
		t.Fatalf("the laptop shows %q, want %q", got, want)
	}
}

// Somebody who writes before she knows of a new device of ours seals for the others only: the device has it a little
// later nonetheless, unread.
func TestANewDeviceMissesNothing(t *testing.T) {
	s, laptop, bob := friends(t, 12, 3)
	s.w.Part("alice")
	phone, err := s.w.LinkDevice("bob-phone", bob)
	s.must(err)
	s.must(phone.Start())
	s.w.Run(time.Hour)
	s.text(laptop, "bob", "before I knew")
	s.w.Heal()
	s.w.Run(3 * time.Second)
	if texts(bob, "alice") == "" || texts(phone, "alice") != "" {
		t.Fatalf("control: the desk shows %q and the phone %q: nothing is missing", texts(bob, "alice"), texts(phone, "alice"))
	}
	s.w.Run(time.Minute)
	if got := texts(phone, "alice"); got != "before I knew;" {
		t.Fatalf("the phone shows %q\n%s", got, tail(s.w))
	}
	phone.View(func(tx store.Tx) error {
		if c, err := talk.Find(tx, "alice"); err != nil || c.Unread != 1 {
			t.Errorf("%v unread, %v", c, err)
		}
		return nil
	})
}
