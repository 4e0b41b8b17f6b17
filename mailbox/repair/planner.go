package repair

import (
	"encoding/binary"
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Planner knows a relay's boxes, their sets, and what it saw of the other
// relays in them. It belongs to one goroutine.
type Planner struct {
	self        string
	boxes       map[mailbox.ID]*duty
	fresh       []*duty // of standbys, taken since takeOver asked last
	peers       map[string]*peer
	order       []*peer    // by first mention, so that plans repeat
	agenda      agenda     // of those that a visit is planned to
	doubted     []*peer    // those that may count as lost, and some that do not any more
	asked       bool       // takeOver has, since there was something new to doubt
	recheck     time.Time  // when time alone may have one of those count as lost for more standbys; zero: never
	standings   []standing // of duties, by their slots
	free, ended []uint32   // slots: of no duty, and of duties to which there may be links
	named       uint64     // how many were ever mentioned
	taken       uint64     // how many duties there ever were
	reached     time.Time  // when anybody answered last
	round       uint64     // of See and Sweep
}

// peer is another relay as this one saw it.
type peer struct {
	dht.Peer
	number  uint64    // by first mention
	place   int       // in the agenda, from 1 on; 0: none
	next    time.Time // of the next round of all boxes
	soon    time.Time // of a visit for urgent boxes before that; zero: none
	visited time.Time // begin of the last visit
	busy    bool      // a visit is on its way
	known   bool      // it has answered a visit
	slow    time.Time // of the last visit that failed or took too long
	rounds  int       // since all boxes were compared, also the empty ones
	down    time.Time // first visit that failed, while others answered
	fails   int
	told    bool // Addrs are its own word
	absent  int  // boxes that it did not know, when last visited
	behind  int  // boxes of which it lacked something when last compared
	doubted bool // it stands in the planner's list of these
	rated   int  // for how many standbys of a set it counted as lost when takeOver asked last
	leaving bool
	lied    time.Time // of the last failed proof
	lacking time.Time // since when samples are missing there
	former  bool      // it stood in an earlier set of a box
	duties  []link
	urgent  []mailbox.ID // new sets, and what it offered
}

// New returns the planner of the relay with this peer id.
func New(self []byte) *Planner {
	return &Planner{self: string(self), boxes: map[mailbox.ID]*duty{}, peers: map[string]*peer{}}
}

// at returns what is known of a relay, and makes it known; nil: there is no room.
func (p *Planner) at(peerID []byte, addrs [][]byte) *peer {
	x := p.peers[string(peerID)]
	if x == nil {
		if len(p.order) >= MaxPeers {
			return nil
		}
		p.named++
		x = &peer{Peer: dht.Peer{ID: slices.Clone(peerID)}, number: p.named}
		p.peers[string(peerID)] = x
		p.order = append(p.order, x)
	}
	x.may(addrs)
	return x
}

// may notes addresses that the owner of a box gave for a relay. What the relay
// says itself counts for more, and nobody's word puts away what another said.
func (x *peer) may(addrs [][]byte) {
	for _, a := range addrs {
		if !x.told && len(x.Addrs) < maxAddrs && !slices.ContainsFunc(x.Addrs, func(b []byte) bool { return string(a) == string(b) }) {
			x.Addrs = append(x.Addrs[:len(x.Addrs):len(x.Addrs)], a) // visits hold the old slice
		}
	}
}

// Grade says what a relay's visits are worth waiting for. Relays are free of
// charge: whoever leases a box can name any number that stall, so each grade is
// visited apart from the others.
type Grade byte

// Grades.
const (
	Known   Grade = iota // it answered visits in time
	Unknown              // never visited
	Slow                 // a visit failed or took too long within SlowFor
	Grades               // how many there are
)

func (x *peer) grade(now time.Time) Grade {
	switch {
	case !x.slow.IsZero() && now.Sub(x.slow) < SlowFor:
		return Slow
	case x.known:
		return Known
	}
	return Unknown
}

// Begin notes that a visit of Due is on its way: until Visited or Unreachable
// there is no other to this relay.
func (p *Planner) Begin(id []byte) {
	if x := p.peers[string(id)]; x != nil {
		x.busy = true
		p.agenda.book(x)
	}
}

// hurry plans a visit for a box, as soon as the gap allows. A relay that does
// not answer keeps its back-off.
func (p *Planner) hurry(x *peer, now time.Time, box mailbox.ID) {
	if len(x.urgent) < MaxUrgent {
		x.urgent = append(x.urgent, box)
	}
	if x.fails == 0 && x.soon.IsZero() {
		x.soon = later(now, x.visited.Add(gap))
		p.agenda.book(x)
	}
}

// again plans a round as soon as the gap allows, of all boxes.
func (p *Planner) again(x *peer, now time.Time) {
	x.next, x.rounds = later(now, x.visited.Add(gap)), 0
	p.agenda.book(x)
}

// Heard notes that a relay answered.
func (p *Planner) Heard(id []byte, now time.Time) {
	if x := p.peers[string(id)]; x != nil {
		if x.fails > 0 {
			x.rounds = 0 // it may have lost its disk meanwhile
		}
		x.down, x.fails = time.Time{}, 0
	}
	if now.Sub(p.reached) > blind { // what others did meanwhile is not known
		for _, x := range p.order {
			x.down = time.Time{}
		}
	}
	if now.After(p.reached) {
		p.reached = now
	}
}

// Unreachable notes that a visit failed and backs off.
func (p *Planner) Unreachable(id []byte, now time.Time, rng io.Reader) {
	x := p.peers[string(id)]
	if x == nil {
		return
	}
	if x.down.IsZero() && now.Sub(p.reached) <= blind {
		x.down = now
		p.doubt(x)
	}
	x.fails++
	x.busy, x.slow = false, now
	wait := retryMax
	if x.fails < 10 {
		wait = min(retryMax, retryMin<<(x.fails-1))
	}
	x.next, x.soon = now.Add(spread(wait, rng)), time.Time{}
	p.agenda.book(x)
	if len(x.duties) == 0 && x.fails >= 3 {
		x.urgent = nil // a stranger that cannot be asked: Sweep forgets it
	}
}

// Proof is what a test of possession showed.
type Proof byte

// Proofs.
const (
	Untested Proof = iota
	Proved         // it has what it was asked for
	Lied           // it claims what it cannot prove
	Lacks          // it does not have what another holder has
)

// tested notes what a test of possession showed.
func (p *Planner) tested(id []byte, now time.Time, got Proof) {
	x := p.peers[string(id)]
	switch {
	case x == nil:
	case got == Proved:
		x.lacking = time.Time{}
	case got == Lied:
		x.lied = now
		p.doubt(x)
	case got == Lacks && x.lacking.IsZero():
		x.lacking = now
		p.doubt(x)
	}
}

// doubt has takeOver ask whether a relay is lost.
func (p *Planner) doubt(x *peer) {
	p.asked = false
	if !x.doubted {
		x.doubted = true
		p.doubted = append(p.doubted, x)
	}
}

// doubtful says whether there is anything that may make a relay count as lost.
func (x *peer) doubtful() bool {
	return x.leaving || !x.lied.IsZero() || !x.lacking.IsZero() || !x.down.IsZero()
}

// Patience is how long a relay has to be silent for the standby at position j, from 0 on, to count it as lost.
func Patience(j int) time.Duration { return SilentFor + time.Duration(j)*StepFor }

// TakesOver says whether the standby at position j does the work of a member, if it counts so many of the relays before
// it as lost: each of the standbys before it stands in for one.
func TakesOver(j, lost int) bool { return lost > j }

// lost says whether a standby at position j counts a relay as lost. Silence
// counts from the first visit that failed while others answered: a relay that
// reaches nobody, or slept, has learned nothing of them.
func (p *Planner) lost(x *peer, now time.Time, j int) bool {
	patience := Patience(j)
	switch {
	case x.leaving, !x.lied.IsZero() && now.Sub(x.lied) < DistrustFor:
		return true
	case !x.lacking.IsZero() && now.Sub(x.lacking) >= patience:
		return true
	}
	return !x.down.IsZero() && p.reached.Sub(x.down) >= patience
}

// Offered notes that a relay asks to be compared with. It may stand outside the
// set: a former member hands over what it still holds, and takes no stranger's
// place if this relay knew the set. Boxes that this relay does not keep whole are
// passed over.
func (p *Planner) Offered(id []byte, now time.Time, boxes []mailbox.ID) {
	if string(id) == p.self || p.peers[string(id)] == nil && p.strangers() >= MaxStrangers {
		return
	}
	x := p.at(id, nil)
	if x == nil {
		return
	}
	p.Heard(id, now) // it asked: it is there
	if len(x.duties) > 0 && now.Sub(x.visited) > gap {
		x.soon = now // also where no box of it matters: it may say that it leaves
		p.agenda.book(x)
	}
	for _, box := range boxes {
		if d := p.boxes[box]; d != nil && d.active() {
			p.hurry(x, now, box)
		}
	}
}

func (p *Planner) strangers() int {
	n := 0
	for _, x := range p.order {
		if len(x.duties) == 0 && !x.former {
			n++
		}
	}
	return n
}

// Deadline is when Due has something to do; zero: never.
func (p *Planner) Deadline() time.Time {
	if len(p.agenda) == 0 {
		return time.Time{}
	}
	return p.agenda[0].at
}

// spread is d, give or take a sixth.
func spread(d time.Duration, rng io.Reader) time.Duration {
	return d - d/6 + time.Duration(draw(rng, uint64(d/3)+1))
}

// draw is a number below n; 0 if there is no entropy.
func draw(rng io.Reader, n uint64) uint64 {
	var b [8]byte
	if _, err := io.ReadFull(rng, b[:]); err != nil || n == 0 {
		return 0
	}
	return binary.BigEndian.Uint64(b[:]) % n
}

// some draws at most n of all, and leaves them in front.
func some[T any](rng io.Reader, all []T, n int) []T {
	n = min(n, len(all))
	for i := range n {
		j := i + int(draw(rng, uint64(len(all)-i)))
		all[i], all[j] = all[j], all[i]
	}
	return all[:n]
}

// Back notes that a relay may be there again, and says whether it is one that
// is visited.
func (p *Planner) Back(id []byte, now time.Time) bool {
	x := p.peers[string(id)]
	if x == nil || len(x.duties) == 0 {
		return false
	}
	at := later(now.Add(settle), x.visited.Add(gap))
	if x.next.IsZero() || at.Before(x.next) { // who comes back ever again puts nothing off
		x.next = at
		p.agenda.book(x)
	}
	x.rounds = 0
	return true
}

// Peers draws at most n relays of this relay's sets.
func (p *Planner) Peers(n int, rng io.Reader) (out []dht.Peer) {
	for _, x := range p.order {
		if len(x.duties) > 0 {
			out = append(out, x.Peer)
		}
	}
	return some(rng, out, n)
}

// Others are the other relays of a box, by rank.
func (p *Planner) Others(box mailbox.ID) (out []dht.Peer) {
	if d := p.boxes[box]; d != nil {
		for _, x := range d.others {
			out = append(out, x.Peer)
		}
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
