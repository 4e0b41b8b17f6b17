package simnet

import (
	"math"
	"slices"
	"time"
)

// Net is what lies between the hosts of a world. Without one every message takes 20 to 60 ms.
type Net struct {
	RTT   [][]time.Duration // between two regions, and within one
	Loss  float64           // share of the packets that are lost and sent again
	Punch float64           // of two devices behind translators, how many pairs reach each other
	Walks []int             // round trips of lookups in a directory of its size, to draw from; empty: one

	Looked func(trips int, took time.Duration) // hears of every lookup; may be nil
}

// Place is where a host is.
type Place struct {
	Region   int
	Mile     time.Duration // one way from the host to its region's exchange
	Up, Down float64       // bytes a second; 0: no limit
	NAT      bool          // behind a translator: reached after a punch, if at all
}

// Traffic is what a host has sent and got, in bytes, frames and envelopes alike.
type Traffic struct{ Sent, Got uint64 }

// port is a host's end of the network.
type port struct {
	Place
	Traffic
	upFree, downFree time.Time
}

// Constants of links, in bytes unless said otherwise.
const (
	packet     = 1200 // QUIC's payload
	frame      = 96   // of a message beside its content: frame, stream, packet and their tags
	request    = 200  // a question with a signature
	punchTries = 3    // round trips of a punch that fails
	dialLegs   = 4    // one-way trips before the first frame can go: two of QUIC's handshake, two in which the hosts say what they speak
	ackDelay   = 25 * time.Millisecond
	mapping    = 2 * time.Minute // for so long a translator lets in whom its host has sent something (RFC 4787, 4.3)
)

// Connect puts the hosts of this world on a network. It comes before they are added.
func (w *World) Connect(n Net) { w.net = &n }

// Put says where a device is.
func (d *Device) Put(p Place) { d.at.Place = p }

// Traffic is what went over the device's link.
func (d *Device) Traffic() Traffic { return d.at.Traffic }

func (d *Device) port() *port { return &d.at }

// Put says where a relay is.
func (r *Relay) Put(p Place) { r.at.Place = p }

// Traffic is what went over the relay's link.
func (r *Relay) Traffic() Traffic { return r.at.Traffic }

func (r *Relay) port() *port { return &r.at }

// latency of one message between two hosts without a network: 20 to 60 ms.
func (w *World) latency() time.Duration {
	return 20*time.Millisecond + time.Duration(w.rng.Int64N(int64(40*time.Millisecond)))
}

// way is how long a message takes from one host to another: the queue before the sender's link, the distance, what is lost and
// sent again, the queue before the receiver's.
func (w *World) way(from, to host, size int) time.Duration {
	a, b := from.port(), to.port()
	size += frame
	a.Sent += uint64(size)
	b.Got += uint64(size)
	if w.net == nil {
		return w.latency()
	}
	leg := w.leg(a, b)
	sent := after(&a.upFree, w.now, size, a.Up)
	arrived := sent.Add(leg + w.again(leg, size))
	return after(&b.downFree, arrived, size, b.Down).Sub(w.now)
}

// leg is the time of one way, up to a tenth more than at best.
func (w *World) leg(a, b *port) time.Duration {
	leg := w.net.RTT[a.Region][b.Region]/2 + a.Mile + b.Mile
	return leg + time.Duration(w.rng.Float64()*float64(leg)/10)
}

// after books a link for so many bytes.
func after(free *time.Time, now time.Time, size int, rate float64) time.Time {
	if rate == 0 {
		return now
	}
	if free.Before(now) {
		*free = now
	}
	*free = free.Add(time.Duration(float64(size) / rate * float64(time.Second)))
	return *free
}

// again is what lost packets cost: each round in which one is missing waits for a probe timeout (RFC 9002, 6.2: a round trip, half of
// one for its variance, and the peer's delay), which doubles.
func (w *World) again(leg time.Duration, size int) (more time.Duration) {
	if w.net.Loss == 0 {
		return 0
	}
	p := 1 - math.Pow(1-w.net.Loss, float64((size+packet-1)/packet))
	for wait := 3*leg + ackDelay; w.rng.Float64() < p && more < time.Minute; wait *= 2 {
		more += wait
		p = w.net.Loss
	}
	return more
}

// lookup is how long the directory takes to answer a device.
func (w *World) lookup(d *Device) time.Duration {
	if w.net == nil {
		return w.latency()
	}
	trips := 1 // somebody has to be asked
	if n := len(w.net.Walks); n > 0 {
		trips = max(w.net.Walks[w.rng.IntN(n)], 1)
	}
	var all time.Duration
	for range trips {
		there := port{Place: Place{Region: w.rng.IntN(len(w.net.RTT)), Mile: d.at.Mile}}
		all += 2 * w.leg(&d.at, &there)
	}
	if w.net.Looked != nil {
		w.net.Looked(trips, all)
	}
	return all
}

// refused is how long it takes until a device knows that somebody cannot be reached.
func (d *Device) refused() time.Duration {
	switch {
	case d.w.net == nil:
		return d.w.latency()
	case d.online():
		return dialTimeout
	}
	return noNetwork
}

const (
	dialTimeout = 3 * time.Second
	noNetwork   = 10 * time.Millisecond
)

// Chance says whether something is so of two names, as it is of a share of all pairs; it is so for all time.
func Chance(seed uint64, share float64, x, y string) bool {
	if x > y {
		x, y = y, x
	}
	h := seed ^ 0xcbf29ce484222325
	for _, c := range []byte(x + y) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 32
	return float64(h>>11)/(1<<53) < share
}

// links are the peers that a host is connected with, in the order in which they came.
type links struct {
	order  []numbered
	number map[string]uint64
	last   uint64
}

type numbered struct {
	peer   string
	number uint64
}

func (l *links) has(peer string) bool { _, ok := l.number[peer]; return ok }

func (l *links) add(peer string) {
	if l.has(peer) {
		return
	}
	if l.number == nil {
		l.number = map[string]uint64{}
	}
	l.last++
	l.number[peer] = l.last
	l.order = append(l.order, numbered{peer, l.last})
}

func (l *links) drop(peer string) {
	n, ok := l.number[peer]
	if !ok {
		return
	}
	delete(l.number, peer)
	i, _ := slices.BinarySearchFunc(l.order, n, func(a numbered, n uint64) int { return int(int64(a.number) - int64(n)) })
	l.order = slices.Delete(l.order, i, i+1)
}

// all is a list that stays as it is while links come and go.
func (l *links) all() []string {
	out := make([]string, len(l.order))
	for i, n := range l.order {
		out[i] = n.peer
	}
	return out
}
