package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// puppet is a relay that says what a test wants.
type puppet struct {
	c     *Client
	peer  dht.Peer
	key   ed25519.PrivateKey
	dials atomic.Int32
}

// puppetRelay is a client whose every stream leads to answer, which gets each
// of its frames and returns the bytes to write back.
func puppetRelay(t testing.TB, answer func(p *puppet, ask *pb.Ask) []byte) *puppet {
	t.Helper()
	key := seedKey("relay")
	p := &puppet{key: key, peer: dht.Peer{ID: dht.PeerFromKey(publicOf(key))}}
	p.c = NewClient(nil, nil)
	p.c.open = func(context.Context, dht.Peer) (stream, error) {
		p.dials.Add(1)
		near, far := pipe()
		go func() {
			in := frame.NewReader(far, time.Hour, nil)
			defer far.Close()
			for {
				body, err := in.Next(0)
				if err != nil {
					return
				}
				ask, err := parseAsk(body)
				if err != nil {
					return
				}
				if _, err := far.Write(answer(p, ask)); err != nil {
					return
				}
			}
		}()
		return near, nil
	}
	t.Cleanup(func() { _ = p.c.Close() })
	return p
}

func frames(ms ...*pb.Answer) []byte {
	var b []byte
	for _, m := range ms {
		b, _ = frame.Append(b, m)
	}
	return b
}

// receiptFor is a real receipt by the rules of a relay with that key.
func receiptFor(t testing.TB, relay, box ed25519.PrivateKey, d mailbox.Deposit) *mailbox.Receipt {
	t.Helper()
	store, rules := mailbox.NewMemory(), mailbox.NewRelay(relay, mailbox.Limits{NoWork: true})
	d.Pass = nil
	member := dht.Peer{ID: rules.Peer()}
	signed, err := dht.SignSetCore(box, coreFor(box, 1, time.Now(), member))
	if err != nil {
		t.Fatal(err)
	}
	var r *mailbox.Receipt
	err = store.Do(t.Context(), func(tx mailbox.Tx) error {
		if _, err := rules.Commit(tx, time.Now(), signed); err != nil {
			return err
		}
		r, err = rules.Deposit(tx, time.Now(), d)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func receiptAnswer(id uint64, raw []byte) *pb.Answer {
	return &pb.Answer{Id: id, What: &pb.Answer_Receipt{Receipt: raw}}
}

func TestForgedReceiptsAreNotReturned(t *testing.T) {
	box, relay := seedKey("box"), seedKey("relay")
	d, other := depositTo(box, 1, 100), depositTo(box, 2, 100)
	elsewhere := depositTo(seedKey("other box"), 1, 100)
	good := receiptFor(t, relay, box, d)
	tampered := *good
	tampered.ExpiresAt = tampered.ExpiresAt.Add(time.Hour)
	unsigned := *good
	unsigned.Sig = [64]byte{}
	cases := map[string][]byte{
		"another relay's key":    receiptFor(t, seedKey("eve"), box, d).Bytes(),
		"for another envelope":   receiptFor(t, relay, box, other).Bytes(),
		"for another box":        receiptFor(t, relay, seedKey("other box"), elsewhere).Bytes(),
		"tampered":               tampered.Bytes(),
		"unsigned":               unsigned.Bytes(),
		"truncated":              good.Bytes()[:100],
		"empty":                  nil,
		"control: the good one ": good.Bytes(),
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			say := good.Bytes()
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte { return frames(receiptAnswer(ask.Id, say)) })
			if _, err := p.c.Deposit(t.Context(), p.peer, d); err != nil {
				t.Fatalf("good receipt: %v", err) // its root is remembered now
			}
			say = raw
			r, err := p.c.Deposit(t.Context(), p.peer, d)
			if string(raw) == string(good.Bytes()) {
				if err != nil || r.Sig != good.Sig {
					t.Fatalf("good receipt: %v", err)
				}
				return
			}
			if !errors.Is(err, ErrReply) || r.Sig != [64]byte{} {
				t.Fatalf("forged receipt: %v", err)
			}
		})
	}
	for _, name := range []string{"another relay's key", "for another envelope", "tampered", "unsigned"} {
		if _, err := mailbox.ParseReceipt(cases[name]); err != nil {
			t.Fatalf("control: %s is well-formed, only the check can tell: %v", name, err)
		}
	}
}

func TestBrokenAnswersEndTheStream(t *testing.T) {
	d := depositTo(seedKey("box"), 1, 100)
	good := receiptFor(t, seedKey("relay"), seedKey("box"), d).Bytes()
	done := &pb.Answer_Done{Done: &pb.Done{}}
	for name, say := range map[string]func(id uint64) []byte{
		"giant claim":        func(uint64) []byte { return protowire.AppendVarint(nil, 1<<30) },
		"one byte too large": func(uint64) []byte { return protowire.AppendVarint(nil, frame.Max+1) },
		"garbage":            func(uint64) []byte { return []byte("\x05hello") },
		"never asked":        func(id uint64) []byte { return frames(receiptAnswer(id+1, good)) },
		"answered twice":     func(id uint64) []byte { return frames(&pb.Answer{Id: id + 7, What: done}) },
		"receipt of a megabyte": func(id uint64) []byte {
			return frames(receiptAnswer(id, make([]byte, mailbox.MaxReceipt+1)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			hostile := true
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				if hostile {
					hostile = false
					return say(ask.Id)
				}
				return frames(receiptAnswer(ask.Id, good))
			})
			if _, err := p.c.Deposit(t.Context(), p.peer, d); !errors.Is(err, ErrReply) {
				t.Fatalf("broken answer: %v", err)
			}
			if _, err := p.c.Deposit(t.Context(), p.peer, d); err != nil { // control
				t.Fatalf("after it: %v", err)
			}
			if n := p.dials.Load(); n != 2 {
				t.Fatalf("%d streams were opened, want 2", n)
			}
		})
	}
}

func TestRequestThatFitsNoFrameIsNotSent(t *testing.T) {
	p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
		return frames(&pb.Answer{Id: ask.Id, What: refusalFrame(&mailbox.Refusal{Code: mailbox.TooLarge})})
	})
	d := depositTo(seedKey("box"), 1, 1<<20)
	if _, err := p.c.Deposit(t.Context(), p.peer, d); !errors.Is(err, errTooLarge) {
		t.Fatal(err)
	}
	d.Envelope = d.Envelope[:mailbox.MaxEnvelope+1] // control: one that fits gets the relay's word
	_, err := p.c.Deposit(t.Context(), p.peer, d)
	if r, ok := errors.AsType[*mailbox.Refusal](err); !ok || r.Code != mailbox.TooLarge {
		t.Fatal(err)
	}
}

func TestWrongKindOfAnswerIsRefused(t *testing.T) {
	d := depositTo(seedKey("box"), 1, 100)
	key := seedKey("box")
	p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
		if ask.GetDeposit() != nil {
			return frames(&pb.Answer{Id: ask.Id, What: &pb.Answer_Done{Done: &pb.Done{}}})
		}
		return frames(&pb.Answer{Id: ask.Id, What: &pb.Answer_Leases{Leases: &pb.Leases{}}})
	})
	ctx := t.Context()
	_, deposit := p.c.Deposit(ctx, p.peer, d)
	_, advert := p.c.Advert(ctx, p.peer)
	_, set := p.c.GetSet(ctx, p.peer, d.Box)
	_, commit := p.c.Commit(ctx, p.peer, []ed25519.PrivateKey{key}, []dht.SetCore{coreFor(key, 1, time.Now(), p.peer)})
	for name, err := range map[string]error{
		"deposit": deposit, "advert": advert, "set": set, "commit": commit,
		"put set": p.c.PutSet(ctx, p.peer, []byte{1}),
		"ack":     p.c.Ack(ctx, p.peer, key, make([]mailbox.EnvelopeID, 1)),
		"reserve": p.c.Reserve(ctx, p.peer, []ed25519.PrivateKey{key}),
	} {
		if !errors.Is(err, ErrReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStallingRelayIsLeftAtTheDeadline(t *testing.T) {
	d := depositTo(seedKey("box"), 1, 100)
	good := receiptFor(t, seedKey("relay"), seedKey("box"), d).Bytes()
	for name, c := range map[string]struct {
		stall, deadline, want time.Duration
	}{
		"context":                  {time.Hour, 3 * time.Second, 3 * time.Second},
		"no deadline of its own":   {time.Hour, 2 * time.Hour, answerWithin},
		"control: slow but honest": {2 * time.Second, 3 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
					elapse(c.stall)
					return frames(receiptAnswer(ask.Id, good))
				})
				ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
				defer cancel()
				defer elapse(c.stall) // the puppet ends too
				start := time.Now()
				_, err := p.c.Deposit(ctx, p.peer, d)
				if c.want == 0 {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != c.want {
					t.Fatalf("after %v: %v", time.Since(start), err)
				}
				if _, l, _ := p.c.entry(p.peer); l != nil {
					t.Fatal("the stalled stream is still in use")
				}
			})
		})
	}
}

func TestGivenUpCallLeavesTheStreamToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := depositTo(seedKey("box"), 1, 100)
		good := receiptFor(t, seedKey("relay"), seedKey("box"), d).Bytes()
		p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
			if ask.Id == 1 {
				elapse(time.Second)
			}
			return frames(receiptAnswer(ask.Id, good))
		})
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := p.c.Deposit(ctx, p.peer, d)
			first <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := p.c.Deposit(t.Context(), p.peer, d); err != nil {
			t.Fatal(err)
		}
		if n := p.dials.Load(); n != 1 {
			t.Fatalf("%d streams", n)
		}
	})
}

// setOf is a set record of a box with a number.
func setOf(t testing.TB, box, relay ed25519.PrivateKey, number uint64) []byte {
	t.Helper()
	core := coreFor(box, number, time.Now(), dht.Peer{ID: dht.PeerFromKey(publicOf(relay))})
	lease := dht.SignLease(relay, core.Hash(), 0, core.NotAfter)
	set, err := dht.SignSetRecord(box, core, []dht.Lease{lease})
	if err != nil {
		t.Fatal(err)
	}
	return set.Bytes()
}

func TestStaleOrForeignSetIsDropped(t *testing.T) {
	box, relay := seedKey("box"), seedKey("relay")
	d := depositTo(box, 1, 100)
	d.SetNumber = 5
	newer := setOf(t, box, relay, 6)
	broken := append([]byte(nil), newer...)
	broken[len(broken)-1] ^= 1
	for name, c := range map[string]struct {
		set  []byte
		kept bool
	}{
		"older":            {setOf(t, box, relay, 4), false},
		"the same":         {setOf(t, box, relay, 5), false},
		"of another box":   {setOf(t, seedKey("other"), relay, 6), false},
		"badly signed":     {broken, false},
		"none":             {nil, false},
		"control: a newer": {newer, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				return frames(&pb.Answer{Id: ask.Id, What: refusalFrame(&mailbox.Refusal{Code: mailbox.NotMine, Set: c.set})})
			})
			_, err := p.c.Deposit(t.Context(), p.peer, d)
			r, ok := errors.AsType[*mailbox.Refusal](err)
			if !ok || r.Code != mailbox.NotMine || (len(r.Set) > 0) != c.kept {
				t.Fatalf("refusal %v", err)
			}
		})
	}
}

func TestGetSetTakesOnlyTheBoxsOwn(t *testing.T) {
	box, relay := seedKey("box"), seedKey("relay")
	good := setOf(t, box, relay, 1)
	for name, c := range map[string]struct {
		set  []byte
		want error
	}{
		"of another box": {setOf(t, seedKey("other"), relay, 1), ErrReply},
		"garbage":        {[]byte("garbage"), ErrReply},
		"none":           {nil, dht.ErrNotFound},
		"control":        {good, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				return frames(&pb.Answer{Id: ask.Id, What: &pb.Answer_Set{Set: c.set}})
			})
			if _, err := p.c.GetSet(t.Context(), p.peer, mailbox.IDOf(publicOf(box))); !errors.Is(err, c.want) {
				t.Fatal(err)
			}
		})
	}
}

func TestLeasesAreBoundToCoreRankAndRelay(t *testing.T) {
	box, relay := seedKey("box"), seedKey("relay")
	self := dht.Peer{ID: dht.PeerFromKey(publicOf(relay))}
	other := dht.Peer{ID: dht.PeerFromKey(publicOf(seedKey("eve")))}
	core := coreFor(box, 1, time.Now(), self, other)
	end := core.NotAfter
	lease := func(key ed25519.PrivateKey, c dht.SetCore, rank byte) []*pb.Lease {
		l := dht.SignLease(key, c.Hash(), rank, end)
		return []*pb.Lease{{Rank: uint32(l.Rank), End: uint64(l.End.Unix()), Sig: l.Sig[:]}}
	}
	cases := map[string][]*pb.Lease{
		"another key":        lease(seedKey("eve"), core, 0),
		"another core":       lease(relay, coreFor(box, 2, time.Now(), self, other), 0),
		"another's rank":     lease(relay, core, 1),
		"none":               nil,
		"two":                append(lease(relay, core, 0), lease(relay, core, 0)...),
		"control: the right": lease(relay, core, 0),
	}
	for name, ls := range cases {
		t.Run(name, func(t *testing.T) {
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				return frames(&pb.Answer{Id: ask.Id, What: &pb.Answer_Leases{Leases: &pb.Leases{Leases: ls}}})
			})
			got, err := p.c.Commit(t.Context(), p.peer, []ed25519.PrivateKey{box}, []dht.SetCore{core})
			if name == "control: the right" {
				if err != nil || len(got) != 1 || !got[0].End.Equal(end) {
					t.Fatal(err)
				}
			} else if !errors.Is(err, ErrReply) {
				t.Fatal(err)
			}
		})
	}
}

func TestAdvertMustBeTheRelaysOwnAndFresh(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	advert := func(key ed25519.PrivateKey, issued time.Time) []byte {
		a, err := dht.SignAdvert(key, dht.Advert{
			Peer: dht.Peer{ID: dht.PeerFromKey(publicOf(key))}, Number: 1, MaxEnvelope: 8192,
			Issued: issued, NotAfter: issued.Add(advertLife),
		})
		if err != nil {
			t.Fatal(err)
		}
		return a.Bytes()
	}
	for name, c := range map[string]struct {
		raw []byte
		ok  bool
	}{
		"another's": {advert(seedKey("eve"), now), false},
		"over":      {advert(seedKey("relay"), now.Add(-2*advertLife)), false},
		"none":      {nil, false},
		"control":   {advert(seedKey("relay"), now), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				return frames(&pb.Answer{Id: ask.Id, What: &pb.Answer_Advert{Advert: c.raw}})
			})
			if _, err := p.c.Advert(t.Context(), p.peer); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrReply) {
				t.Fatal(err)
			}
		})
	}
}

func TestCollectEndsWhenTheRelayBreaksItsRules(t *testing.T) {
	key := seedKey("box")
	box := mailbox.IDOf(publicOf(key))
	items := func(box mailbox.ID, seqs ...uint64) *pb.Answer {
		m := &pb.Items{Box: box[:]}
		for _, s := range seqs {
			m.Items = append(m.Items, &pb.Item{Seq: s, Envelope: []byte{1}})
		}
		return &pb.Answer{What: &pb.Answer_Items{Items: m}}
	}
	drained := &pb.Answer{What: &pb.Answer_Drained{Drained: &pb.Drained{Box: box[:]}}}
	for name, c := range map[string]struct {
		say []*pb.Answer
		got int
	}{
		"another box":         {[]*pb.Answer{items(mailbox.ID{9}, 1)}, 0},
		"not ascending":       {[]*pb.Answer{items(box, 2, 1)}, 0},
		"twice":               {[]*pb.Answer{items(box, 1), items(box, 1)}, 1},
		"drained twice":       {[]*pb.Answer{drained, drained}, 0},
		"an answer":           {[]*pb.Answer{{Id: 1, What: &pb.Answer_Done{Done: &pb.Done{}}}}, 0},
		"control: good pages": {[]*pb.Answer{items(box, 1, 2), drained, items(box, 5)}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				if ask.GetCollect() != nil {
					return frames(&pb.Answer{What: &pb.Answer_Challenge{Challenge: &pb.Challenge{Nonce: make([]byte, nonceSize)}}})
				}
				if ask.GetCredit() != nil {
					return frames(c.say...)
				}
				return nil
			})
			got := 0
			err := p.c.Collect(t.Context(), p.peer, []ed25519.PrivateKey{key}, func(_ mailbox.ID, items []mailbox.Stored) error {
				if got += len(items); got == 3 {
					return errEnough
				}
				return nil
			}, nil)
			if got > c.got {
				t.Fatalf("%d envelopes were handed out", got)
			}
			if want := c.got < 3; want && !errors.Is(err, ErrReply) || !want && !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
		})
	}
}
