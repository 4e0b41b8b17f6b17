// Package simnet is a network in virtual time: the engines and relay rules that run in production, on memory stores,
// between simulated links, driven by one queue of events. It proves that the engine is pure, and measures what it does.
//
// One seed gives one trace, byte for byte: events are ordered by (time, number), every source of entropy is seeded, and
// what the trace shows is names, sizes and times, never ciphertext. Virtual time charges no CPU and no disk: latencies
// are the links' only. What needs real sockets or files is not here.
package simnet

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
)

// Start is when every world begins: virtual time has nothing to do with the wall clock.
var Start = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// maxBurst is how many events may happen at one moment of virtual time.
const maxBurst = 100_000

// World is one simulated network. It belongs to one goroutine.
type World struct {
	seed    uint64
	now     time.Time
	queue   eventQueue
	numbers uint64 // of events, so that equal times keep their order
	rng     *rand.Rand
	events  int

	devices []*Device
	relays  []*Relay
	hosts   map[string]host // peer id -> device or relay
	records map[string][]byte
	named   map[string]string // device id -> name
	trace   []string
	quiet   bool // no trace is kept
	many    bool // devices hold their rows as they are
	digest  uint64
	failure []string
	cuts    []*cut
	alike   int  // events at this very moment
	apart   bool // relays leave each other alone
	net     *Net // nil: all links are alike
	policy  election.Policy
	tap     func(Parcel) Fate
	watch   func(Parcel)
	spare   []*node.Effects // of turns that are over
	enough  func() bool     // asked now and then; nil: never
	halted  bool            // ... and it was
}

// NoRepair keeps the relays from each other: the control of what repair does.
func (w *World) NoRepair() { w.apart = true }

// host is whatever a peer id leads to.
type host interface {
	Name() string
	online() bool
	peer() dht.Peer
	linkUp(peer []byte)
	linkDown(peer []byte)
	port() *port
}

// New makes an empty world.
func New(seed uint64) *World {
	return &World{
		seed: seed, now: Start, rng: rand.New(rand.NewPCG(seed, 0)), hosts: map[string]host{}, records: map[string][]byte{},
		named: map[string]string{}, policy: election.LocalPolicy(), digest: seed,
	}
}

// Policy is how devices that are added from now on elect their relays.
func (w *World) Policy(p election.Policy) { w.policy = p }

// Quiet keeps no trace: what happens shows in the digest only.
func (w *World) Quiet() { w.quiet, w.trace = true, nil }

// Many has devices that are added from now on hold rows as they are instead of their bytes: there are many of them.
func (w *World) Many() { w.many = true }

// newStore is an empty disk.
func (w *World) newStore() store.Store {
	if w.many {
		return store.NewCompact()
	}
	return store.NewMemory()
}

// Digest is a hash of what happened when: two runs with one digest took one course.
func (w *World) Digest() uint64 { return w.digest }

// note mixes a number into the digest: a step of FNV-1a over words.
func (w *World) note(x uint64) { w.digest = (w.digest ^ x) * 0x100000001b3 }

// after plans do.
func (w *World) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

func (w *World) at(at time.Time, do func()) {
	if at.Before(w.now) {
		at = w.now
	}
	w.numbers++
	w.queue.push(event{int64(at.Sub(Start)), w.numbers, do})
}

// Now is the world's time.
func (w *World) Now() time.Time { return w.now }

// Events is how many events have happened.
func (w *World) Events() int { return w.events }

// Halt has time stop for good, between two events, when enough says so. It is asked many times a second, and changes nothing before.
func (w *World) Halt(enough func() bool) { w.enough = enough }

// Halted says whether time has stopped.
func (w *World) Halted() bool { return w.halted }

// askEvery is how many events, of some 20 microseconds each, lie between two questions whether it is enough.
const askEvery = 256

// step runs the next event that is due by limit.
func (w *World) step(limit int64) bool {
	if w.enough != nil && w.events%askEvery == 0 && !w.halted {
		w.halted = w.enough()
	}
	if w.halted || len(w.queue) == 0 || w.queue[0].at > limit {
		return false
	}
	e := w.queue.pop()
	if w.alike++; e.at > int64(w.now.Sub(Start)) {
		w.alike = 0
		w.now = Start.Add(time.Duration(e.at))
	}
	if w.alike == maxBurst {
		w.fail("%d events at one moment: something ticks without end", maxBurst)
	}
	w.events++
	w.note(uint64(e.at))
	w.note(e.number)
	e.do()
	return true
}

// Run lets d pass.
func (w *World) Run(d time.Duration) {
	limit := w.now.Add(d)
	for w.step(int64(limit.Sub(Start))) {
	}
	w.pass(limit)
}

// pass lets the clock go on to where nothing happens any more.
func (w *World) pass(limit time.Time) {
	if !w.halted {
		w.now = limit
	}
}

// RunUntil lets time pass until cond holds, at most d; it reports whether it did.
func (w *World) RunUntil(d time.Duration, cond func() bool) bool {
	limit := w.now.Add(d)
	for !cond() {
		if !w.step(int64(limit.Sub(Start))) {
			w.pass(limit)
			return cond()
		}
	}
	return true
}

// Log writes one line of the trace.
func (w *World) Log(who, format string, args ...any) {
	if w.quiet {
		return
	}
	w.trace = append(w.trace, fmt.Sprintf("%12s  %-14s %s", w.now.Sub(Start).Round(time.Millisecond), who, fmt.Sprintf(format, args...)))
}

// Trace is what happened, line by line.
func (w *World) Trace() []string { return w.trace }

// fail records a broken invariant.
func (w *World) fail(format string, args ...any) {
	w.failure = append(w.failure, fmt.Sprintf(format, args...))
	w.Log("INVARIANT", format, args...)
}

// Failures lists the broken invariants.
func (w *World) Failures() []string { return w.failure }

// entropy is a source for one host, from the world's seed and the host's name.
func (w *World) entropy(name string) io.Reader {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("simnet entropy "+name+" "), w.seed))
	return rand.NewChaCha8(h)
}

// newPeer draws a host key and an address that nothing listens on, in a network of its own or a given one.
func (w *World) newPeer(rng io.Reader, network uint16) (ed25519.PrivateKey, dht.Peer) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rng, seed); err != nil {
		panic(err)
	}
	key := signature.NewKey(seed)
	n := len(w.hosts) + 1
	addr := []byte{4, 10, byte(n >> 16), byte(n >> 8), byte(n), 6, 0x10, 0x00}
	if network != 0 {
		addr[1], addr[2] = byte(network>>8), byte(network)
	}
	return key, dht.Peer{ID: dht.PeerFromKey(key.Public().(ed25519.PublicKey)), Addrs: [][]byte{addr}}
}

// reach finds a host that is online now and not on the other side of a cut.
func (w *World) reach(from host, peer []byte) (host, bool) {
	h, ok := w.hosts[string(peer)]
	return h, ok && h.online() && from.online() && !w.parted(from, h)
}

// cut keeps hosts from each other: those of one side from all others, or those that are kept from those that are banned.
type cut struct {
	side         map[string]bool
	kept, banned map[string]bool
	blind        bool // the kept do not reach the directory either
}

func (c *cut) parts(a, b string) bool {
	return c.side[a] != c.side[b] || c.kept[a] && c.banned[b] || c.banned[a] && c.kept[b]
}

func namesOf(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// Part cuts the network in two: the named hosts, and everybody else. It takes the place of the one before.
func (w *World) Part(names ...string) {
	w.cuts = slices.DeleteFunc(w.cuts, func(c *cut) bool { return c.side != nil })
	w.Divide(names...)
}

// Divide is Part for a time, beside others: what it returns ends it.
func (w *World) Divide(names ...string) (end func()) {
	w.Log("world", "is cut: %s", strings.Join(names, " "))
	return w.sever(&cut{side: namesOf(names)})
}

// Censor keeps the named devices from the named relays, and, if blind, from the directory, until it is ended.
func (w *World) Censor(devices, relays []string, blind bool) (end func()) {
	w.Log("world", "%d devices are kept from %d relays", len(devices), len(relays))
	return w.sever(&cut{kept: namesOf(devices), banned: namesOf(relays), blind: blind})
}

// sever ends the links that a cut goes through.
func (w *World) sever(c *cut) (end func()) {
	w.cuts = append(w.cuts, c)
	for _, d := range w.devices {
		for _, peer := range d.links.all() {
			if h, ok := w.hosts[peer]; ok && w.parted(d, h) {
				w.disconnect(d, peer)
			}
		}
	}
	return func() {
		if i := slices.Index(w.cuts, c); i >= 0 {
			w.Log("world", "a cut ends")
			w.cuts = slices.Delete(w.cuts, i, i+1)
			w.meet()
		}
	}
}

// Heal ends all cuts.
func (w *World) Heal() {
	w.Log("world", "is whole")
	w.cuts = nil
	w.meet()
}

func (w *World) meet() {
	for _, d := range w.devices {
		d.meet()
	}
}

func (w *World) parted(a, b host) bool {
	return slices.ContainsFunc(w.cuts, func(c *cut) bool { return c.parts(a.Name(), b.Name()) })
}

// blind says whether a device is kept from the directory.
func (w *World) blind(d *Device) bool {
	return slices.ContainsFunc(w.cuts, func(c *cut) bool { return c.blind && c.kept[d.name] })
}

// After has do happen after a time.
func (w *World) After(d time.Duration, do func()) { w.after(d, do) }

// Relays and Devices are all hosts that were ever added, in that order.
func (w *World) Relays() []*Relay { return w.relays }

// Devices are those of people.
func (w *World) Devices() []*Device { return w.devices }
