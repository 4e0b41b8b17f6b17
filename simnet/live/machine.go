package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// listenPort is where nodes listen.
const listenPort = 4001

// machine is one device or relay: a place on the network, a folder, and a node while it is on.
type machine struct {
	place
	town *Town
	home string
	skew time.Duration

	id    string        // of the device
	node  *p2p.Node     // nil: off
	ended chan struct{} // closed when the node before is closed, and nobody follows it
	quiet chan struct{} // closed when nobody follows this one
	from  uint64        // events that were seen
	watch context.CancelFunc
}

func (t *Town) machine(name string, relay bool) *machine {
	m := &machine{place: place{name: name}, town: t, home: filepath.Join(t.dir, name), ended: make(chan struct{})}
	m.relay = relay
	close(m.ended)
	t.net.add(&m.place)
	return m
}

// now is the machine's clock.
func (m *machine) now() time.Time { return time.Now().Add(m.town.shift + m.skew) }

// listen is where a machine can be dialled. Relays take TCP, too, by which mail is fetched; between devices QUIC comes first anyway.
func (m *machine) listen() []string {
	at := []string{fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", m.at, listenPort)}
	if m.relay {
		at = append(at, fmt.Sprintf("/ip4/%s/tcp/%d", m.at, listenPort))
	}
	return at
}

// identity makes the home of a first device, or of a relay.
func (m *machine) identity() error {
	_, _, err := p2p.Init(m.home, p2p.InitParams{Name: m.name, DeviceName: m.name, Now: m.now})
	return err
}

// link makes the home of a further device of another's person.
func (m *machine) link(ctx context.Context, first *machine) error {
	var text string
	err := first.do(ctx, func(e *node.Engine, t *node.Turn) error {
		v, err := e.OfferDevice(t, 0)
		text = v.Text
		return err
	})
	if err != nil {
		return err
	}
	_, err = p2p.Link(ctx, m.home, p2p.LinkParams{
		Link: text, DeviceName: m.name, Loopback: true, Listen: m.listen(), Network: m.town.net.of(&m.place), Now: m.now,
	})
	return err
}

// start turns the machine on. Loopback is what a node does without AutoNAT, which would dial from sockets of its own.
func (m *machine) start(ctx context.Context) error {
	<-m.ended
	m.town.net.set(func() { m.away = false })
	n, err := p2p.Start(ctx, p2p.Config{
		Home: m.home, Listen: m.listen(), Network: m.town.net.of(&m.place), Loopback: true,
		Hidden: m.nat, Relay: m.relay, Bootstrap: m.town.doors(m), Policy: m.town.policy, Now: m.now,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.node, m.ended = n, make(chan struct{})
	ctx, m.watch = context.WithCancel(context.Background())
	err = n.View(func(tx store.Tx) error {
		v, err := node.Identity(tx)
		m.town.mu.Lock() // whose device it is, others ask while this one starts again
		defer m.town.mu.Unlock()
		m.id = v.Device
		return err
	})
	quiet := make(chan struct{})
	m.quiet = quiet
	m.town.wg.Go(func() {
		defer close(quiet)
		m.follow(ctx, n)
	})
	return err
}

// stop takes the machine from the network, so that it says goodbye to nobody, and ends its node in the background.
func (m *machine) stop() {
	if m.node == nil {
		return
	}
	m.town.net.set(func() { m.away = true })
	n, ended, quiet := m.node, m.ended, m.quiet
	m.node = nil
	m.watch()
	m.town.wg.Go(func() {
		defer close(ended)
		defer func() { <-quiet }()
		if err := n.Close(); err != nil {
			m.town.fail("%s: %v", m.name, err)
		}
	})
}

// wipe takes the machine's disk, all of it or what came to lie there by serving.
func (m *machine) wipe(keepIdentity bool) error {
	m.stop()
	<-m.ended
	if !keepIdentity {
		return os.RemoveAll(m.home)
	}
	var all error
	for _, f := range []string{"relay.db", "relay-files", "dht.db"} {
		all = errors.Join(all, os.RemoveAll(filepath.Join(m.home, f)))
	}
	return all
}

func (m *machine) do(ctx context.Context, fn func(*node.Engine, *node.Turn) error) error {
	return m.node.Do(ctx, fn)
}

// follow hears of what is shown on the device.
func (m *machine) follow(ctx context.Context, n *p2p.Node) {
	for {
		list, err := n.Events(ctx, m.from, 100)
		if err != nil {
			return
		}
		for _, e := range list {
			m.from = e.Cursor
			switch {
			case e.Type == "message":
				m.town.shown(m, e.ID)
			case e.Type == "stage" && e.Stage.Stage == view.StageCustody:
				m.town.inCustody(e.ID, e.Stage.Device)
			}
		}
	}
}

// contacts are how many contacts can be written to.
func (m *machine) contacts() (ready int) {
	_ = m.node.Look(context.Background(), func(tx store.Tx, e *node.Engine, _ time.Time) error {
		list, err := node.Contacts(tx, e)
		for _, c := range list {
			if c.State == "accepted" && c.Devices > 0 && c.Relays > 0 {
				ready++
			}
		}
		return err
	})
	return ready
}
