package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// device is one device of a person, in this process. It keeps what its node's events said over restarts.
type device struct {
	name, home string
	listen     []string // the same after each start, as on a person's machine
	bootstrap  []dht.Peer
	node       *p2p.Node
	stop       context.CancelFunc
	done       chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when an event came
	cursor  uint64
	seen    map[string]int // message id -> how often it was shown
	texts   map[string]string
	failed  error // of the event stream
}

func newDevice(name, home string, bootstrap []dht.Peer) (*device, error) {
	listen, err := freePort()
	return &device{
		name: name, home: home, listen: listen, bootstrap: bootstrap,
		changed: make(chan struct{}), seen: map[string]int{}, texts: map[string]string{},
	}, err
}

// freePort is a port of the loopback interface that nobody has, for TCP and QUIC.
func freePort() ([]string, error) {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	port := tcp.Addr().(*net.TCPAddr).Port
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, err
	}
	defer udp.Close()
	return []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port), fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", port)}, nil
}

// start brings the device online.
func (d *device) start(ctx context.Context) (err error) {
	c := p2p.Config{
		Home: d.home, Listen: d.listen, Bootstrap: d.bootstrap, Loopback: true, APISocket: p2p.SocketPath(d.home),
	}
	if d.node, err = p2p.Start(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	follow, stop := context.WithCancel(context.Background())
	d.stop, d.done = stop, make(chan struct{})
	go d.follow(follow)
	return nil
}

// close takes the device offline.
func (d *device) close() error {
	if d == nil || d.node == nil {
		return nil
	}
	err := d.node.Close()
	d.stop()
	<-d.done
	d.node = nil
	return err
}

// follow reads the events from where it left off, as a person's screen would.
func (d *device) follow(ctx context.Context) {
	defer close(d.done)
	for {
		d.mu.Lock()
		since := d.cursor
		d.mu.Unlock()
		list, err := d.node.Events(ctx, since, 100)
		d.note(list, err)
		if err != nil {
			return
		}
	}
}

func (d *device) note(list []view.Notice, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range list {
		d.cursor = n.Cursor
		if n.Type == "message" && n.Message != nil {
			d.seen[n.Message.ID]++
			d.texts[n.Message.ID] = n.Message.Text
		}
	}
	if err != nil && !errors.Is(err, p2p.ErrClosed) && !errors.Is(err, context.Canceled) {
		d.failed = err
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// shown is how often a message was shown on this device.
func (d *device) shown(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[id]
}

// until waits for events until true holds. What it looks at may change only together with an event.
func (d *device) until(ctx context.Context, what string, true func() (bool, error)) error {
	for {
		d.mu.Lock()
		changed, failed := d.changed, d.failed
		d.mu.Unlock()
		if failed != nil {
			return fmt.Errorf("%s: %w", d.name, failed)
		}
		if ok, err := true(); err != nil || ok {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %s did not happen: %w", d.name, what, context.Cause(ctx))
		}
	}
}

// has waits until the device has shown a message.
func (d *device) has(ctx context.Context, m *message) error {
	err := d.until(ctx, "the message "+m.id, func() (bool, error) { return d.shown(m.id) > 0, nil })
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.texts[m.id] != m.text {
		return fmt.Errorf("%s shows another text than was sent", d.name)
	}
	return nil
}

var stages = map[view.Stage]int{view.StageCustody: 1, view.StageDelivered: 2, view.StageRead: 3}

// reached waits until each device of a message's recipient has come so far, and returns the status then.
func (d *device) reached(ctx context.Context, m *message, stage view.Stage) (s view.Status, err error) {
	err = d.until(ctx, string(stage)+" of "+m.id, func() (bool, error) {
		err := d.node.View(func(tx store.Tx) (err error) {
			s, err = talk.Status(tx, m.id)
			return err
		})
		return stages[s.Stage] >= stages[stage], err
	})
	return s, err
}

// settled waits until every delivery of a message, also to own devices, was acknowledged.
func (d *device) settled(ctx context.Context, m *message) error {
	return d.until(ctx, "the last acknowledgement of "+m.id, func() (bool, error) {
		all := true
		err := d.node.View(func(tx store.Tx) error {
			s, err := talk.Status(tx, m.id)
			for _, v := range s.Deliveries {
				all = all && stages[v.Stage] >= stages[view.StageDelivered]
			}
			return err
		})
		return all, err
	})
}

// contact waits until the device knows a person well enough to send.
func (d *device) contact(ctx context.Context, handle string) (c view.Contact, err error) {
	err = d.until(ctx, "the contact "+handle, func() (bool, error) {
		var list []view.Contact
		err := d.node.View(func(tx store.Tx) (err error) {
			list, err = node.Contacts(tx, nil)
			return err
		})
		for _, one := range list {
			if one.Handle == handle && one.State == "accepted" {
				c = one
				return true, err
			}
		}
		return false, err
	})
	return c, err
}

// mailbox waits until the device has elected its relays.
func (d *device) mailbox(ctx context.Context, least int) (box view.Mailbox, members int, err error) {
	err = d.until(ctx, "the election", func() (bool, error) {
		err := d.node.View(func(tx store.Tx) (err error) {
			box, err = node.Mailbox(tx, nil, d.node.Now())
			return err
		})
		members = 0
		for _, r := range box.Relays {
			if r.Member {
				members++
			}
		}
		return members >= least, err
	})
	return box, members, err
}

// call runs a method of the device's local API, as a command does.
func (d *device) call(ctx context.Context, method string, req, resp any) error {
	c, err := api.Dial(p2p.SocketPath(d.home))
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	defer c.Close()
	if err := c.Call(ctx, method, req, resp); err != nil {
		return fmt.Errorf("%s: %s: %w", d.name, method, err)
	}
	return nil
}

// send puts a text into the outbox.
func (d *device) send(ctx context.Context, to, text string) (id string, err error) {
	err = d.node.Do(ctx, func(e *node.Engine, t *node.Turn) error {
		m, err := e.Send(t, node.SendRequest{To: to, Text: text})
		id = m.ID
		return err
	})
	return id, err
}
