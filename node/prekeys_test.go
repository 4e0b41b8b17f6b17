package node_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// secrets are the prekey ids whose secret a device has.
func (d *device) secrets() map[string]bool {
	out := map[string]bool{}
	d.w.must(d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketPrekeys, nil, func(key, value []byte) bool {
			if row := (&pb.Prekey{}); proto.Unmarshal(value, row) == nil && len(row.Secret) > 0 {
				out[string(key)] = true
			}
			return true
		})
		return nil
	}))
	return out
}

// prekey asks for a one-time bundle, as the performers do.
func (d *device) prekey(x node.PrekeyAsk) {
	d.w.queue = append(d.w.queue, func() {
		var bundle []byte
		if x.Live {
			if to := d.w.deviceAt(x.From.ID); to != nil && to.up && d.links[string(to.self.ID)] {
				to.input(func(e *node.Engine, t *node.Turn) {
					if x.ID == e.Device() {
						bundle = e.OneTime(t)
					}
				})
			}
		} else if r := d.w.relayAt(x.From.ID); r.up && d.w.stock {
			bundle, _ = r.bundles().Take(x.ID, d.w.now)
		}
		d.w.bundles = append(d.w.bundles, bundle)
		d.later(func(e *node.Engine, t *node.Turn) { e.Prekey(t, x.Device, bundle) })
	})
}

// stock leaves bundles at a relay.
func (d *device) stock(x node.Stock) {
	r := d.w.relayAt(x.Relay.ID)
	if !r.up || !d.w.stock {
		return
	}
	offer := stock.Sign(x.Key, r.self.ID, x.Bundles)
	var items []stock.Item
	err := r.do(func(tx mailbox.Tx) (err error) {
		items, err = stock.Admit(tx, r.rules, offer, d.w.now)
		return err
	})
	if err != nil {
		d.w.t.Errorf("%s refuses: %v", r.name, err)
		return
	}
	held, _ := r.bundles().Put(offer.Box(), items, d.w.now)
	d.later(func(e *node.Engine, t *node.Turn) { e.Stocked(t, r.self.ID, held) })
}

// bundles is a relay's stock.
func (r *relay) bundles() *stock.Memory {
	if r.stock == nil {
		r.stock = stock.NewMemory()
	}
	return r.stock
}

// longInvite is a link that is good for a month.
func (d *device) longInvite() string {
	var text string
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateInvite(t, 30*day)
		text = v.Text
		return err
	}))
	return text
}

// A device that is online for an hour a day keeps no secret for longer than five days.
func TestSecretsOfADailyDevice(t *testing.T) {
	w := newWorld(t)
	w.relay("r1")
	w.relay("r2")
	b := w.person("bob")
	first := map[string]time.Time{}
	oldest := time.Duration(0)
	for range 20 {
		for range 6 {
			w.pass(10 * time.Minute)
			held := b.secrets()
			for id := range held {
				if first[id].IsZero() {
					first[id] = w.now
				}
				oldest = max(oldest, w.now.Sub(first[id]))
			}
		}
		b.stop()
		w.pass(23 * time.Hour)
		b.start()
		b.drain()
	}
	if oldest > 5*day || oldest < 3*day || len(first) < 15 {
		t.Errorf("the oldest secret of %d had %v", len(first), oldest)
	}
}

// A first flight that a relay handed out 29 days later opens, although its device was there all the time and forgets
// within days what it can. The control: told of drains that were none, it forgets that secret, and the message is lost
// as long as its author is away.
func TestFirstFlightWaitsAtARelay(t *testing.T) {
	for _, lied := range []bool{false, true} {
		w := newWorld(t)
		r := w.relay("r1")
		a, b := w.person("alice"), w.person("bob")
		w.pass(time.Minute)
		text := b.longInvite()
		b.stop()
		w.must(a.join(text))
		w.pass(time.Minute)
		a.stop()
		if w.held() == 0 {
			t.Fatalf("control: the join is not at the front door\n%s", a.outbox())
		}
		r.mute = true
		b.start()
		for range 29 {
			w.pass(day)
			if lied {
				b.input(func(e *node.Engine, t *node.Turn) {
					for _, x := range e.Watches(t) {
						e.Drained(t, x.Relay.ID, x.Box, t.Now)
					}
				})
			}
		}
		n := len(b.secrets())
		r.mute = false
		b.drain()
		w.pass(time.Minute)
		if opened := b.contact(a.user()).State == "accepted"; opened == lied {
			t.Errorf("told of drains that were none %t: opened %t, %d secrets", lied, opened, len(b.secrets()))
		}
		if !lied && n < 25 || lied && n > 6 {
			t.Errorf("lied %t: %d secrets are kept", lied, n)
		}
	}
}

// A first flight that its author could not send for weeks meets a device that has forgotten the secret: it is made anew
// from the bundle of the day, and arrives.
func TestOldFirstFlightIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.relay("r1")
	a, b := w.person("alice"), w.person("bob")
	w.pass(time.Minute)
	text := b.longInvite()
	w.lose = func(p parcel) bool { return p.to == b }
	w.must(a.join(text))
	w.pass(time.Minute)
	a.stop()
	w.pass(12 * day)
	w.lose = nil
	sealedTo := len(b.secrets())
	a.start()
	w.pass(day)
	if c := b.contact(a.user()); c.State != "accepted" || sealedTo > 6 {
		t.Errorf("%+v; %d secrets were left", c, sealedTo)
	}
}
