package fuzz

import (
	"bytes"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/story"
)

const (
	// mended is how long relays may take, left in peace, to bring mail back to its number of copies.
	mended = 20 * time.Hour
	// skew is how much the clocks of two hosts differ.
	skew = 3 * time.Minute
	// slack is how late a thing may be, by any clock.
	slack = 10 * time.Minute
	// told is how long an author may not know that a device took a copy which it could not open: its secrets were too old.
	told = 2 * time.Minute
)

// pair is a message and a device that it is for.
type pair struct {
	m       *story.Message
	to      *story.Device
	stage   view.Stage // as the author's device last knew it
	box     mailbox.ID
	env     mailbox.EnvelopeID
	signed  []*pb.Receipt
	holders []*story.Relay // honest relays with a copy, when it was last looked
	held    time.Time      // since when this envelope has a holder
	amiss   time.Time      // since when a relay has not what it signed for
	lost    bool           // every honest holder was destroyed
	over    bool           // it arrived, or need not
	came    bool
}

// watcher holds a play against what was promised.
type watcher struct {
	p       *story.Play
	noted   int // messages that have pairs
	pairs   []*pair
	arrived int
	clear   bool
	since   map[*story.Device]time.Time // it is up
}

func watch(p *story.Play) *watcher {
	w := &watcher{p: p, since: map[*story.Device]time.Time{}}
	p.After, p.Noticed, p.Carried = w.look, w.notice, w.carried
	return w
}

// carried looks for texts where nobody may read them.
func (w *watcher) carried(x simnet.Parcel) {
	if !w.clear && bytes.Contains(x.Bytes, []byte(Mark)) {
		w.clear = true
		w.p.Fail("a %s from %s to %s carries a text in the clear", x.Kind, x.From, x.To)
	}
}

// notice holds what a device tells its person against what is true at that moment.
func (w *watcher) notice(d *story.Device, n view.Notice) {
	switch {
	case n.Type == "message":
		w.shown(d, n.ID)
	case n.Type != "stage":
	case n.Stage.Stage == view.StageDelivered:
		if o := w.p.ByID(n.Stage.Device); o != nil && !o.Got(n.ID) && !w.nobodys(n.ID) {
			w.p.Fail("%s shows delivered at %s, which never had it", d.Name(), o.Name())
		}
	case n.Stage.Stage == view.StageRead:
		if o := w.p.ByID(n.Stage.Device); o != nil && !o.Owner.Read[n.ID] {
			w.p.Fail("%s shows read by %s, who has not read it", d.Name(), o.Name())
		}
	case n.Stage.Stage == view.StageCustody:
		w.custody(d, n.Stage)
	}
}

// nobodys: its author was removed from its group, or left, at some time: who knows of that sooner has it and shows it not.
func (w *watcher) nobodys(id string) bool {
	return slices.ContainsFunc(w.p.Messages, func(m *story.Message) bool { return m.ID == id && w.p.Went(m.To, m.From.Owner) })
}

// custody is claimed with the receipts of as many relays as the policy says, or of all where there are fewer.
func (w *watcher) custody(d *story.Device, s *view.Delivery) {
	relays := map[string]bool{}
	for _, r := range s.Receipts {
		relays[r.Relay] = true
	}
	if want := min(election.DefaultPolicy().W, s.Replicas); len(relays) != s.Custody || len(relays) < want || want < 1 {
		w.p.Fail("%s shows custody by %d relays, of %d that should be %d", d.Name(), len(relays), s.Replicas, want)
	}
}

// shown is for what comes after its time: later than relays keep mail, unless another device of the person had it.
func (w *watcher) shown(d *story.Device, id string) {
	i := slices.IndexFunc(w.p.Messages, func(m *story.Message) bool { return m.ID == id })
	if i < 0 {
		return
	}
	m := w.p.Messages[i]
	others := slices.ContainsFunc(d.Owner.Devices, func(o *story.Device) bool { return o != d && o.Got(id) })
	if age := w.p.World.Now().Sub(m.At); age > mailbox.MaxTTL+slack && !others && d != m.From {
		w.p.Fail("%s shows %q, which is %s old", d.Name(), m.Text, age)
	}
}

// look holds the play against what was promised, after a line.
func (w *watcher) look() {
	for _, m := range w.p.Messages[w.noted:] {
		for _, to := range m.Due {
			w.pairs = append(w.pairs, &pair{m: m, to: to})
		}
	}
	w.noted = len(w.p.Messages)
	w.outboxes()
	for _, x := range w.pairs {
		switch {
		case !x.over:
			w.judge(x)
		case x.came:
			w.keeps(x)
		}
	}
	w.privacy()
}

// outboxes reads what authors know of their deliveries.
func (w *watcher) outboxes() {
	open := map[string][]*pair{}
	for _, x := range w.pairs {
		if !x.over && !x.m.From.Lost {
			open[x.m.From.Name()] = append(open[x.m.From.Name()], x)
		}
	}
	for _, d := range w.p.Devices() {
		pairs := open[d.Name()]
		if len(pairs) == 0 {
			continue
		}
		d.View(func(tx store.Tx) error {
			tx.Scan(store.BucketOutbox, nil, func(_, row []byte) bool {
				out := &pb.Delivery{}
				if proto.Unmarshal(row, out) != nil {
					return true
				}
				for _, x := range pairs {
					if x.m.ID == hexID(out.Message) && x.to.ID == hexOf(out.Device) {
						x.take(out)
					}
				}
				return true
			})
			return nil
		})
	}
}

func (x *pair) take(out *pb.Delivery) {
	x.signed = out.Receipts
	if len(out.Envelope) > 0 && len(out.SetBox) == len(x.box) {
		if box, id := mailbox.ID(out.SetBox), mailbox.EnvelopeIDOf(out.Envelope); id != x.env || box != x.box { // sealed anew, or a new epoch
			x.box, x.env, x.held = box, id, time.Time{}
		}
	}
}

// judge is about one message on its way to one device.
func (w *watcher) judge(x *pair) {
	age := w.p.World.Now().Sub(x.m.At)
	switch {
	case x.to.Got(x.m.ID):
		w.arrived++
		x.over, x.came = true, true
		w.keeps(x)
		return
	case w.p.Went(x.m.To, x.to.Owner) || w.p.Went(x.m.To, x.m.From.Owner): // dropped, or nobody's
		x.over = true
		return
	case x.to.Removed || x.to.Lost || x.m.From.Removed || x.m.Changed || age > mailbox.MaxTTL-slack || x.m.TTL > 0 && age > x.m.TTL-slack:
		x.over = true
		return
	}
	before := x.holders
	x.holders = w.holders(x)
	if x.m.From.Lost {
		w.orphan(x, before)
	} else {
		w.underway(x)
	}
	w.whole(x)
}

// keeps: what a device has told its person of is on its disk.
func (w *watcher) keeps(x *pair) {
	if !x.to.Lost && !x.m.Changed && x.m.TTL == 0 && x.to.Shows(x.m.ID) == nil {
		w.p.Fail("%s showed %q and does not have it any more", x.to.Name(), x.m.Text)
		x.came = false
	}
}

// holders are the honest relays that have a copy, be they up or not.
func (w *watcher) holders(x *pair) (out []*story.Relay) {
	for _, r := range w.p.Relays {
		if !r.Liar && x.env != (mailbox.EnvelopeID{}) && r.World.Holds(x.box, x.env) {
			out = append(out, r)
		}
	}
	return out
}

// underway: while the author's device lives it does not give up, and what it believes of relays is true.
func (w *watcher) underway(x *pair) {
	for _, d := range x.m.From.Status(x.m.ID).Deliveries {
		if d.Device == x.to.ID {
			x.stage = d.Stage
		}
	}
	switch x.stage {
	case view.StageDelivered, view.StageRead, view.StageDropped, view.StageExpired:
		w.p.Fail("%q is %s for %s, which does not have it", x.m.Text, x.stage, x.to.Name())
		x.over = true
	}
	var amiss time.Time
	for _, r := range w.p.Relays {
		i := slices.IndexFunc(x.signed, func(s *pb.Receipt) bool { return string(s.Relay) == r.World.PeerID() })
		if i < 0 || r.Liar || !r.Wiped.Add(skew).Before(time.UnixMilli(x.signed[i].Stored)) || x.signed[i].Buried != 0 {
			continue
		}
		if slices.Contains(x.holders, r) {
			continue
		}
		if amiss = x.amiss; amiss.IsZero() {
			amiss = w.p.World.Now()
		}
		if w.p.World.Now().Sub(amiss) >= told || !r.World.Took(x.box, x.env) {
			w.p.Fail("%s signed for %q to %s and does not hold it", r.Name(), x.m.Text, x.to.Name())
			x.over = true
		}
	}
	x.amiss = amiss
}

// orphan: what was in custody when its author's device was destroyed lives on while an honest holder was not.
func (w *watcher) orphan(x *pair, before []*story.Relay) {
	if x.stage != view.StageCustody || x.lost || len(x.holders) > 0 {
		return
	}
	x.lost = true
	for _, r := range before {
		if !r.Liar && r.Wiped.Before(w.p.Changed) {
			w.p.Fail("%q for %s is gone, though %s held it and lives", x.m.Text, x.to.Name(), r.Name())
		}
	}
}

// whole: left in peace, the relays of a mailbox have as many copies as it has members.
func (w *watcher) whole(x *pair) {
	now := w.p.World.Now()
	if len(x.holders) == 0 {
		return
	}
	if x.held.IsZero() {
		x.held = now
	}
	if w.p.Parted || min(now.Sub(x.held), now.Sub(w.p.Changed)) < mended {
		return
	}
	could, members, newest := 0, 0, uint64(0)
	for _, h := range x.holders {
		set := h.World.Set(x.box)
		if set == nil || set.Number() < newest {
			continue
		}
		could, members, newest = 0, 0, set.Number()
		for _, m := range set.Members() {
			r := w.relay(string(m.Peer.ID))
			if r == nil || r.Liar { // to find a liar out and replace it takes days
				return
			}
			if !m.Standby {
				members++
			}
			if r.Up() && !r.Leaves {
				could++
			}
		}
	}
	if want := min(members, could); len(x.holders) < want {
		w.p.Fail("%q for %s has %d copies after %s in peace: %d relays could have one", x.m.Text, x.to.Name(), len(x.holders), mended, could)
		x.over = true
	}
}

func (w *watcher) relay(peer string) *story.Relay {
	for _, r := range w.p.Relays {
		if r.World.PeerID() == peer {
			return r
		}
	}
	return nil
}
