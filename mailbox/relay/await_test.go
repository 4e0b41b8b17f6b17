package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func awaitAsk(id uint64, box mailbox.ID) *pb.Ask {
	return &pb.Ask{Id: id, What: &pb.Ask_Await{Await: &pb.Await{Box: box[:]}}}
}

// silent fails if anything comes within a minute.
func (r *raw) silent(t testing.TB) {
	t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("something came: %v", err)
	}
	_ = r.SetReadDeadline(time.Time{})
}

// fullBox is a relay with two boxes of one envelope, both full.
func fullBox(t *testing.T) (*memory, mailbox.Deposit) {
	m := inMemory(t, "relay", Config{Relay: mailbox.NewRelay(seedKey("relay"), mailbox.Limits{BoxCount: 1})})
	c := m.dial(t, "bob")
	for _, name := range []string{"box", "other box"} {
		m.lease(t, seedKey(name))
		c.send(t, depositAsk(1, depositTo(seedKey(name), 1, 100)))
		if c.recv(t).GetReceipt() == nil {
			t.Fatal("no receipt")
		}
	}
	d := depositTo(seedKey("box"), 2, 100)
	c.send(t, depositAsk(2, d))
	refused(t, c.recv(t), mailbox.Full)
	return m, d
}

func TestAwaitIsAnsweredWhenTheBoxHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := fullBox(t)
		bob := m.dial(t, "bob")
		bob.send(t, awaitAsk(1, d.Box))
		bob.silent(t)
		ann := m.dial(t, "ann")
		ann.send(t, ackAsk(1, seedKey("other box"), m.peer.ID, mailbox.EnvelopeIDOf(depositTo(seedKey("other box"), 1, 100).Envelope)))
		ann.recv(t)
		bob.silent(t) // control: room elsewhere is no room here
		if n := m.s.Stats().Awaits; n != 1 {
			t.Fatalf("%d wait", n)
		}
		ann.send(t, ackAsk(2, seedKey("box"), m.peer.ID, mailbox.EnvelopeIDOf(depositTo(seedKey("box"), 1, 100).Envelope)))
		ann.recv(t)
		if a := bob.recv(t); a.Id != 1 || a.GetDone() == nil {
			t.Fatalf("answer %v", a)
		}
		bob.send(t, depositAsk(2, d))
		if bob.recv(t).GetReceipt() == nil {
			t.Fatal("no room after all")
		}
		ann.send(t, awaitAsk(3, mailbox.IDOf(publicOf(seedKey("other box")))))
		if a := ann.recv(t); a.Id != 3 || a.GetDone() == nil {
			t.Fatal("control: a box with room is answered at once")
		}
		if n := m.s.Stats().Awaits; n != 0 {
			t.Fatalf("%d wait", n)
		}
	})
}

// Where the relay is full, and not the box, an ack in any box makes room: a few of those
// who wait hear of it, the others with the next ack.
func TestAwaitIsAnsweredWhenTheRelayHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const boxes = maxWoken + 2
		limits := mailbox.Limits{MaxBoxes: boxes, MaxBytes: 2 * boxes * mailbox.BoxFloor}
		m := inMemory(t, "relay", Config{Relay: mailbox.NewRelay(seedKey("relay"), limits)})
		bob := m.dial(t, "bob")
		fill := func(box string) (held []mailbox.EnvelopeID) {
			m.lease(t, seedKey(box))
			for n := 0; ; n++ {
				d := depositTo(seedKey(box), n, mailbox.MaxEnvelope)
				bob.send(t, depositAsk(1, d))
				a := bob.recv(t)
				if a.GetReceipt() == nil {
					refused(t, a, mailbox.Full)
					return held
				}
				held = append(held, mailbox.EnvelopeIDOf(d.Envelope))
			}
		}
		full := fill("greedy")
		for n := range boxes - 1 { // their floors
			fill(fmt.Sprint("box ", n))
		}
		var waiting []*raw
		for n := range boxes - 1 {
			c := m.dial(t, fmt.Sprint("waits ", n))
			c.send(t, awaitAsk(1, mailbox.IDOf(publicOf(seedKey(fmt.Sprint("box ", n))))))
			c.silent(t)
			waiting = append(waiting, c)
		}
		ack := func(n int, ids ...mailbox.EnvelopeID) {
			bob.send(t, ackAsk(uint64(n), seedKey("greedy"), m.peer.ID, ids...))
			bob.recv(t)
			synctest.Wait()
		}
		if ack(2, mailbox.EnvelopeID{1}); m.s.Stats().Awaits != boxes-1 { // control: it makes no room
			t.Fatalf("%d wait", m.s.Stats().Awaits)
		}
		if ack(3, full[:2]...); m.s.Stats().Awaits != 1 {
			t.Fatalf("%d wait after the first ack", m.s.Stats().Awaits)
		}
		if ack(4, full[2]); m.s.Stats().Awaits != 0 || len(m.s.waits.tight) != 0 {
			t.Fatalf("%d wait after the second ack", m.s.Stats().Awaits)
		}
		for _, c := range waiting {
			if a := c.recv(t); a.GetDone() == nil {
				t.Fatalf("answer %v", a)
			}
		}
	})
}

// Who begins to wait while the ack is on its way to the disk hears of it too.
func TestAwaitMissesNoRoomOfTheRelay(t *testing.T) {
	var u waits
	box, other := mailbox.ID{1}, mailbox.ID{2}
	u.add(&wait{h: &held{}, box: box})
	if got := u.squeezed([]mailbox.ID{box, other}); len(got) != 1 || got[0] != box {
		t.Errorf("to be looked at again: %v", got) // other: nobody waits for it
	}
	if got := u.squeezed([]mailbox.ID{box}); len(got) != 0 {
		t.Errorf("and again: %v", got)
	}
	if got := u.some(); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if u.take(box); len(u.some()) != 0 {
		t.Error("who was answered is still known")
	}
}

func TestAwaitIsAnsweredWhenADayIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := fullBox(t)
		m.s.wg.Add(1)
		go m.s.tick()
		bob := m.dial(t, "bob")
		bob.send(t, awaitAsk(1, d.Box))
		bob.silent(t)
		start := time.Now()
		if a := bob.recv(t); a.Id != 1 || a.GetDone() == nil {
			t.Fatalf("answer %v", a)
		}
		if d := time.Since(start); d > 26*time.Hour { // the envelope lives for an hour, its day for a day
			t.Fatalf("after %v", d)
		}
		_ = m.s.Close()
	})
}

// movedSet is the record of a newer set of a box, at another relay.
func movedSet(t *testing.T, box ed25519.PrivateKey) *pb.Ask {
	t.Helper()
	key := seedKey("other relay")
	core := coreFor(box, 2, time.Now(), dht.Peer{ID: dht.PeerFromKey(publicOf(key))})
	set, err := dht.SignSetRecord(box, core, []dht.Lease{dht.SignLease(key, core.Hash(), 0, time.Now().Add(time.Hour).Truncate(time.Second))})
	if err != nil {
		t.Fatal(err)
	}
	return &pb.Ask{Id: 1, What: &pb.Ask_PutSet{PutSet: &pb.PutSet{Record: set.Bytes()}}}
}

func TestAwaitIsAnsweredWhenTheSetMovesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := fullBox(t)
		bob := m.dial(t, "bob")
		bob.send(t, awaitAsk(1, d.Box))
		bob.silent(t)
		ann := m.dial(t, "ann")
		ann.send(t, movedSet(t, seedKey("box")))
		ann.recv(t)
		if a := bob.recv(t); a.Id != 1 || a.GetDone() == nil {
			t.Fatalf("answer %v", a)
		}
		bob.send(t, depositAsk(2, d))
		refused(t, bob.recv(t), mailbox.NotMine)
	})
}

// Who begins to wait while a set is on its way to the disk hears of it too.
func TestAwaitMissesNoSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := fullBox(t)
		j := &job{ask: movedSet(t, seedKey("box"))}
		m.s.doWrites([]*job{j})
		near, far := pipe()
		defer func() { _ = near.Close() }()
		h, _ := m.s.admit(mustPeer(t, "bob"), netip.Prefix{}, far)
		m.s.waits.add(&wait{h: h, id: 7, box: d.Box}) // and looked before the commit
		m.s.wake([]*job{j})
		if a := (&raw{near, frame.NewReader(near, time.Hour, nil)}).recv(t); a.Id != 7 || a.GetDone() == nil {
			t.Fatalf("answer %v", a)
		}
		m.s.release(h, false)
	})
}

func TestAwaitsAreBoundedAndEndWithTheirStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := fullBox(t)
		c := m.dialFrom(t, "eve", prefix("192.0.2.1/32"))
		for i := range MaxAwaitsPerStream {
			c.send(t, awaitAsk(uint64(i+1), d.Box))
		}
		c.silent(t)
		c.send(t, awaitAsk(99, d.Box))
		refused(t, c.recv(t), mailbox.RateLimited)
		other := m.dialFrom(t, "ann", prefix("192.0.2.1/32"))
		other.send(t, awaitAsk(1, d.Box))
		other.silent(t) // control: another stream has places of its own
		_ = c.Close()
		synctest.Wait()
		if n := m.s.Stats().Awaits; n != 1 {
			t.Fatalf("%d wait after the stream has ended", n)
		}
		_ = other.Close()
		synctest.Wait()
		if u := &m.s.waits; u.total != 0 || len(u.each) != 0 || len(u.of) != 0 || len(u.from) != 0 {
			t.Fatalf("something is left: %+v", u)
		}
	})
}

func TestAwaitsOfARelayAndOfAGroupAreBounded(t *testing.T) {
	var u waits
	group := func(n int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), 32)
	}
	fill := func(from netip.Prefix, streams int) (kept int) {
		for range streams {
			h := &held{group: from}
			for n := range MaxAwaitsPerStream {
				if u.add(&wait{h: h, box: mailbox.ID{byte(n)}}) {
					kept++
				}
			}
		}
		return kept
	}
	if n := fill(group(1), 100); n != maxAwaitsPerGroup {
		t.Fatalf("one address keeps %d", n)
	}
	if n := fill(netip.Prefix{}, 1000); n != MaxAwaits-maxAwaitsPerGroup { // control: loopback is no group
		t.Fatalf("all keep %d more", n)
	}
	if len(u.take(mailbox.ID{1})) != MaxAwaits/MaxAwaitsPerStream || fill(group(2), 1) == 0 {
		t.Fatal("control: who was answered leaves room")
	}
}

func TestClientsAwaitsShareAQuestionAndOutliveTheAnswerDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
			asked++
			elapse(5 * time.Hour)
			return frames(&pb.Answer{Id: ask.Id, What: done().What})
		})
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- p.c.Await(ctx, p.peer, mailbox.ID{1}) }()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		start := time.Now()
		if err := p.c.Await(t.Context(), p.peer, mailbox.ID{1}); err != nil || time.Since(start) != 5*time.Hour {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if asked != 1 || p.dials.Load() != 1 {
			t.Fatalf("%d questions on %d streams", asked, p.dials.Load())
		}
		for i := range MaxInFlight + 5 { // control: an answered await holds no place in flight
			if err := p.c.Await(t.Context(), p.peer, mailbox.IDOf(publicOf(seedKey(fmt.Sprint(i))))); err != nil {
				t.Fatal(err)
			}
		}
	})
}
