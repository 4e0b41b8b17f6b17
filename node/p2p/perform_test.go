package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/host"
)

// streams records the collect streams that a collectors opens.
type streams struct {
	mu      sync.Mutex
	began   map[string][]time.Time // by relay
	open    map[string]int
	boxes   map[string]int
	outcome func() error // nil: the stream stays open
	deliver error
}

func newStreams() (*streams, *collectors) {
	s := &streams{began: map[string][]time.Time{}, open: map[string]int{}, boxes: map[string]int{}}
	return s, &collectors{
		collect: s.collect,
		deliver: func(dht.Peer, []node.Collected) error { return s.deliver },
		drained: func(dht.Peer, mailbox.ID, time.Time) {},
		now:     time.Now,
		log:     slog.New(slog.DiscardHandler),
	}
}

func (s *streams) collect(ctx context.Context, r dht.Peer, keys []ed25519.PrivateKey, each func(mailbox.ID, []mailbox.Stored) error) error {
	id := string(r.ID)
	s.mu.Lock()
	s.began[id] = append(s.began[id], time.Now())
	s.open[id]++
	s.boxes[id] = len(keys)
	outcome := s.outcome
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open[id]--
		s.mu.Unlock()
	}()
	if err := each(mailbox.ID{}, []mailbox.Stored{{Envelope: []byte("x")}}); err != nil {
		return err
	}
	if outcome != nil {
		return outcome()
	}
	<-ctx.Done()
	return ctx.Err()
}

func watchOf(relay, box string) node.Watch {
	return node.Watch{Relay: dht.Peer{ID: []byte(relay)}, Key: testKey(box)}
}

func TestCollectStreamsFollowTheWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cs := newStreams()
		cs.reconcile([]node.Watch{watchOf("r1", "a"), watchOf("r2", "a"), watchOf("r1", "b")})
		synctest.Wait()
		if s.open["r1"] != 1 || s.open["r2"] != 1 || s.boxes["r1"] != 2 || s.boxes["r2"] != 1 {
			t.Errorf("streams %v, boxes %v", s.open, s.boxes)
		}
		cs.reconcile([]node.Watch{watchOf("r1", "b"), watchOf("r1", "a")}) // in another order
		synctest.Wait()
		if s.open["r1"] != 1 || s.open["r2"] != 0 || len(s.began["r1"]) != 1 {
			t.Errorf("streams %v, r1 was opened %d times", s.open, len(s.began["r1"]))
		}
		cs.reconcile([]node.Watch{watchOf("r1", "c")}) // the control: another box is another stream
		synctest.Wait()
		if s.open["r1"] != 1 || len(s.began["r1"]) != 2 {
			t.Errorf("streams %v, r1 was opened %d times", s.open, len(s.began["r1"]))
		}
		cs.close()
		cs.reconcile([]node.Watch{watchOf("r1", "d")})
		synctest.Wait()
		if s.open["r1"] != 0 {
			t.Error("a stream after the end")
		}
	})
}

func TestCollectStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, cs := newStreams()
		var watches []node.Watch
		for i := range maxCollectors + 10 {
			watches = append(watches, watchOf(string(rune('A'+i)), "a"))
		}
		cs.reconcile(watches)
		synctest.Wait()
		if len(cs.m) != maxCollectors {
			t.Errorf("%d streams", len(cs.m))
		}
		cs.close()
	})
}

func TestABrokenRelayIsAskedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cs := newStreams()
		s.deliver = errors.New("cannot store") // what is not stored ends the stream: the relay keeps it
		cs.reconcile([]node.Watch{watchOf("r", "a")})
		rest(t.Context(), 6*time.Hour)
		s.mu.Lock()
		tries := len(s.began["r"])
		s.mu.Unlock()
		if most := int(6 * time.Hour / (collectMax / 4)); tries < 100 || tries > most {
			t.Errorf("%d tries in 6 hours", tries)
		}
		cs.poke(peer.ID("r")) // it has just connected
		synctest.Wait()
		if len(s.began["r"]) != tries+1 {
			t.Errorf("%d tries after it connected, want %d", len(s.began["r"]), tries+1)
		}
		cs.close()
	})
}

func TestAGoodStreamEndsTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cs := newStreams()
		fail := true
		s.outcome = func() error {
			if s.mu.Lock(); fail {
				s.mu.Unlock()
				return errors.New("gone")
			}
			s.mu.Unlock()
			rest(t.Context(), 10*time.Minute)
			return errors.New("gone at last")
		}
		cs.reconcile([]node.Watch{watchOf("r", "a")})
		rest(t.Context(), time.Hour)
		s.mu.Lock()
		fail = false
		s.mu.Unlock()
		rest(t.Context(), time.Hour)
		s.mu.Lock()
		began := s.began["r"]
		s.mu.Unlock()
		last := began[len(began)-1].Sub(began[len(began)-2])
		if pause := last - 10*time.Minute; pause > 3*collectMin {
			t.Errorf("%v between the end of a good stream and the next", pause)
		}
		cs.close()
	})
}

// fullPerformers are performers whose lanes are full.
func fullPerformers(t *testing.T) *performers {
	h := testHost(t, "a")
	p := &performers{
		host: h, peers: &host.AddressBook{Host: h, Loopback: true}, bell: newBell(), log: slog.New(slog.DiscardHandler),
		contacts: func(dht.Peer) {}, loop: newLoop(nil, nil, nil, nil),
	}
	close(p.loop.done) // answers go nowhere
	p.init()
	p.courier = newCourier(h, p.peers, nil)
	_, p.collectors = newStreams()
	for _, l := range []*lanes{p.relays, p.waits, p.looks, p.puts, p.connects, p.courier.lanes} {
		fill(t, l, "peer")
		fill(t, l, "")
	}
	t.Cleanup(p.close)
	return p
}

// fill makes every worker of a lane busy and its queue full.
func fill(t *testing.T, l *lanes, key string) {
	t.Helper()
	var busy atomic.Int32
	hold := func(ctx context.Context) { busy.Add(1); <-ctx.Done() }
	if !l.submit(key, hold) {
		return // all lanes are taken: full too
	}
	eventually(t, "busy", func() bool {
		for l.submit(key, hold) {
		}
		return int(busy.Load()) == l.width
	})
	for l.submit(key, hold) {
	}
}

func TestAFullQueueAnswersAtOnce(t *testing.T) {
	p := fullPerformers(t)
	to := dht.Peer{ID: []byte("peer")}
	answers := p.perform(&result{out: node.Effects{
		Acks:     []node.RelayAck{{Relay: to}}, // best effort: no answer
		Directs:  []node.Direct{{Peer: to}},
		Deposits: []node.Deposit{{Relay: to}},
		Lookups:  []string{"/kith-u/x"},
		Puts:     []node.Put{{Key: "/kith-u/x"}},
		Connects: []dht.Peer{to},
		Reserves: []node.Reserve{{Relay: to}},
		Commits:  []node.Commit{{Relay: to}},
		Sets:     []node.PushSet{{Relay: to}},
		Audits:   []node.Audit{{Relay: to}},
		Awaits:   []node.Await{{Relay: to}},
	}})
	if len(answers) != 8 {
		t.Errorf("%d answers, want one for each effect that has one", len(answers))
	}
}

// What was under way when the node closed says nothing of the relay: the engine does not hear of it. The control is a relay
// that hangs up.
func TestWhatTheNodeEndsItselfCountsAgainstNoRelay(t *testing.T) {
	for name, answers := range map[string]int{"the node closes": 0, "control: the relay hangs up": 3} {
		t.Run(name, func(t *testing.T) {
			silent := testHost(t, "relay")
			asked := make(chan struct{}, 16)
			silent.SetStreamHandler(relay.Protocol, func(st network.Stream) {
				if answers > 0 {
					_ = st.Reset()
				}
				asked <- struct{}{}
			})
			p := &performers{
				log: slog.New(slog.DiscardHandler), loop: newLoop(nil, nil, nil, nil),
				mail: &mail{
					fresh: func() (host.Host, error) { return testHost(t, "guise"), nil }, now: time.Now,
					up: func(peer.ID) {}, down: func(peer.ID) {},
				},
			}
			p.init()
			if err := p.mail.open(); err != nil {
				t.Fatal(err)
			}
			defer p.mail.close()
			to := kad.PlainPeer(peer.AddrInfo{ID: silent.ID(), Addrs: silent.Addrs()})
			p.deposit(node.Deposit{Relay: to, Deposit: mailbox.Deposit{Envelope: []byte("x"), Expires: time.Now().Add(time.Hour)}})
			p.reserve(node.Reserve{Relay: to, Boxes: []ed25519.PrivateKey{testKey("box")}})
			p.audit([]node.Audit{{Relay: to}})
			<-asked
			if answers > 0 {
				eventually(t, "answers", func() bool { return len(p.loop.inputs) == answers })
			}
			p.relays.close()
			if got := len(p.loop.inputs); got != answers {
				t.Errorf("the engine heard %d answers", got)
			}
		})
	}
}

func TestWorkIsDoneForARelayThatAsks(t *testing.T) {
	d := mailbox.Deposit{Envelope: []byte("envelope")}
	work := solve(t.Context(), d, 12)
	id := mailbox.EnvelopeIDOf(d.Envelope)
	if !mailbox.CheckWork(d.Box, id, 12, work) {
		t.Error("the work does not hold")
	}
	if mailbox.CheckWork(d.Box, mailbox.EnvelopeIDOf([]byte("other")), 12, work) { // the control
		t.Error("the work fits another envelope")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if solve(ctx, d, 60) != nil {
		t.Error("work for a request that has ended")
	}
}

func TestAuditsShareAQuestionWhereTheyCan(t *testing.T) {
	r, other := dht.Peer{ID: []byte("r")}, dht.Peer{ID: []byte("other")}
	var list []node.Audit
	for i := range 40 {
		list = append(list, node.Audit{Ref: uint64(i), Relay: r, Nonce: [32]byte{1}})
	}
	list = append(list,
		node.Audit{Ref: 40, Relay: other, Nonce: [32]byte{1}},
		node.Audit{Ref: 41, Relay: r, Box: mailbox.ID{2}, Nonce: [32]byte{1}},
		node.Audit{Ref: 42, Relay: r, Nonce: [32]byte{2}})
	var sizes []int
	refs := map[uint64]bool{}
	for _, group := range auditsOf(list) {
		sizes = append(sizes, len(group))
		for _, a := range group {
			refs[a.Ref] = true
			if a.Box != group[0].Box || a.Nonce != group[0].Nonce || string(a.Relay.ID) != string(group[0].Relay.ID) {
				t.Errorf("%d and %d share a question", a.Ref, group[0].Ref)
			}
		}
	}
	if want := []int{mailbox.MaxPossess, 40 - mailbox.MaxPossess, 1, 1, 1}; !slices.Equal(sizes, want) || len(refs) != len(list) {
		t.Errorf("groups of %v, want %v; %d of %d audits", sizes, want, len(refs), len(list))
	}
}

func TestAdvertsAreAskedForOnceAndAgainBeforeTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCandidates(time.Now)
		var mu sync.Mutex // two relays are asked at once
		asked := map[string]int{}
		var told []election.Source
		broken := false
		c.advert = func(_ context.Context, r dht.Peer) (*dht.Advert, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[string(r.ID)]++
			if broken {
				if len(r.Addrs) == 0 {
					t.Error("asked again where nobody said")
				}
				return nil, errors.New("no")
			}
			return &dht.Advert{Peer: dht.Peer{Addrs: [][]byte{[]byte("addr")}}}, nil
		}
		c.tell = func(_ *dht.Advert, s election.Source) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, s)
		}
		all := []peer.ID{"pin", "other", "person"}
		c.seenAs("pin", election.SourceDHT)
		c.seenAs("pin", election.SourceOwn) // the most trusted place counts
		c.seenAs("pin", election.SourceGossip)
		for range 5 {
			c.met("pin", true)
			c.met("other", true)
			c.met("person", false)
			synctest.Wait()
		}
		if asked["pin"] != 1 || asked["other"] != 1 || asked["person"] != 0 {
			t.Errorf("asked %v", asked)
		}
		if len(told) != 2 || min(told[0], told[1]) != election.SourceOwn {
			t.Errorf("told %v", told)
		}
		if c.relays(all) != 2 {
			t.Errorf("%d relays", c.relays(all))
		}
		if c.known() != 2 {
			t.Errorf("%d relays known", c.known())
		}
		broken = true
		rest(t.Context(), advertEvery+time.Minute)
		c.again()
		synctest.Wait()
		c.again() // just failed: not yet again
		synctest.Wait()
		if asked["pin"] != 2 {
			t.Errorf("asked %d times, want a second time before the advert ends", asked["pin"])
		}
		if rest(t.Context(), advertLife); c.known() != 0 {
			t.Errorf("%d relays known that have been silent for a day", c.known())
		}
		c.close()
	})
}

func TestCandidatesAreBoundedAndPinsStay(t *testing.T) {
	c := newCandidates(time.Now)
	defer c.close()
	c.seenAs("pin", election.SourceOwn)
	for i := range 3 * maxCandidates {
		c.seenAs(peer.ID(rune('A'+i)), election.SourceGossip)
	}
	if len(c.seen) != maxCandidates || c.seen["pin"] == nil {
		t.Errorf("%d candidates, pin kept: %v", len(c.seen), c.seen["pin"] != nil)
	}
}
