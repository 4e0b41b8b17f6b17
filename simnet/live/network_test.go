package live

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/result"
)

// pair is a network of two hosts with a socket each.
type pair struct {
	*Network
	a, b   place
	ca, cb net.PacketConn
}

func (p *pair) socket(t *testing.T, at *place) net.PacketConn {
	t.Helper()
	p.add(at)
	c, err := p.of(at).ListenPacket(&net.UDPAddr{IP: at.at.AsSlice(), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// between runs fn with two hosts, 50 ms apart, whose translators, if they have any, never let themselves be punched.
func between(t *testing.T, loss float64, change func(a, b *place), fn func(p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{Network: newNetwork(1, loss, func(_, _ *place) time.Duration { return 50 * time.Millisecond },
			func(_, _ *place) bool { return false })}
		change(&p.a, &p.b)
		p.ca, p.cb = p.socket(t, &p.a), p.socket(t, &p.b)
		fn(p)
		p.ca.Close()
		p.cb.Close()
		p.close()
	})
}

// send sends n packets from one socket to another; it returns how many came, and when the first did.
func send(from, to net.PacketConn, n int) (came int, first time.Duration) {
	began, done := time.Now(), make(chan struct{})
	_ = to.SetReadDeadline(began.Add(time.Second))
	go func() {
		defer close(done)
		for {
			if _, _, err := to.ReadFrom(make([]byte, 100)); err != nil {
				return
			}
			if came++; came == 1 {
				first = time.Since(began)
			}
		}
	}()
	for range n {
		_, _ = from.WriteTo([]byte("hello"), to.LocalAddr())
	}
	<-done
	return came, first
}

func nothing(*place, *place) {}

func TestPacketsTakeTheirTime(t *testing.T) {
	between(t, 0, nothing, func(p *pair) {
		if n, took := send(p.ca, p.cb, 3); n != 3 || took < 50*time.Millisecond || took > 55*time.Millisecond {
			t.Errorf("%d of 3 packets, after %v", n, took)
		}
		if p.a.sent.Load() != 3*(5+headers) || p.b.got.Load() != 3*(5+headers) || p.a.packets.Load() != 3 {
			t.Errorf("counted %d and %d bytes, %d packets", p.a.sent.Load(), p.b.got.Load(), p.a.packets.Load())
		}
	})
}

// One is up to a tenth later than another, and never overtakes it.
func TestPacketsStayInOrder(t *testing.T) {
	between(t, 0, nothing, func(p *pair) {
		began, took := time.Now(), map[time.Duration]bool{}
		for i := range 20 {
			_, _ = p.ca.WriteTo([]byte{byte(i)}, p.cb.LocalAddr())
		}
		b := make([]byte, 10)
		for i := range 20 {
			if _, _, err := p.cb.ReadFrom(b); err != nil || b[0] != byte(i) {
				t.Fatalf("packet %d came as the %dth (%v)", b[0], i, err)
			}
			took[time.Since(began)] = true
		}
		if len(took) < 2 {
			t.Error("the control: all came at the same time")
		}
	})
}

func TestPacketsAreLost(t *testing.T) {
	between(t, 0.25, nothing, func(p *pair) {
		const sent = 2000
		if n, _ := send(p.ca, p.cb, sent); n < 1400 || n > 1600 { // five standard deviations
			t.Errorf("%d of %d packets came, a quarter should be lost", n, sent)
		}
	})
}

func TestWhoIsAwayOrCutOffGetsNothing(t *testing.T) {
	between(t, 0, func(a, b *place) { b.relay = true }, func(p *pair) {
		check := func(what string, want int) {
			t.Helper()
			for _, way := range [][2]net.PacketConn{{p.ca, p.cb}, {p.cb, p.ca}} {
				if n, _ := send(way[0], way[1], 1); n != want {
					t.Errorf("%s: %d packets, want %d", what, n, want)
				}
			}
		}
		check("control", 1)
		p.set(func() { p.b.away = true })
		check("away", 0)
		p.set(func() { p.b.away, p.b.parts = false, 2 })
		check("parted", 0)
		p.set(func() { p.b.parts, p.a.blind, p.b.blind = 0, 1, 1 })
		check("blocked", 0)
		p.set(func() { p.a.blind = 2 })
		check("blocked from others", 1)
	})
}

func TestATranslatorLetsInWhatAnswers(t *testing.T) {
	between(t, 0, func(_, b *place) { b.nat = true }, func(p *pair) {
		if n, _ := send(p.ca, p.cb, 1); n != 0 {
			t.Error("a stranger got in")
		}
		if n, _ := send(p.cb, p.ca, 1); n != 1 {
			t.Error("nothing gets out")
		}
		if n, _ := send(p.ca, p.cb, 1); n != 1 {
			t.Error("an answer does not get in")
		}
		rest(flowFor)
		if n, _ := send(p.ca, p.cb, 1); n != 0 {
			t.Error("an answer got in after it was forgotten")
		}
	})
	for _, punch := range []bool{false, true} {
		between(t, 0, func(a, b *place) { a.nat, b.nat = true, true }, func(p *pair) {
			p.punch = func(_, _ *place) bool { return punch }
			if n, _ := send(p.ca, p.cb, 1); n != 0 {
				t.Error("a stranger behind a translator got in")
			}
			if n, _ := send(p.cb, p.ca, 1); n == 1 != punch {
				t.Errorf("punched %t, and %d of one packet came", punch, n)
			}
		})
	}
}

func TestWhatOnlyEnginesPlayIsRefused(t *testing.T) {
	fine := crowd.Default()
	if err := playable(&fine); err != nil {
		t.Fatalf("the control: %v", err)
	}
	for name, change := range map[string]func(*crowd.Config){
		"repair":    func(c *crowd.Config) { c.NoRepair = true },
		"bandwidth": func(c *crowd.Config) { c.Bandwidth = 1e6 },
		"directory": func(c *crowd.Config) { c.Directory = 1e6 },
		"liars":     func(c *crowd.Config) { c.Faults = []crowd.Fault{{Kind: "relays-delete"}} },
		"size":      func(c *crowd.Config) { c.Users = maxNodes },
	} {
		c := crowd.Default()
		change(&c)
		if playable(&c) == nil {
			t.Errorf("%s: played", name)
		}
	}
	for _, kind := range played {
		if crowd.Kinds[kind] == "" {
			t.Errorf("there is no fault %q", kind)
		}
	}
}

func TestDifferencesHaveBounds(t *testing.T) {
	of := func(share, p50, p99 float64) *result.Result {
		return &result.Result{
			Values:  []result.Value{{Name: "deliveries.count", Value: 10_000}},
			Spreads: []result.Spread{{Name: "delivery.seconds", Unit: "s", N: uint64(10_000 * share), P50: p50, P99: p99}},
		}
	}
	bad := func(lives ...*result.Result) (out []string) {
		var worlds []*result.Result
		for range lives {
			worlds = append(worlds, of(1, 1, 10))
		}
		for _, d := range Compare(worlds, lives) {
			if !d.OK() {
				out = append(out, d.Name)
			}
		}
		return out
	}
	if got := bad(of(0.9995, 1.04, 9.1)); len(got) != 0 {
		t.Errorf("within bounds, and refused: %v", got)
	}
	for _, c := range []struct {
		live *result.Result
		want string
	}{{of(0.99, 1, 10), "delivery.share"}, {of(1, 1.06, 10), "delivery.seconds.p50"}, {of(1, 1, 8.9), "delivery.seconds.p99"}} {
		if got := bad(c.live); len(got) != 1 || got[0] != c.want {
			t.Errorf("%v, want %s", got, c.want)
		}
	}
	// Over seeds it is the mean that counts, and its interval says how much that is worth.
	if got := bad(of(1, 1.08, 10), of(1, 0.96, 10), of(1, 0.98, 10)); len(got) != 0 {
		t.Errorf("close on average, and refused: %v", got)
	}
	for _, d := range Compare([]*result.Result{of(1, 1, 10), of(1, 1, 10)}, []*result.Result{of(1, 1.08, 10), of(1, 0.99, 10.01)}) {
		if want := d.Name != "delivery.seconds.p50"; d.Bound > 0 && d.Sure() != want {
			t.Errorf("%s: %+v, sure %t", d.Name, d.Apart, d.Sure())
		}
	}
	if got := bad(&result.Result{}); len(got) != 3 {
		t.Errorf("figures that are not there are taken for close, but for %v", got)
	}
}
