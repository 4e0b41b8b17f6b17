package node_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
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
		if d.w.handOut != nil {
			bundle = d.w.handOut
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

// A device that is away and back all day long compares its record with the network's four times a day, however often its
// relays are asked for everything.
func TestOwnRecordIsLookedUpFourTimesADay(t *testing.T) {
	w := newWorld(t)
	w.relay("r1")
	w.relay("r2")
	b := w.person("bob")
	w.pass(time.Hour)
	looks, drains := 0, 0
	w.lookup = func(d *device, key string) []byte {
		if d == b && key == dht.DeviceKey(b.engine.Device()) {
			looks++
		}
		return w.records[key]
	}
	for end := w.now.Add(2 * day); w.now.Before(end); w.pass(30 * time.Minute) {
		b.drain()
		drains++
	}
	if looks < 6 || looks > 8 {
		t.Errorf("looked up %d times in two days, after %d drains", looks, drains)
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

// Without a stock and with one a sender sees the same: as many envelopes of the same sizes, the same steps and stages at
// the same times, the same result. The control: a relay that hands out what nobody accepts as a one-time bundle is no
// different either, and only the sessions themselves tell whether a bundle was used.
func TestAnEmptyStockShowsNowhere(t *testing.T) {
	type run struct {
		sizes   []int
		steps   [][]string
		stages  []view.Stage
		given   int
		oneTime int
	}
	play := func(keeps, empty bool) (r run) {
		w := newWorld(t)
		w.stock = keeps
		r1 := w.relay("r1")
		a, b := w.person("alice"), w.person("bob")
		w.pass(time.Hour)
		if n, _ := r1.bundles().Put(b.doorID(), nil, w.now); keeps && n != stock.Most {
			t.Fatalf("control: %d bundles at the relay", n)
		}
		for door := b.doorID(); empty; {
			if got, _ := r1.bundles().Take(door, w.now); got == nil {
				break
			}
		}
		text := b.invite()
		b.stop()
		from := len(w.sent)
		w.must(a.join(text))
		w.pass(time.Minute)
		for _, p := range w.sent[from:] {
			r.sizes = append(r.sizes, len(p.envelope))
		}
		w.must(a.store.View(func(tx store.Tx) error {
			tx.Scan(store.BucketOutbox, nil, func(_, value []byte) bool {
				d := &pb.Delivery{}
				w.must(proto.Unmarshal(value, d))
				var steps []string
				for _, s := range d.Steps {
					steps = append(steps, time.UnixMilli(s.At).UTC().Format(time.RFC3339Nano)+" "+s.What+" "+s.Detail)
				}
				r.steps, r.stages = append(r.steps, steps), append(r.stages, view.StageOf(d.Stage))
				return true
			})
			return nil
		}))
		for _, x := range w.bundles {
			if x != nil {
				r.given++
			}
		}
		b.start()
		b.drain()
		w.pass(time.Minute)
		wantState(t, b, a)
		r.oneTime = b.used()
		return r
	}
	none, empty, full := play(false, false), play(true, true), play(true, false)
	if full.given == 0 || full.oneTime != 1 || empty.oneTime != 0 || none.oneTime != 0 {
		t.Fatalf("control: of a full stock %d were given and %d used, of none %d", full.given, full.oneTime, none.oneTime)
	}
	for name, other := range map[string]run{"an empty stock": empty, "relays that keep none": none} {
		if !slices.Equal(full.sizes, other.sizes) || !slices.Equal(full.stages, other.stages) {
			t.Errorf("%s: sizes %v and %v, stages %v and %v", name, full.sizes, other.sizes, full.stages, other.stages)
		}
		if !slices.EqualFunc(full.steps, other.steps, slices.Equal) {
			t.Errorf("%s: steps %v and %v", name, full.steps, other.steps)
		}
	}
	if len(full.sizes) == 0 || len(full.steps) == 0 {
		t.Error("control: nothing was compared")
	}
	longer := slices.Clone(full.sizes)
	longer[0]++
	if slices.Equal(full.sizes, longer) {
		t.Error("control: a byte more would not show")
	}
}

// wantState says whether two have become contacts.
func wantState(t *testing.T, b, a *device) {
	t.Helper()
	if c := b.contact(a.user()); c.State != "accepted" {
		t.Errorf("%s does not know %s: %+v", b.name, a.name, c)
	}
}

// doorID is the box of a device's front door.
func (d *device) doorID() mailbox.ID {
	_, list := d.w.list(d)
	rec, err := dht.ParseDeviceRecord(d.w.records[dht.DeviceKey(list.Devices()[0].ID())])
	d.w.must(err)
	return mailbox.ID(rec.FrontDoor().BoxID())
}

// used is how many one-time bundles of a device sessions began with.
func (d *device) used() (n int) {
	d.w.must(d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketPrekeys, nil, func(_, value []byte) bool {
			if row := (&pb.Prekey{}); proto.Unmarshal(value, row) == nil && row.Used != 0 {
				n++
			}
			return true
		})
		return nil
	}))
	return n
}

// A connected device gives its bundles itself; one that two senders got opens for both, and for nobody 72 hours later.
func TestOneTimeBundlesOfTheDevice(t *testing.T) {
	w := newWorld(t)
	w.relay("r1")
	a, b, c := w.person("alice"), w.person("bob"), w.person("carol")
	w.pass(time.Minute)
	var raw []byte
	b.input(func(e *node.Engine, t *node.Turn) { raw = e.OneTime(t) })
	w.handOut = raw // to everybody who asks
	for _, x := range []*device{a, c} {
		w.must(x.join(b.invite()))
		w.pass(time.Minute)
		wantState(t, b, x)
	}
	bundle, err := identity.ParseBundle(raw)
	w.must(err)
	id := bundle.Hash()
	if !b.secrets()[string(id[:8])] || b.used() != 1 {
		t.Fatalf("control: %d bundles were used", b.used())
	}
	w.pass(71 * time.Hour)
	if !b.secrets()[string(id[:8])] {
		t.Error("the secret is gone before 72 hours")
	}
	w.pass(8 * time.Hour)
	if b.secrets()[string(id[:8])] {
		t.Error("the secret is kept for longer than 72 hours")
	}
}

// Ten thousand bundles drawn to no purpose lose no message, do not show in the directory, and cost bounded room.
func TestADrainedStock(t *testing.T) {
	w := newWorld(t)
	w.stock = true
	r := w.relay("r1")
	b := w.person("bob")
	w.pass(time.Hour)
	rate := func(by time.Duration) int {
		was := w.puts
		w.pass(by)
		return w.puts - was
	}
	quiet := rate(10 * day)
	drawn, door := 0, b.doorID()
	for i := range 10 {
		for range 1000 {
			drawn++
			_, _ = r.bundles().Take(door, w.now)
			if i == 0 && drawn <= 300 {
				b.input(func(e *node.Engine, t *node.Turn) { e.OneTime(t) })
			}
		}
		a := w.person(string(rune('c'+i)) + "-friend")
		w.must(a.join(b.invite()))
		w.pass(time.Minute)
		wantState(t, b, a)
		a.stop()
		w.pass(day - time.Minute)
	}
	drained := rate(10 * day)
	if drawn != 10_000 || drained > quiet*2 {
		t.Errorf("%d drawn; %d puts in ten days, %d before", drawn, drained, quiet)
	}
	if n := len(b.secrets()); n > 256+1024+8 {
		t.Errorf("%d secrets", n)
	}
}
