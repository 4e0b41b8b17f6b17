package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// Advertised takes a relay's own advert, and where the relay was found.
func (e *Engine) Advertised(t *Turn, advert []byte, s election.Source) {
	a, err := dht.ParseAdvert(advert)
	if err != nil || !a.Fresh(t.Now) || (e.self.Endpoint != nil && string(a.Peer.ID) == string(e.self.Endpoint.Id)) {
		return
	}
	row, known := e.relay(t, a.Peer.ID)
	full := false
	if !known {
		var fits bool
		if fits, full = e.makeRoom(t, s); !fits {
			return
		}
	}
	old, err := e.advertOf(row)
	if err == nil && old.Number > a.Number && old.Fresh(t.Now) { // one that is over says nothing, what number ever a wrong clock gave it
		return
	}
	said := err == nil && !old.LeavingAt.IsZero()
	row.Advert, row.Addrs = a.Raw(), a.Peer.Addrs
	if row.Source == 0 || uint32(s) < row.Source {
		row.Source = uint32(s)
	}
	if s != election.SourceGossip { // it said so itself: gossip is what others say of it
		row.LastOk = t.Now.UnixMilli()
	}
	e.rows.relays.Put(t.Tx, row.Peer, row)
	if !a.LeavingAt.IsZero() {
		if !said && e.serves(t, a.Peer.ID) { // it goes on taking mail until then: the old set and the new one overlap
			e.planElection(t, roundDebounce)
		}
		return
	}
	if !known && !full || e.thin(t) && !e.serves(t, a.Peer.ID) { // where places are fought over, the next look is soon enough
		e.roundFailed = 0
		e.planElection(t, roundDebounce)
	}
}

// serves reports whether a relay stands in our set.
func (e *Engine) serves(t *Turn, peer []byte) bool {
	rec := e.frontDoor(t)
	return rec != nil && slices.ContainsFunc(rec.Members(), func(m dht.Member) bool { return string(m.Peer.ID) == string(peer) })
}

// thin reports whether our mailbox has fewer members and standbys than the policy wants.
func (e *Engine) thin(t *Turn) bool {
	rec := e.frontDoor(t)
	return rec == nil || len(rec.Members()) < e.cfg.Policy.R+e.cfg.Policy.S
}

// relay reads the row of a candidate to change it, or begins one.
func (e *Engine) relay(t *Turn, peer []byte) (*pb.Relay, bool) {
	row, known := e.seenRelay(t, peer)
	return store.CopyRelay(row), known
}

// seenRelay is relay for whoever only looks.
func (e *Engine) seenRelay(t *Turn, peer []byte) (*pb.Relay, bool) {
	if row := e.rows.relays.Get(t.Tx, peer); row != nil {
		return row, true
	}
	return &pb.Relay{Peer: slices.Clone(peer), FirstSeen: t.Now.UnixMilli()}, false
}

// reached is a relay that another's record names, at the addresses too that it gives itself: whoever names a relay where
// it is not would have us hold its silence against it.
func (e *Engine) reached(t *Turn, p dht.Peer) dht.Peer {
	row, _ := e.seenRelay(t, p.ID)
	out := dht.Peer{ID: p.ID, Addrs: slices.Clone(row.Addrs)}
	for _, a := range p.Addrs {
		if !slices.ContainsFunc(out.Addrs, func(b []byte) bool { return string(a) == string(b) }) {
			out.Addrs = append(out.Addrs, a)
		}
	}
	return out
}

// makeRoom gives a new candidate the place of the least of the others, if all are taken: of one that is no more trusted,
// and neither serves, nor was chosen by hand, nor is connected, the one that answered least and longest ago. A host can
// have as many peer ids as it likes; they take each other's places.
func (e *Engine) makeRoom(t *Turn, s election.Source) (fits, full bool) {
	var least *pb.Relay
	n := 0
	e.rows.relays.Each(t.Tx, func(row *pb.Relay) bool {
		n++
		if row.Pinned || row.ServingSince != 0 || row.Source < uint32(s) || e.live[string(row.Peer)] {
			return true
		}
		if least == nil || cmp.Or(cmp.Compare(least.Source, row.Source), cmp.Compare(tallyOf(row, t.Now).good, tallyOf(least, t.Now).good), cmp.Compare(row.LastOk, least.LastOk)) < 0 {
			least = row
		}
		return true
	})
	if n < maxRelays {
		return true, false
	}
	if least != nil {
		e.rows.relays.Delete(t.Tx, least.Peer)
	}
	return least != nil, true
}

// pin keeps a relay that the person chose.
func (e *Engine) pin(t *Turn, p dht.Peer) {
	if _, ok := dht.PeerKey(p.ID); !ok {
		return
	}
	row, _ := e.relay(t, p.ID)
	if !row.Pinned || len(row.Addrs) == 0 {
		row.Pinned, row.Source, row.Addrs = true, uint32(election.SourceOwn), p.Addrs
		e.rows.relays.Put(t.Tx, row.Peer, row)
	}
	t.Out.Connects = append(t.Out.Connects, p)
}

// candidates are the relays that a contact's set names: worth a connection, so that their adverts are asked for.
func (e *Engine) candidates(t *Turn, rec *dht.SetRecord) {
	if !e.thin(t) {
		return
	}
	for m := range rec.EachMember() {
		if !e.live[string(m.Peer.ID)] {
			t.Out.Connects = append(t.Out.Connects, m.Peer)
		}
	}
}

// candidateList is what the election chooses from.
func (e *Engine) candidateList(t *Turn, excluded map[string]bool) (out []election.Candidate, pins [][]byte) {
	e.rows.relays.Each(t.Tx, func(row *pb.Relay) bool {
		e.pinned = e.pinned || row.Pinned
		if excluded[string(row.Peer)] {
			return true
		}
		c, ok := e.candidate(t, row)
		if ok && row.Pinned {
			pins = append(pins, row.Peer)
		}
		if ok {
			out = append(out, c)
		}
		return true
	})
	return out, pins
}

// candidate is a relay whose advert we have, as we have seen it.
func (e *Engine) candidate(t *Turn, row *pb.Relay) (election.Candidate, bool) {
	a, err := e.advertOf(row)
	if err != nil {
		return election.Candidate{}, false
	}
	seen := unixMilli(row.LastOk)
	if e.live[string(row.Peer)] {
		seen = t.Now // a held stream may be silent for days
	}
	y := tallyOf(row, t.Now)
	return election.Candidate{
		Peer: a.Peer, Source: election.Source(row.Source), Family: a.Family, Known: unixMilli(row.FirstSeen),
		LastSeen: seen, Good: y.good, Bad: y.bad, WeekGood: y.weekGood, WeekBad: y.weekBad,
		Failed: unixMilli(row.Broke), LeavingAt: a.LeavingAt,
	}, true
}

// incumbents are the relays of our set in force, with the day they began.
func (e *Engine) incumbents(t *Turn) []election.Incumbent {
	rec := e.frontDoor(t)
	if rec == nil {
		return nil
	}
	var out []election.Incumbent
	for m := range rec.EachMember() {
		since := rec.Issued()
		if row, known := e.seenRelay(t, m.Peer.ID); known && row.ServingSince != 0 {
			since = unixMilli(row.ServingSince)
		}
		out = append(out, election.Incumbent{Peer: m.Peer.ID, Since: since})
	}
	return out
}

// noteServing keeps when each relay began to serve us: sets are renewed every week, a term lasts for months.
func (e *Engine) noteServing(t *Turn, rec *dht.SetRecord) {
	serves := map[string]bool{}
	for m := range rec.EachMember() {
		serves[string(m.Peer.ID)] = true
	}
	var changed []*pb.Relay
	e.rows.relays.Each(t.Tx, func(row *pb.Relay) bool {
		if serves[string(row.Peer)] != (row.ServingSince != 0) {
			changed = append(changed, store.CopyRelay(row))
		}
		return true
	})
	for _, row := range changed {
		if row.ServingSince == 0 {
			row.ServingSince = t.Now.UnixMilli()
		} else {
			row.ServingSince = 0
		}
		e.rows.relays.Put(t.Tx, row.Peer, row)
	}
}

// answered counts what a relay answered, unless nobody asked it.
func (e *Engine) answered(t *Turn, relay []byte, good bool, err error) {
	if !errors.Is(err, ErrBusy) {
		e.observe(t, relay, good)
	}
}

// observe counts a good answer or a failure of a relay; it writes at most once a minute and relay.
func (e *Engine) observe(t *Turn, peer []byte, good bool) {
	o := e.observed[string(peer)]
	if good {
		o.ok++
	} else {
		o.failed++
	}
	if good && t.Now.Sub(o.saved) < observeEvery {
		e.observed[string(peer)] = o
		return
	}
	delete(e.observed, string(peer))
	row, known := e.relay(t, peer)
	if !known {
		return
	}
	count(row, dayOf(t.Now), o.ok, o.failed)
	if good {
		row.LastOk = t.Now.UnixMilli()
	}
	e.rows.relays.Put(t.Tx, row.Peer, row)
	e.observed[string(peer)] = observation{saved: t.Now}
}

// observation is what was counted of a relay since its row was written.
type observation struct {
	ok, failed uint64
	saved      time.Time
}

// ContactRelay is one relay of a contact's device, as the contact's record names it and as we have seen it.
type ContactRelay struct {
	Device  string // its name, or the beginning of its id
	Peer    string // hex of the peer id
	Standby bool
	Until   time.Time // end of its lease
	Seen    bool      // we have met it: the counts below are ours, of the last 30 days
	OK      uint64
	Failed  uint64
	Broke   time.Time // when it last could not show what it had signed for; zero: never
	Holds   int       // deliveries that it signed for and that the device has not acknowledged
	Set     string    // which set, in words
}

// RelaysOf lists the relays of each device of a contact: of the newest box of the current epoch that we know, or of the
// front door. It returns a *view.Problem for an unknown handle.
func RelaysOf(tx store.Tx, now time.Time, handle string) ([]ContactRelay, error) {
	c, err := talk.FindContact(tx, handle)
	if err != nil {
		return nil, err
	}
	var out []ContactRelay
	tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) != nil || string(d.User) != string(c.User) {
			return true
		}
		if rec := setInForce(d, now); rec != nil {
			out = append(out, relaysIn(tx, now, d, rec)...)
		}
		return true
	})
	return out, tx.Err()
}

func setInForce(d *pb.PeerDevice, now time.Time) *dht.SetRecord {
	for _, raw := range d.Sets {
		if rec, err := dht.ParseSetRecord(raw); err == nil && rec.Epoch() == dht.EpochAt(now) {
			return rec
		}
	}
	if rec, err := dht.ParseDeviceRecord(d.Record); err == nil {
		return rec.FrontDoor()
	}
	return nil
}

func relaysIn(tx store.Tx, now time.Time, d *pb.PeerDevice, rec *dht.SetRecord) (out []ContactRelay) {
	until := map[byte]time.Time{}
	for _, l := range rec.Leases() {
		until[l.Rank] = l.End
	}
	held := heldFor(tx, d.Device)
	box := "front door"
	if rec.Epoch() != dht.FrontDoorEpoch {
		box = fmt.Sprintf("epoch %d", rec.Epoch())
	}
	standbys := 0
	for m := range rec.EachMember() {
		if m.Standby {
			standbys++
		}
	}
	set := fmt.Sprintf("%s, set %d until %s: %d of %d sign, %d stand by", box, rec.Number(), rec.NotAfter().Format(time.DateOnly),
		rec.W(), len(rec.Members())-standbys, standbys)
	for m := range rec.EachMember() {
		r := ContactRelay{
			Device: cmp.Or(d.Name, shortID(d.Device)), Peer: hexOf(m.Peer.ID), Standby: m.Standby, Until: until[m.Rank],
			Holds: held[string(m.Peer.ID)], Set: set,
		}
		row := &pb.Relay{}
		if store.Row(tx, store.BucketRelays, m.Peer.ID, row) {
			y := tallyOf(row, now)
			r.Seen, r.OK, r.Failed, r.Broke = true, uint64(y.good), uint64(y.bad), unixMilli(row.Broke)
		}
		out = append(out, r)
	}
	return out
}

// heldFor counts, by relay, what was signed for and not acknowledged by a device.
func heldFor(tx store.Tx, device []byte) map[string]int {
	out := map[string]int{}
	tx.Scan(store.BucketOutbox, nil, func(_, value []byte) bool {
		d := &pb.Delivery{}
		if proto.Unmarshal(value, d) == nil && string(d.Device) == string(device) {
			for _, r := range d.Receipts {
				out[string(r.Relay)]++
			}
		}
		return true
	})
	return out
}

// tally is what was observed of a relay in the last 30 days, and in the last 7.
type tally struct{ good, bad, weekGood, weekBad uint32 }

func dayOf(at time.Time) uint32 { return uint32(at.Unix() / int64(day/time.Second)) }

// count adds to one day of a row, and forgets the days that do not count any more.
func count(row *pb.Relay, today uint32, ok, failed uint64) {
	row.Days = slices.DeleteFunc(row.Days, func(d *pb.Day) bool { return d.Day+observeDays <= today || d.Day > today })
	if n := len(row.Days); n == 0 || row.Days[n-1].Day != today {
		row.Days = append(row.Days, &pb.Day{Day: today})
	}
	last := row.Days[len(row.Days)-1]
	last.Ok += uint32(min(ok, maxObserved))
	last.Failed += uint32(min(failed, maxObserved))
}

func tallyOf(row *pb.Relay, now time.Time) (y tally) {
	today := dayOf(now)
	for _, d := range row.Days {
		if d.Day+observeDays > today {
			y.good, y.bad = y.good+d.Ok, y.bad+d.Failed
		}
		if d.Day+7 > today {
			y.weekGood, y.weekBad = y.weekGood+d.Ok, y.weekBad+d.Failed
		}
	}
	return y
}

// foldCounters takes over what a build without days had counted: of this week as of yesterday, of before as of last week.
func (e *Engine) foldCounters(t *Turn) {
	var old []*pb.Relay
	t.Tx.Scan(store.BucketRelays, nil, func(_, value []byte) bool {
		row := &pb.Relay{}
		if proto.Unmarshal(value, row) == nil && row.Ok+row.Failed > 0 {
			old = append(old, row)
		}
		return true
	})
	today := dayOf(t.Now)
	for _, row := range old {
		count(row, today-8, row.Ok-min(row.WeekOk, row.Ok), row.Failed-min(row.WeekFailed, row.Failed))
		count(row, today-1, row.WeekOk, row.WeekFailed)
		row.Ok, row.Failed, row.WeekOk, row.WeekFailed, row.WeekStart = 0, 0, 0, 0, 0
		store.PutRow(t.Tx, store.BucketRelays, row.Peer, row)
	}
}

// distrust notes that a relay broke its word: it does not serve us while others can. False: that is known, or there is no
// room to remember it.
func (e *Engine) distrust(t *Turn, relay []byte) bool {
	row, known := e.relay(t, relay)
	if known && t.Now.Sub(unixMilli(row.Broke)) < time.Hour {
		return false
	}
	if !known {
		if fits, _ := e.makeRoom(t, election.SourceGossip); !fits {
			return false
		}
	}
	row.Broke = t.Now.UnixMilli()
	e.rows.relays.Put(t.Tx, row.Peer, row)
	return true
}

// Explain shows the last election of our own relays, recomputed from its transcript.
func Explain(tx store.Tx) ([]string, error) {
	raw := tx.Get(store.BucketMeta, []byte("election"))
	if raw == nil {
		return nil, &view.Problem{Class: view.ErrNotFound, Message: "no election has taken place yet", Hint: "kith relay status"}
	}
	tr, err := election.ParseTranscript(raw)
	if err != nil {
		return nil, err
	}
	again, err := tr.Recompute()
	if err != nil {
		return nil, err
	}
	lines := tr.Explain()
	if string(again.Transcript.Bytes()) != string(raw) {
		lines = append(lines, "This build comes to another result than the one recorded.")
	}
	return lines, tx.Err()
}

var sourceNames = map[election.Source]string{
	election.SourceOwn: "pinned", election.SourceInviter: "inviter", election.SourceContact: "contact",
	election.SourceLAN: "lan", election.SourceDHT: "directory", election.SourceGossip: "gossip",
}

// Mailbox shows which relays serve us. e may be nil.
func Mailbox(tx store.Tx, e *Engine, now time.Time) (view.Mailbox, error) {
	v := view.Mailbox{State: "none", Epoch: dht.EpochAt(now), Hint: "no relay is known: kith relay enable on a machine that is always on, or join somebody who has one"}
	members := map[string]dht.Member{}
	if rec := boxSet(tx.Get(store.BucketBoxes, store.U32(v.Epoch))); rec != nil {
		v.State, v.Number, v.R, v.W, v.NotAfter, v.Hint = "full", rec.Number(), int(rec.R()), int(rec.W()), rec.NotAfter(), ""
		if activeMembers(rec) < int(rec.R()) {
			v.State, v.Hint = "thin", "fewer relays than wanted: mail is safe as long as one of them lives"
		}
		for m := range rec.EachMember() {
			members[string(m.Peer.ID)] = m
		}
	}
	tx.Scan(store.BucketRelays, nil, func(_, value []byte) bool {
		row := &pb.Relay{}
		if proto.Unmarshal(value, row) != nil {
			return true
		}
		m, ok := members[string(row.Peer)]
		y := tallyOf(row, now)
		v.Relays = append(v.Relays, view.Relay{
			Peer: hexOf(row.Peer), Member: ok && !m.Standby, Standby: ok && m.Standby, Source: sourceNames[election.Source(row.Source)],
			Online: e.online()[string(row.Peer)], OK: uint64(y.good), Failed: uint64(y.bad), Addrs: hexAll(row.Addrs),
			Broke: unixMilli(row.Broke),
		})
		return true
	})
	return v, tx.Err()
}

func hexAll(in [][]byte) []string {
	out := make([]string, len(in))
	for i, b := range in {
		out[i] = hexOf(b)
	}
	return out
}

// boxSet reads the set of a stored box row.
func boxSet(value []byte) *dht.SetRecord {
	b := &pb.Box{}
	if proto.Unmarshal(value, b) != nil {
		return nil
	}
	rec, err := dht.ParseSetRecord(b.Set)
	if err != nil {
		return nil
	}
	return rec
}
