package relay

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// frameOf is a frame with any body and any claimed length.
func frameOf(claim uint64, body []byte) []byte {
	return append(protowire.AppendVarint(nil, claim), body...)
}

// padded is a well-formed request whose body has exactly size bytes: an
// unknown field fills it.
func padded(t *testing.T, size int) []byte {
	t.Helper()
	body, err := proto.Marshal(getSet(1))
	if err != nil {
		t.Fatal(err)
	}
	for fill := size - len(body); fill > 0; fill-- {
		full := protowire.AppendTag(bytes.Clone(body), 500, protowire.BytesType)
		full = protowire.AppendBytes(full, make([]byte, fill))
		if len(full) == size {
			return full
		}
	}
	t.Fatal("no padding fits")
	return nil
}

func TestMalformedFramesEndTheStreamAndAreCounted(t *testing.T) {
	whole := padded(t, frame.Max)
	good, _ := frame.Append(nil, getSet(1))
	crowded, _ := proto.Marshal(&pb.Ask{What: &pb.Ask_Commit{Commit: &pb.Commit{Signed: make([][]byte, frame.MaxFields)}}})
	if err := proto.Unmarshal(crowded, new(pb.Ask)); err != nil {
		t.Fatal("control: without the count of fields this frame would be taken")
	}
	shortBox, _ := proto.Marshal(&pb.Ask{What: &pb.Ask_GetSet{GetSet: &pb.GetSet{Box: make([]byte, 31)}}})
	bad := map[string][]byte{
		"oversized":       frameOf(frame.Max+1, padded(t, frame.Max+1)),
		"giant claim":     frameOf(1<<40, nil),
		"zero":            {0, 0},
		"long prefix":     {0x81, 0x00, 1},
		"truncated":       good[:len(good)-1],
		"garbage":         frameOf(9, []byte("not proto")),
		"nothing asked":   frameOf(2, []byte{0x08, 1}),
		"crowded":         frameOf(uint64(len(crowded)), crowded),
		"short box":       frameOf(uint64(len(shortBox)), shortBox),
		"collect's frame": mustFrame(t, creditAsk(1, 1)),
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{})
				c := m.dial(t, "eve")
				go func() {
					_, _ = c.Write(b)
					if name == "truncated" {
						_ = c.Close()
					}
				}()
				m.open(t, 0)
				if st := m.s.Stats(); st.Malformed != 1 {
					t.Fatalf("stats %+v", st)
				}
			})
		})
	}
	for name, b := range map[string][]byte{"control: small": good, "control: largest": frameOf(frame.Max, whole)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{})
				c := m.dial(t, "eve")
				go func() { _, _ = c.Write(b) }()
				refused(t, c.recv(t), mailbox.NotMine)
				m.open(t, 1)
			})
		})
	}
}

func mustFrame(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := frame.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// trickle writes b one byte each pause; it returns how long that went well.
func trickle(c *raw, b []byte, pause time.Duration) time.Duration {
	start := time.Now()
	for i := range b {
		if _, err := c.Write(b[i : i+1]); err != nil {
			break
		}
		elapse(pause)
	}
	return time.Since(start)
}

func TestSlowFrameIsCutAtItsDeadline(t *testing.T) {
	frame, _ := frame.Append(nil, getSet(1))
	slow := 2 * bodyWithin / time.Duration(len(frame))
	for name, body := range map[string]time.Duration{"": bodyWithin, "control: no deadline": 1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{})
				m.s.times.body, m.s.times.first = body, body
				c := m.dial(t, "eve")
				lasted := make(chan time.Duration, 1)
				go func() { lasted <- trickle(c, frame, slow) }()
				if body > bodyWithin {
					refused(t, c.recv(t), mailbox.NotMine) // the attack succeeds
					<-lasted
					return
				}
				if d := <-lasted; d > bodyWithin+slow {
					t.Fatalf("a slow frame lasted %v", d)
				}
				m.open(t, 0)
				if st := m.s.Stats(); st.TimedOut != 1 {
					t.Fatalf("stats %+v", st)
				}
			})
		})
	}
}

func TestIdleStreamIsHeldButASilentNewOneIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		held, silent := m.dial(t, "ann"), m.dial(t, "eve")
		held.send(t, getSet(1))
		refused(t, held.recv(t), mailbox.NotMine)
		silent.ended(t)
		elapse(24 * time.Hour)
		held.send(t, getSet(2))
		refused(t, held.recv(t), mailbox.NotMine)
		m.open(t, 1)
		if st := m.s.Stats(); st.TimedOut != 1 {
			t.Fatalf("stats %+v", st)
		}
	})
}

func TestClientThatReadsNothingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		c := m.dial(t, "eve")
		c.send(t, getSet(1))
		m.open(t, 1) // control: the answer waits
		elapse(writeWithin + time.Second)
		m.open(t, 0)
	})
}

func TestReplayedProofAndWrongKeyAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := inMemory(t, "relay", Config{}), inMemory(t, "other", Config{})
		key, eve := seedKey("box"), seedKey("eve's box")
		m.lease(t, key)
		c := m.dial(t, "ann")
		nonce := c.challenge(t)
		good := proveAsk(1, key, m.peer.ID, nonce)
		c.send(t, good, creditAsk(10, 10_000))
		if c.recv(t).GetDrained() == nil {
			t.Fatal("control: the honest proof is not taken")
		}
		again := m.dial(t, "eve")
		fresh := again.challenge(t)
		if bytes.Equal(nonce, fresh) {
			t.Fatal("two streams have one challenge")
		}
		again.send(t, good)
		refused(t, again.recv(t), mailbox.Malformed)
		forOther := proveAsk(2, key, other.peer.ID, fresh)
		again.send(t, forOther)
		refused(t, again.recv(t), mailbox.Malformed)
		wrong := proveAsk(3, eve, m.peer.ID, fresh)
		wrong.GetProve().Key = publicOf(key)
		again.send(t, wrong)
		refused(t, again.recv(t), mailbox.Malformed)
		if n := len(m.s.hub.each); n != 1 {
			t.Fatalf("%d boxes are watched", n)
		}
	})
}

func TestReplayedAckForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := inMemory(t, "relay", Config{}), inMemory(t, "other", Config{})
		key, eve := seedKey("box"), seedKey("eve's box")
		d := depositTo(key, 1, 200)
		id := mailbox.EnvelopeIDOf(d.Envelope)
		for name, m := range map[string]*memory{"relay": a, "other": b} {
			m.lease(t, key)
			c := m.dial(t, "bob")
			c.send(t, depositAsk(1, depositAt(name, key, 1, 200)))
			if c.recv(t).GetReceipt() == nil {
				t.Fatal("no receipt")
			}
		}
		ack := ackAsk(1, key, a.peer.ID, id)
		c := a.dial(t, "ann")
		c.send(t, ack)
		if c.recv(t).GetDone() == nil || a.stored(t, key) != 0 {
			t.Fatal("control: the honest ack is not taken")
		}
		e := b.dial(t, "eve")
		forged := ackAsk(2, eve, b.peer.ID, id)
		forged.GetAck().Key = publicOf(key)
		for _, bad := range []*pb.Ask{ack, forged} {
			e.send(t, bad)
			refused(t, e.recv(t), mailbox.Malformed)
		}
		e.send(t, ackAsk(3, eve, b.peer.ID, id)) // a good signature of another box
		if e.recv(t).GetDone() == nil || b.stored(t, key) != 1 {
			t.Fatal("an ack for another box forgot an envelope")
		}
	})
}

func TestStreamsOfOnePeerAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		for range MaxStreamsPerPeer {
			m.dial(t, "eve").send(t, getSet(1))
		}
		m.dial(t, "eve").ended(t)
		m.open(t, MaxStreamsPerPeer)
		m.dial(t, "ann").send(t, getSet(1)) // control: another peer's
		m.open(t, MaxStreamsPerPeer+1)
		if st := m.s.Stats(); st.OverLimits != 1 {
			t.Fatalf("stats %+v", st)
		}
	})
}

func TestFullRelayEndsTheIdlestRequestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		m.s.streams = 3
		watching := m.dial(t, "ann")
		watching.challenge(t)
		older, newer := m.dial(t, "bob"), m.dial(t, "cyd")
		for _, c := range []*raw{older, newer} {
			elapse(time.Second)
			c.send(t, getSet(1))
			c.recv(t)
		}
		m.dial(t, "dan").send(t, getSet(1))
		older.ended(t)
		m.open(t, 3)
		newer.send(t, getSet(2))
		refused(t, newer.recv(t), mailbox.NotMine)
	})
}

func TestBoxesOfOneStreamAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		c := m.dial(t, "eve")
		nonce := c.challenge(t)
		for i := range MaxBoxesPerStream {
			c.send(t, proveAsk(uint64(i), seedKey(fmt.Sprint(i)), m.peer.ID, nonce))
		}
		m.open(t, 1)
		c.send(t, proveAsk(0, seedKey("0"), m.peer.ID, nonce)) // control: one of them again
		m.open(t, 1)
		c.send(t, proveAsk(99, seedKey("one more"), m.peer.ID, nonce))
		m.open(t, 0)
		if len(m.s.hub.each) != 0 {
			t.Fatal("an ended stream still watches")
		}
	})
}

func TestRateOfOnePeerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now() // stands still while refusals make a stream slow
		m := inMemory(t, "relay", Config{Rate: Rate{PerSecond: 1, Burst: 3}, Now: func() time.Time { return now }})
		c := m.dial(t, "eve")
		ask := func(n int, code mailbox.Code) {
			for range n {
				c.send(t, getSet(1))
				refused(t, c.recv(t), code)
			}
		}
		ask(3, mailbox.NotMine)
		ask(5, mailbox.RateLimited)
		c = m.dial(t, "eve") // a new stream refills nothing
		ask(1, mailbox.RateLimited)
		c = m.dial(t, "ann") // control: another peer's bucket
		ask(3, mailbox.NotMine)
		now = now.Add(2 * time.Second)
		c = m.dial(t, "eve")
		ask(2, mailbox.NotMine)
		start := time.Now()
		ask(maxRefusedRow-1, mailbox.RateLimited)
		if d := time.Since(start); d < (maxRefusedRow-20)*refusedPause*maxRefusedPauses {
			t.Fatalf("%d refusals in %v: they cost the asker nothing", maxRefusedRow-1, d)
		}
		c.send(t, getSet(1))
		c.ended(t)
		if st := m.s.Stats(); st.OverLimits != 1 || st.RateLimited != 6+maxRefusedRow {
			t.Fatalf("stats %+v", st)
		}
	})
}

func TestRequestsInFlightAreBounded(t *testing.T) {
	for name, tc := range map[string]struct{ answered, limit int }{
		"a new stream":                  {0, firstInFlight},
		"a stream that has been served": {MaxInFlight, MaxInFlight},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate{newShared(), make(chan struct{})}
				m := inMemory(t, "relay", Config{Store: g})
				m.store = g.shared
				key := seedKey("box")
				m.lease(t, key)
				c := m.dial(t, "eve")
				for i := range tc.answered {
					c.send(t, getSet(uint64(i+1)))
					refused(t, c.recv(t), mailbox.NotMine)
				}
				sent := 0
				for ; sent < 10*MaxInFlight; sent++ {
					f := mustFrame(t, depositAsk(uint64(sent+1), depositTo(key, sent, 100)))
					_ = c.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := c.Write(f); errors.Is(err, os.ErrDeadlineExceeded) {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if sent < tc.limit || sent > tc.limit+1+frame.Max/100 {
					t.Fatalf("%d requests were taken in, want about %d", sent, tc.limit)
				}
				close(g.let)
				for i := range tc.limit { // control: they are served when the store is
					if a := c.recv(t); a.GetReceipt() == nil || a.Id != uint64(i+1) {
						t.Fatalf("answer %v", a)
					}
				}
			})
		})
	}
}

func TestNothingIsAnsweredBeforeTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{newShared(), make(chan struct{})}
		m := inMemory(t, "relay", Config{Store: g})
		m.store = g.shared
		key := seedKey("box")
		m.lease(t, key)
		c := m.dial(t, "bob")
		c.send(t, depositAsk(1, depositTo(key, 1, 100)))
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes before the commit, %v", n, err)
		}
		_ = c.SetReadDeadline(time.Time{})
		close(g.let)
		if c.recv(t).GetReceipt() == nil { // control
			t.Fatal("no receipt after the commit")
		}
	})
}

func TestStoreFailureIsARefusalWithoutReceipt(t *testing.T) {
	for name, c := range map[string]struct {
		fail error
		code mailbox.Code
	}{
		"disk full": {mailbox.ErrDiskFull, mailbox.Full},
		"closed":    {mailbox.ErrClosed, mailbox.NotServing},
		"other":     {errors.New("io"), mailbox.NotServing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{})
				key := seedKey("box")
				m.lease(t, key)
				m.store.fail = c.fail
				r := m.dial(t, "bob")
				const size = 8000
				for i := range maxStreamBytes/size + 1 { // what failed holds none of the stream's bytes
					r.send(t, depositAsk(uint64(i+1), depositTo(key, 1, size)))
					refused(t, r.recv(t), c.code)
				}
				m.store.fail = nil
				r.send(t, depositAsk(100, depositTo(key, 1, size)))
				if r.recv(t).GetReceipt() == nil {
					t.Fatal("control: the store works again")
				}
			})
		})
	}
}

func TestRelaySendsNoMoreThanItsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		key := seedKey("box")
		m.lease(t, key)
		bob := m.dial(t, "bob")
		for i := range 10 {
			bob.send(t, depositAsk(uint64(i+1), depositTo(key, i, 1000)))
			bob.recv(t)
		}
		c := m.dial(t, "ann")
		c.send(t, proveAsk(1, key, m.peer.ID, c.challenge(t)))
		for _, step := range []struct {
			items, bytes uint32
			want         int
		}{
			{2, 1 << 20, 2},
			{0, 1 << 20, 0},
			{100, 0, 8}, // control: with credit the rest comes
		} {
			if n := c.pushed(t, creditAsk(step.items, step.bytes)); n != step.want {
				t.Fatalf("%d envelopes for %+v", n, step)
			}
		}
	})
}

func TestCreditCountsBytesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		key := seedKey("box")
		m.lease(t, key)
		bob := m.dial(t, "bob")
		for i := range 10 {
			bob.send(t, depositAsk(uint64(i+1), depositTo(key, i, 1000)))
			bob.recv(t)
		}
		c := m.dial(t, "ann")
		c.send(t, proveAsk(1, key, m.peer.ID, c.challenge(t)))
		for _, step := range []struct{ bytes, want int }{{2500, 3}, {400, 0}, {101, 1}, {6000, 6}} {
			if n := c.pushed(t, creditAsk(100, uint32(step.bytes))); n != step.want {
				t.Fatalf("%d envelopes for %+v", n, step)
			}
		}
		c.send(t, creditAsk(MaxCredit, 0))
		c.ended(t)
	})
}

func TestStuckCollectorHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{})
		key := seedKey("box")
		m.lease(t, key)
		eve, ann, bob := m.dial(t, "eve"), m.dial(t, "ann"), m.dial(t, "bob")
		for _, c := range []*raw{eve, ann} {
			c.send(t, proveAsk(1, key, m.peer.ID, c.challenge(t)), creditAsk(1000, 1<<20))
		}
		if ann.recv(t).GetDrained() == nil { // eve reads nothing from now on
			t.Fatal("no drained")
		}
		start := time.Now()
		for i := range 500 {
			bob.send(t, depositAsk(uint64(i+1), depositTo(key, i, 1000)))
			if bob.recv(t).GetReceipt() == nil || len(ann.recv(t).GetItems().GetItems()) != 1 {
				t.Fatal("no receipt or no push")
			}
		}
		if d := time.Since(start); d != 0 {
			t.Fatalf("others waited %v", d)
		}
		m.open(t, 3) // control: eve was there all the time
		elapse(writeWithin)
		m.open(t, 2)
	})
}
