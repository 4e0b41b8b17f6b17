package relay

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

func TestBudgetMakesReadersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		if !b.take(8) {
			t.Fatal("closed")
		}
		var wg sync.WaitGroup
		got := make(chan bool, 2)
		for range 2 {
			wg.Go(func() { got <- b.take(8) })
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("more was given than there is")
		}
		b.give(8)
		if !<-got {
			t.Fatal("closed")
		}
		b.close()
		wg.Wait()
		if <-got {
			t.Fatal("room in a closed budget")
		}
	})
}

func TestTooLargeAnswerIsNotSent(t *testing.T) {
	big := &pb.Answer{What: &pb.Answer_Set{Set: make([]byte, frame.Max)}}
	if _, err := frame.Append(nil, big); !errors.Is(err, frame.ErrInvalid) {
		t.Fatal(err)
	}
	page := &pb.Items{Box: make([]byte, idSize)}
	for range pageItems {
		page.Items = append(page.Items, &pb.Item{Seq: 1 << 62, Envelope: make([]byte, pageBytes/pageItems)})
	}
	if _, err := frame.Append(nil, &pb.Answer{What: &pb.Answer_Items{Items: page}}); err != nil {
		t.Fatal("a full page does not fit a frame")
	}
}

func TestIdleCollectStreamSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := seedKey("box")
		frames := 0
		p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
			frames++
			if ask.GetCollect() == nil {
				return nil
			}
			return appendAll(t, &pb.Answer{What: &pb.Answer_Challenge{Challenge: &pb.Challenge{Nonce: make([]byte, nonceSize)}}})
		})
		_, done := gather(t.Context(), p.c, p.peer, key)
		synctest.Wait()
		before := frames
		elapse(24 * time.Hour)
		if frames != before || before != 3 {
			t.Fatalf("%d frames to begin with, %d after a day", before, frames)
		}
		_ = p.c.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	})
}

func appendAll(t *testing.T, ms ...*pb.Answer) (b []byte) {
	for _, m := range ms {
		b = append(b, mustFrame(t, m)...)
	}
	return b
}

func TestAdvertIsSignedAnewWhenItAges(t *testing.T) {
	now := time.Now()
	m := inMemory(t, "relay", Config{Now: func() time.Time { return now }})
	get := func() []byte {
		raw, err := m.s.advert.get(m.s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	first := get()
	now = now.Add(advertEvery - time.Second)
	if !bytes.Equal(first, get()) {
		t.Fatal("signed anew too early")
	}
	now = now.Add(2 * time.Second)
	second := get()
	if bytes.Equal(first, second) {
		t.Fatal("an old advert is served")
	}
	m.s.addrs = func() []ma.Multiaddr { return []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")} }
	now = now.Add(time.Second)
	a, err := dht.ParseAdvert(get())
	if err != nil || len(a.Peer.Addrs) != 1 {
		t.Fatalf("after a change of address: %v", err)
	}
}

func TestAdvertNamesReachableAddressesFirst(t *testing.T) {
	var all []ma.Multiaddr
	for _, s := range []string{
		"/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1",
		"/ip4/127.0.0.1/tcp/2", "/ip4/1.1.1.1/tcp/1", "/ip6/::1/tcp/1",
	} {
		all = append(all, ma.StringCast(s))
	}
	var got []string
	for _, b := range advertAddrs(all) {
		a, err := ma.NewMultiaddrBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.String())
	}
	want := []string{"/ip4/8.8.8.8/tcp/1", "/ip4/1.1.1.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1"}
	if !slices.Equal(got, want) {
		t.Fatalf("%v", got)
	}
}

// heard is an observer.
type heard struct {
	mu   sync.Mutex
	each map[Event]int
}

func (h *heard) Event(_ peer.ID, what Event, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.each[what] += n
}

func TestObserverHearsWhatStatsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &heard{each: make(map[Event]int)}
		m := inMemory(t, "relay", Config{Observer: o})
		key := seedKey("box")
		m.lease(t, key)
		c := m.dial(t, "bob")
		d := depositTo(key, 1, 100)
		c.send(t, depositAsk(1, d))
		c.recv(t)
		c.send(t, ackAsk(2, key, m.peer.ID, mailbox.EnvelopeIDOf(d.Envelope)))
		c.recv(t)
		c.send(t, getSet(3))
		c.recv(t)
		go func() { _, _ = c.Write([]byte{0}) }()
		c.ended(t)
		m.open(t, 0)
		for what, n := range map[Event]int{Deposited: 1, Acked: 1, Refused: 1, Malformed: 1} {
			if o.each[what] != n {
				t.Errorf("event %d: heard %d, want %d", what, o.each[what], n)
			}
		}
	})
}

func TestServeNeedsTheHostsOwnKey(t *testing.T) {
	h := newHost(t, seedKey("relay"), overTCP)
	other := mailbox.NewRelay(seedKey("other"), mailbox.Limits{})
	if _, err := Serve(h, Config{Store: newShared(), Relay: other}); err == nil {
		t.Fatal("a relay would sign with a key that is not its address")
	}
}

func TestCloseAnswersWhatItHasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{newShared(), make(chan struct{})}
		m := inMemory(t, "relay", Config{Store: g})
		m.store = g.shared
		key := seedKey("box")
		m.lease(t, key)
		c, idle := m.dial(t, "bob"), m.dial(t, "ann")
		idle.send(t, getSet(1))
		refused(t, idle.recv(t), mailbox.NotMine)
		for n := range 3 {
			c.send(t, depositAsk(uint64(n+1), depositTo(key, n, 100)))
		}
		closed := make(chan error, 1)
		go func() { closed <- m.s.Close() }()
		idle.ended(t)
		synctest.Wait()
		if len(closed) != 0 {
			t.Fatal("control: closed while requests wait for the store")
		}
		close(g.let)
		for range 3 {
			if c.recv(t).GetReceipt() == nil {
				t.Fatal("no receipt")
			}
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if n := m.stored(t, key); n != 3 {
			t.Fatalf("%d stored", n)
		}
	})
}

func TestCloseDoesNotWaitForWhoTakesNoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		m.dial(t, "eve").send(t, getSet(1)) // and never reads
		synctest.Wait()
		start := time.Now()
		if err := m.s.Close(); err != nil || time.Since(start) != closeWithin {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestSlowStreamsEndWhenFramesHoldTooMuch(t *testing.T) {
	for name, limit := range map[string]int64{"": 100 << 10, "control: no limit": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{})
				m.s.load.Most = limit
				ann := m.dial(t, "ann")
				ann.send(t, getSet(1))
				ann.recv(t)
				half := frameOf(frame.Max, make([]byte, 30<<10))
				for i := range 20 { // frames that never end
					c := m.dial(t, fmt.Sprint("eve", i))
					go func() { _, _ = c.Write(half) }()
					elapse(2 * slowAfter)
				}
				if held := m.s.Stats().HeldBytes; held > 2*limit || limit == 1<<40 && held < 600<<10 {
					t.Fatalf("%d bytes are held", held)
				}
				if n := m.s.Stats().OverLimits; n == 0 == (limit < 1<<40) {
					t.Fatalf("%d streams were ended", n)
				}
				ann.send(t, getSet(2)) // whoever is not slow stays
				refused(t, ann.recv(t), mailbox.NotMine)
				elapse(2 * bodyWithin)
				if held := m.s.Stats().HeldBytes; held != 0 {
					t.Fatalf("%d bytes are held by idle streams", held)
				}
			})
		})
	}
}

func TestStatsCountRefusalsByCodeAndHowLongDepositsTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{newShared(), make(chan struct{})}
		m := inMemory(t, "relay", Config{Store: g})
		m.store = g.shared
		key := seedKey("box")
		m.lease(t, key)
		c := m.dial(t, "bob")
		c.send(t, depositAsk(1, depositTo(key, 1, 100)))
		elapse(3 * time.Millisecond)
		close(g.let)
		c.recv(t)
		c.send(t, depositAsk(2, depositTo(seedKey("unknown"), 1, 100)))
		c.recv(t)
		big := depositTo(key, 1, mailbox.MaxEnvelope+1)
		c.send(t, depositAsk(3, big))
		c.recv(t)
		st := m.s.Stats()
		if st.Refused != 2 || st.RefusedBy[mailbox.NotMine] != 1 || st.RefusedBy[mailbox.TooLarge] != 1 {
			t.Fatalf("refused %v", st.RefusedBy)
		}
		at := slices.Index(LatencyBounds(), 5*time.Millisecond)
		if st.Took.Sum != 3*time.Millisecond || st.Took.Counts[at] != 1 {
			t.Fatalf("took %v", st.Took)
		}
	})
}

// TestRefusedDepositsCostMore: whoever shows bad passes is silent after a few;
// whoever keeps to the rules pays one token each.
func TestRefusedDepositsCostMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{Rate: Rate{PerSecond: 1, Burst: 100}})
		key := seedKey("box")
		m.lease(t, key)
		ask := func(c *raw, id uint64, spoil bool) mailbox.Code {
			d := depositTo(key, int(id), 100)
			if spoil {
				d.Pass = make([]byte, pass.Size)
			}
			c.send(t, depositAsk(id, d))
			return mailbox.Code(c.recv(t).GetRefusal().GetCode())
		}
		bad, good := m.dial(t, "mallory"), m.dial(t, "bob")
		for id, want := range []mailbox.Code{mailbox.BadPass, mailbox.BadPass, mailbox.RateLimited} {
			if got := ask(bad, uint64(id+1), true); got != want {
				t.Errorf("bad pass %d: %v, want %v", id+1, got, want)
			}
		}
		for id := range uint64(60) {
			if got := ask(good, id+1, false); got != 0 {
				t.Fatalf("deposit %d: %v", id+1, got)
			}
		}
	})
}

// TestWhoIsRefusedAtACostIsReadSlowly: long before a client has spent what it may,
// each of its bad passes waits for the last; a client that was refused once goes on.
func TestWhoIsRefusedAtACostIsReadSlowly(t *testing.T) {
	const n = 40
	for name, tc := range map[string]struct {
		bad           func(i int) bool
		least, atMost time.Duration
	}{
		"bad passes":                  {func(int) bool { return true }, (n - firstInFlight - maxRefusedPauses) * refusedPause * maxRefusedPauses, time.Hour},
		"one stale pass":              {func(i int) bool { return i == n/2 }, 0, refusedPause},
		"control: nothing is refused": {func(int) bool { return false }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{Rate: Rate{PerSecond: -1}})
				key := seedKey("box")
				m.lease(t, key)
				c := m.dial(t, "eve")
				var asks []byte
				for i := range n {
					d := depositTo(key, i, 100)
					if tc.bad(i) {
						d.Pass = make([]byte, pass.Size)
					}
					asks = append(asks, mustFrame(t, depositAsk(uint64(i+1), d))...)
				}
				start := time.Now()
				go func() { _, _ = c.Write(asks) }()
				for i := range n {
					if a := c.recv(t); (a.GetReceipt() == nil) != tc.bad(int(a.Id-1)) {
						t.Fatalf("answer %d: %v", i+1, a)
					}
				}
				if d := time.Since(start); d < tc.least || d > tc.atMost {
					t.Fatalf("%d answers in %v, want %v to %v", n, d, tc.least, tc.atMost)
				}
			})
		})
	}
}

// TestFewBadPassesOfATurnAreLookedAt: a stream that was good for long has many
// in flight; what it then shows that does not hold costs the relay a few checks.
func TestFewBadPassesOfATurnAreLookedAt(t *testing.T) {
	for name, tc := range map[string]struct {
		bad  int
		want map[mailbox.Code]int
	}{
		"many":         {100, map[mailbox.Code]int{0: 1, mailbox.BadPass: maxBadPasses, mailbox.RateLimited: 100 - maxBadPasses + 1}},
		"control: few": {maxBadPasses - 1, map[mailbox.Code]int{0: 2, mailbox.BadPass: maxBadPasses - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{Rate: Rate{PerSecond: -1}})
				key := seedKey("box")
				m.lease(t, key)
				deposit := func(i int, pass []byte) *job {
					d := depositTo(key, i, 100)
					d.Pass = pass
					return &job{ask: depositAsk(uint64(i+1), d)}
				}
				m.s.doWrites([]*job{deposit(0, passFor("relay", key, 1))}) // is remembered from here
				var jobs []*job
				for i := range tc.bad {
					jobs = append(jobs, deposit(i+1, bytes.Repeat([]byte{1, byte(i)}, pass.Size/2+1)[:pass.Size]))
				}
				jobs = append(jobs, deposit(tc.bad+1, passFor("relay", key, 1)), deposit(tc.bad+2, passFor("relay", key, 2)))
				m.s.doWrites(jobs)
				codes := map[mailbox.Code]int{}
				for _, j := range jobs {
					codes[mailbox.Code(j.answer.GetRefusal().GetCode())]++
				}
				if !maps.Equal(codes, tc.want) {
					t.Fatalf("answers %v, want %v", codes, tc.want)
				}
			})
		})
	}
}
