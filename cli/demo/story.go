package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kith-im/kith/cli/child"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/view"
)

// story is one run.
type story struct {
	cfg          Config
	dir          string
	begun, since time.Time
	number       int

	relays []*child.Relay
	laptop *device // Alice's, the admin device
	phone  *device // Alice's
	bob    *device
	carol  *device
	sent   []*message
}

// message is one text and the devices that have to show it: the recipient's and the author's other ones.
type message struct {
	id, text string
	from     *device
	devices  []*device
}

// play is the story, act by act.
func (s *story) play(ctx context.Context) error {
	s.since = s.begun
	for _, act := range []func(context.Context) error{
		s.raiseRelays, s.meetPeople, s.elect, s.linkPhone, s.invite, s.chat, s.group, s.file, s.react,
		s.bobLeaves, s.sendAway, s.phoneShows, s.killRelay, s.bobReturns, s.bobReads, s.reply, s.settle,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) raiseRelays(ctx context.Context) error {
	s.relays = make([]*child.Relay, relays)
	errs := make([]error, relays)
	var all sync.WaitGroup
	for i := range relays {
		all.Go(func() { s.relays[i], errs[i] = child.Start(ctx, s.cfg.Exe, s.path(fmt.Sprintf("relay%d", i+1)), "") })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.say("relays", "%d relays run, each a process of its own", relays)
	return nil
}

func (s *story) peers() []dht.Peer {
	var out []dht.Peer
	for _, r := range s.relays {
		out = append(out, r.Self)
	}
	return out
}

// person makes an identity and starts its first device.
func (s *story) person(ctx context.Context, name, deviceName string) (*device, error) {
	home := s.path(name + "-" + deviceName)
	title := strings.ToUpper(name[:1]) + name[1:]
	if _, _, err := p2p.Init(home, p2p.InitParams{Name: title, DeviceName: deviceName}); err != nil {
		return nil, err
	}
	d, err := newDevice(title+"'s "+deviceName, home, s.peers())
	if err != nil {
		return nil, err
	}
	return d, d.start(ctx)
}

func (s *story) meetPeople(ctx context.Context) error {
	var err [3]error
	var all sync.WaitGroup
	all.Go(func() { s.laptop, err[0] = s.person(ctx, "alice", "laptop") })
	all.Go(func() { s.bob, err[1] = s.person(ctx, "bob", "laptop") })
	all.Go(func() { s.carol, err[2] = s.person(ctx, "carol", "laptop") })
	all.Wait()
	if err := errors.Join(err[:]...); err != nil {
		return err
	}
	s.say("people", "Alice, Bob and Carol have an identity and a node each")
	return nil
}

func (s *story) linkPhone(ctx context.Context) error {
	var offer view.Invite
	err := s.laptop.node.Do(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		offer, err = e.OfferDevice(t, time.Hour)
		return err
	})
	if err != nil {
		return err
	}
	home := s.path("alice-phone")
	if s.phone, err = newDevice("Alice's phone", home, s.peers()); err != nil {
		return err
	}
	id, err := p2p.Link(ctx, home, p2p.LinkParams{Link: offer.Text, DeviceName: "phone", Loopback: true, Listen: s.phone.listen})
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if err := s.phone.start(ctx); err != nil {
		return err
	}
	s.say("link", "Alice's phone joins by a link: %d devices, one person", id.Devices)
	return nil
}

func (s *story) invite(ctx context.Context) error {
	if err := s.befriend(ctx, s.bob, "bob"); err != nil {
		return err
	}
	s.say("invite", "Bob opens Alice's invite: contacts on all three devices, verified both ways")
	if err := s.befriend(ctx, s.carol, "carol"); err != nil {
		return err
	}
	s.say("invite", "so does Carol; she and Bob do not know each other")
	return nil
}

// befriend has somebody open an invite of Alice's.
func (s *story) befriend(ctx context.Context, who *device, handle string) error {
	var link view.Invite
	err := s.laptop.node.Do(ctx, func(e *node.Engine, t *node.Turn) (err error) {
		link, err = e.CreateInvite(t, time.Hour)
		return err
	})
	if err != nil {
		return err
	}
	err = who.node.Do(ctx, func(e *node.Engine, t *node.Turn) error {
		_, err := e.Join(t, link.Text, "alice")
		return err
	})
	if err != nil {
		return err
	}
	alice, err := who.contact(ctx, "alice")
	if err != nil {
		return err
	}
	for _, d := range []*device{s.laptop, s.phone} {
		if _, err := d.contact(ctx, handle); err != nil {
			return err
		}
	}
	if !alice.Verified {
		return errors.New("the invite did not verify the contact")
	}
	return nil
}

func (s *story) elect(ctx context.Context) error {
	box, members, err := s.bob.mailbox(ctx, 2)
	if err != nil {
		return err
	}
	s.say("election", "Bob's laptop elected %d of %d relays; %d of them must sign for a message", members, relays, box.W)
	return nil
}

// post sends a text and remembers who has to show it.
func (s *story) post(ctx context.Context, from *device, to, text string, devices ...*device) (*message, error) {
	id, err := from.send(ctx, to, text)
	if err != nil {
		return nil, err
	}
	return s.posted(from, id, text, devices...), nil
}

func (s *story) posted(from *device, id, text string, devices ...*device) *message {
	m := &message{id: id, text: text, from: from, devices: devices}
	s.sent = append(s.sent, m)
	return m
}

func (s *story) chat(ctx context.Context) error {
	m, err := s.post(ctx, s.laptop, "bob", "Hi Bob! Are you there?", s.bob, s.phone)
	if err != nil {
		return err
	}
	if _, err := s.laptop.reached(ctx, m, view.StageDelivered); err != nil {
		return err
	}
	if err := s.phone.has(ctx, m); err != nil {
		return err
	}
	s.say("online", "Alice writes, Bob is there: delivered; her phone shows it too")
	return nil
}

func (s *story) bobLeaves(context.Context) error {
	if err := s.bob.close(); err != nil {
		return err
	}
	s.say("away", "Bob's laptop goes offline")
	return nil
}

func (s *story) sendAway(ctx context.Context) error {
	long := strings.Repeat("All work and no play. ", longText/22+1)[:longText]
	for _, text := range []string{"See you at eight?", long} {
		m, err := s.post(ctx, s.laptop, "bob", text, s.bob, s.phone)
		if err != nil {
			return err
		}
		status, err := s.laptop.reached(ctx, m, view.StageCustody)
		if err != nil {
			return err
		}
		d := toBob(status)
		s.say("custody", "Alice sends %s: %d of %d relays hold it and signed", size(text), d.Custody, d.Replicas)
	}
	return nil
}

func size(text string) string {
	if len(text) > 100 {
		return fmt.Sprintf("%d bytes", len(text))
	}
	return fmt.Sprintf("%q", text)
}

// toBob is the delivery to the one device of Bob.
func toBob(s view.Status) view.Delivery {
	for _, d := range s.Deliveries {
		if !d.Own {
			return d
		}
	}
	return view.Delivery{}
}

// away are the messages that Bob has not seen yet.
func (s *story) away() []*message { return s.sent[len(s.sent)-2:] }

func (s *story) phoneShows(ctx context.Context) error {
	for _, m := range s.away() {
		if err := s.phone.has(ctx, m); err != nil {
			return err
		}
	}
	s.say("sync", "Alice's phone shows both")
	return nil
}

// killRelay kills one that signed for the last message.
func (s *story) killRelay(ctx context.Context) error {
	status, err := s.laptop.reached(ctx, s.away()[1], view.StageCustody)
	if err != nil {
		return err
	}
	for _, receipt := range toBob(status).Receipts {
		for i, r := range s.relays {
			if receipt.Relay != hex.EncodeToString([]byte(r.Peer)) {
				continue
			}
			if err := r.Kill(); err != nil {
				return err
			}
			s.say("kill", "relay %d, which holds them, is killed (SIGKILL)", i+1)
			return nil
		}
	}
	return errors.New("no receipt names one of the relays")
}

func (s *story) bobReturns(ctx context.Context) error {
	if err := s.bob.start(ctx); err != nil {
		return err
	}
	for _, m := range s.away() {
		if err := s.bob.has(ctx, m); err != nil {
			return err
		}
	}
	s.say("return", "Bob's laptop is back and has both")
	for _, m := range s.away() {
		if _, err := s.laptop.reached(ctx, m, view.StageDelivered); err != nil {
			return err
		}
	}
	s.say("delivered", "Alice sees: delivered, acknowledged by Bob's device itself")
	return nil
}

func (s *story) bobReads(ctx context.Context) error {
	err := s.bob.node.Do(ctx, func(e *node.Engine, t *node.Turn) error {
		_, err := e.MarkRead(t, "alice")
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range s.away() {
		if _, err := s.laptop.reached(ctx, m, view.StageRead); err != nil {
			return err
		}
	}
	s.say("read", "Bob reads them; Alice sees: read")
	return nil
}

func (s *story) reply(ctx context.Context) error {
	m, err := s.post(ctx, s.bob, "alice", "Eight is fine.", s.laptop, s.phone)
	if err != nil {
		return err
	}
	if err := everywhere(ctx, m); err != nil {
		return err
	}
	s.say("reply", "Bob answers: on Alice's laptop and on her phone")
	return nil
}

// everywhere waits until each device has shown a message.
func everywhere(ctx context.Context, m *message) error {
	for _, d := range m.devices {
		if err := d.has(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for every acknowledgement: what comes twice has come by then.
func (s *story) settle(ctx context.Context) error {
	for _, m := range s.sent {
		if err := m.from.settled(ctx, m); err != nil {
			return err
		}
	}
	s.say("settled", "every device has acknowledged everything")
	return nil
}

// end takes everything down.
func (s *story) end() {
	var all sync.WaitGroup
	for _, d := range []*device{s.laptop, s.phone, s.bob, s.carol} {
		all.Go(func() { _ = d.close() })
	}
	all.Wait()
	for _, r := range s.relays {
		if r != nil {
			all.Go(r.End)
		}
	}
	all.Wait()
}
