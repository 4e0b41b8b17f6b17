package scenario

import (
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// LongAbsence is a story: the recipient is away for three weeks while its mailbox changes from epoch to epoch, and one relay of
// three loses its disk; then it is away for 45 days, and what was sent expires.
func LongAbsence(seed uint64) (Result, error) {
	w := simnet.New(seed)
	p := &play{w: w}
	relays := []*simnet.Relay{w.AddRelay("relay-1"), w.AddRelay("relay-2"), w.AddRelay("relay-3")}
	alice, bob := p.person("alice"), p.person("bob")
	p.befriend(alice, bob)
	p.expect("bob's mailbox is elected and told", func() bool { return p.contact(alice, "bob").Relays == len(relays) })

	p.do(func() error { bob.Stop(); return nil })
	var ids []string
	for _, text := range []string{"week one", "week two", "week three"} {
		id := p.send(alice, "bob", text)
		ids = append(ids, id)
		p.expect(text+" is in custody", func() bool { return p.stage(alice, id) == view.StageCustody })
		w.Run(7 * 24 * time.Hour)
	}
	relays[0].Kill()
	relays[0].Wipe()
	relays[0].Restart()
	p.do(bob.Start)
	p.expect("bob has all three", func() bool { return len(bob.Shown) == len(ids) })
	for _, id := range ids {
		p.expect("alice learns of it", func() bool { return p.stage(alice, id) == view.StageDelivered })
	}

	p.do(func() error { bob.Stop(); return nil })
	late := p.send(alice, "bob", "too late")
	w.Run(45 * 24 * time.Hour)
	p.do(bob.Start)
	w.Run(time.Hour)
	p.expect("what is older than 30 days is gone, and said to be", func() bool {
		return len(bob.Shown) == len(ids) && p.stage(alice, late) == view.StageExpired
	})
	return p.result("long-absence", seed)
}

// RemovedDevice is a story: two people with two devices each; one loses a device and removes it; nobody sends it anything from
// then on, and everything still reaches the others.
func RemovedDevice(seed uint64) (Result, error) {
	w := simnet.New(seed)
	p := &play{w: w}
	w.AddRelay("relay-1")
	w.AddRelay("relay-2")
	alice, bob := p.person("alice"), p.person("bob")
	p.befriend(alice, bob)
	phone, tablet := p.link("alice-phone", alice), p.link("bob-tablet", bob)
	p.expect("everybody knows everybody's devices", func() bool {
		return p.contact(bob, "alice").Devices == 2 && p.contact(tablet, "alice").Devices == 2 && p.contact(phone, "bob").Devices == 2
	})
	p.send(bob, "alice", "to all four")
	p.expect("all four have it", func() bool { return len(alice.Shown) == 1 && len(phone.Shown) == 1 && p.count(tablet, "alice") == 1 })

	p.do(func() error { phone.Stop(); return nil })
	p.do(func() error {
		return alice.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, phone.ID()); return err })
	})
	p.expect("bob's devices know the new list", func() bool {
		return p.contact(bob, "alice").Devices == 1 && p.contact(tablet, "alice").Devices == 1
	})
	p.do(phone.Start)
	p.send(tablet, "alice", "not for the phone")
	p.expect("alice has it, and bob's other device", func() bool { return len(alice.Shown) == 2 && p.count(bob, "alice") == 2 })
	w.Run(24 * time.Hour)
	p.expect("the phone does not", func() bool { return len(phone.Shown) == 1 })
	return p.result("removed-device", seed)
}

// link adds a device to the person of old.
func (p *play) link(name string, old *simnet.Device) *simnet.Device {
	var d *simnet.Device
	p.do(func() (err error) {
		if d, err = p.w.LinkDevice(name, old); err != nil {
			return err
		}
		return d.Start()
	})
	return d
}

// count is how many messages a conversation has on a device.
func (p *play) count(d *simnet.Device, with string) int {
	n := 0
	d.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, with, 0)
		n = len(all)
		return err
	})
	return n
}
