package relay

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// tape is a stream whose client has already said everything.
type tape struct {
	io.Reader
	said bytes.Buffer
}

func (t *tape) Write(b []byte) (int, error)      { return t.said.Write(b) }
func (t *tape) Close() error                     { return nil }
func (t *tape) Reset() error                     { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

// asks are one well-formed frame of every kind.
func asks(t testing.TB) []*pb.Ask {
	key := seedKey("box")
	relay := inMemory(t, "relay", Config{}).peer.ID
	box := mailbox.IDOf(publicOf(key))
	room := &pb.Room{Key: publicOf(key), Sig: mailbox.SignRequest(key, relay, mailbox.VerbReserve, nil)}
	return []*pb.Ask{
		{Id: 1, What: &pb.Ask_Advert{Advert: &pb.Advert{}}},
		{Id: 2, What: &pb.Ask_Reserve{Reserve: &pb.Reserve{Boxes: []*pb.Room{room, room}}}},
		{Id: 3, What: &pb.Ask_Commit{Commit: &pb.Commit{Signed: [][]byte{make([]byte, 300)}}}},
		{Id: 4, What: &pb.Ask_PutSet{PutSet: &pb.PutSet{Record: make([]byte, 300)}}},
		getSet(5),
		depositAsk(6, depositTo(key, 1, 64)),
		ackAsk(7, key, relay, mailbox.EnvelopeID{1}, mailbox.EnvelopeID{2}),
		collectAsk(),
		proveAsk(1, key, relay, make([]byte, nonceSize)),
		creditAsk(5, 6),
		{Id: 8, What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, 2*sumSize)}}},
		{Id: 9, What: &pb.Ask_Digest{Digest: &pb.Digest{Box: box[:], After: 7}}},
		{Id: 10, What: &pb.Ask_Copies{Copies: &pb.Copies{Box: box[:], Ids: make([]byte, 2*idSize)}}},
		{Id: 11, What: &pb.Ask_Possess{Possess: &pb.Possess{Box: box[:], Nonce: make([]byte, nonceSize), Ids: make([]byte, idSize)}}},
		{Id: 12, What: &pb.Ask_Await{Await: &pb.Await{Box: box[:]}}},
		{Id: 13, What: &pb.Ask_Clock{Clock: &pb.Clock{}}},
		{Id: 14, What: &pb.Ask_Gossip{Gossip: &pb.Gossip{}}},
		{Id: 15, What: &pb.Ask_Offer{Offer: &pb.Offer{Boxes: box[:]}}},
	}
}

// answers are one well-formed frame of every kind.
func answers() []*pb.Answer {
	id := make([]byte, idSize)
	return []*pb.Answer{
		{Id: 1, What: &pb.Answer_Advert{Advert: []byte("advert")}},
		{Id: 2, What: &pb.Answer_Done{Done: &pb.Done{}}},
		{Id: 3, What: &pb.Answer_Leases{Leases: &pb.Leases{Leases: []*pb.Lease{{Rank: 1, End: 2, Sig: make([]byte, 64)}}}}},
		{Id: 4, What: &pb.Answer_Set{Set: []byte("set")}},
		{Id: 5, What: &pb.Answer_Receipt{Receipt: []byte("receipt")}},
		{Id: 6, What: refusalFrame(&mailbox.Refusal{Code: mailbox.NeedWork, Bits: 20, Detail: "x"})},
		{What: &pb.Answer_Challenge{Challenge: &pb.Challenge{Nonce: id}}},
		{What: &pb.Answer_Items{Items: &pb.Items{Box: id, Items: []*pb.Item{{Seq: 1, Envelope: id}}}}},
		{What: &pb.Answer_Drained{Drained: &pb.Drained{Box: id}}},
		{Id: 8, What: &pb.Answer_Compared{Compared: []byte{byte(mailbox.Same), byte(mailbox.NotHere)}}},
		{Id: 9, What: &pb.Answer_Digested{Digested: &pb.Digested{
			Held: appendHeld(nil, mailbox.Held{Seq: 8, Expires: time.UnixMilli(9), Size: 10}), More: true,
		}}},
		{Id: 10, What: &pb.Answer_Copied{Copied: &pb.Copied{Copies: []*pb.Copy{
			copyFrame(mailbox.Copy{Envelope: id, Expires: time.UnixMilli(9), Admit: [admitSize]byte{1}, Cert: make([]byte, certSize)}),
			copyFrame(mailbox.Copy{Envelope: id, Expires: time.UnixMilli(9)}),
		}}}},
		{Id: 11, What: &pb.Answer_Possessed{Possessed: append([]byte{mailbox.Holds}, id...)}},
		{Id: 13, What: &pb.Answer_Clock{Clock: 1_700_000_000_000}},
		{Id: 14, What: &pb.Answer_Adverts{Adverts: &pb.Adverts{Adverts: [][]byte{[]byte("advert")}}}},
	}
}

func seeds[M proto.Message](f *testing.F, ms []M, framed bool) {
	var all []byte
	for _, m := range ms {
		frame, err := frame.Append(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		body, _ := proto.Marshal(m)
		if framed {
			body = frame
		}
		f.Add(body)
		f.Add(body[:len(body)/2])
		all = append(all, frame...)
	}
	if framed {
		f.Add(all)
	}
	f.Add([]byte{0x80, 0x80, 0x04})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x01})
}

func FuzzAsk(f *testing.F) {
	seeds(f, asks(f), false)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzztest.Limit(t, len(b))()
		ask, err := parseAsk(b)
		if err != nil {
			return
		}
		if d := ask.GetDeposit(); d != nil {
			back := depositFrame(depositOf(d))
			back.ProtoReflect().SetUnknown(nil)
			if !proto.Equal(d, back) {
				t.Fatal("a deposit changes on its way through")
			}
		}
		if a := ask.GetAck(); a != nil && !bytes.Equal(packIDs(idsOf[mailbox.EnvelopeID](a.GetIds())), a.GetIds()) {
			t.Fatal("ids change on their way through")
		}
		round(t, ask, new(pb.Ask))
	})
}

func FuzzAnswer(f *testing.F) {
	seeds(f, answers(), false)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzztest.Limit(t, len(b))()
		a, err := parseAnswer(b)
		if err != nil {
			return
		}
		if r := a.GetRefusal(); r != nil {
			for _, c := range refusalOf(r).Detail {
				if c < ' ' || c > '~' {
					t.Fatal("a control byte gets through")
				}
			}
		}
		round(t, a, new(pb.Answer))
	})
}

// FuzzBetween holds a client's checks of what other relays answer to what they
// promise the caller.
func FuzzBetween(f *testing.F) {
	f.Add(appendHeld(appendHeld(nil, mailbox.Held{Seq: 2, Size: 1}), mailbox.Held{Seq: 3, Size: 9}), uint64(1))
	f.Add([]byte{1, 2, 3}, uint64(0))
	f.Add(make([]byte, 2*proofSize), uint64(7))
	f.Fuzz(func(t *testing.T, b []byte, after uint64) {
		defer fuzztest.Limit(t, len(b))()
		if sums := sumsOf(b); len(b)%sumSize == 0 && !bytes.Equal(packSums(sums), b) {
			t.Fatal("sums change on their way through")
		}
		if out, err := checkCompared(b, len(b)); err == nil && len(out) != len(b) {
			t.Fatal("a comparison is lost")
		}
		if out, err := checkPossessed(b, len(b)/proofSize); err == nil && len(out)*proofSize != len(b) {
			t.Fatal("a possession is lost")
		}
		page, err := checkDigested(&pb.Digested{Held: b}, after)
		for i := range page {
			if err != nil || page[i].Seq <= after {
				t.Fatal("a page does not ascend")
			}
			after = page[i].Seq
		}
		copies, err := checkCopied(&pb.Copied{Copies: []*pb.Copy{
			{Envelope: b, Admit: make([]byte, admitSize)},
		}}, []mailbox.EnvelopeID{mailbox.EnvelopeIDOf([]byte{1, 2, 3})})
		if (err == nil) != bytes.Equal(b, []byte{1, 2, 3}) || err == nil && len(copies) != 1 {
			t.Fatal("a copy that was not asked for")
		}
	})
}

// round checks that what was parsed can be framed and parsed again.
func round(t *testing.T, m, again proto.Message) {
	b, err := proto.Marshal(m)
	if err != nil || len(b) > frame.Max {
		return // the unknown fields are gone, never more than came in
	}
	if err := frame.Parse(b, again); err != nil || !proto.Equal(m, again) {
		t.Fatalf("does not come back: %v", err)
	}
}

// FuzzServer plays a whole stream of a client to a server.
func FuzzServer(f *testing.F) {
	seeds(f, asks(f), true)
	all := asks(f)
	frames := func(ms ...*pb.Ask) (b []byte) {
		for _, m := range ms {
			b = append(b, mustFrame(f, m)...)
		}
		return b
	}
	f.Add(frames(all[7], all[9], all[8], all[8], all[9]))
	f.Add(frames(all[5], all[5], all[6], all[1], all[2]))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzztest.Limit(t, len(b))()
		m := inMemory(t, "relay", Config{})
		m.lease(t, seedKey("box"))
		st := &tape{Reader: bytes.NewReader(b)}
		m.s.serve(mustPeer(t, "eve"), netip.Prefix{}, st)
		if err := m.s.Close(); err != nil {
			t.Fatal(err)
		}
		if open := m.s.Stats(); open.Streams != 0 || open.Collectors != 0 || len(m.s.hub.each) != 0 {
			t.Fatalf("something is left: %+v", open)
		}
		in := frame.NewReader(&tape{Reader: &st.said}, time.Second, nil)
		for {
			body, err := in.Next(0)
			if err == io.EOF {
				return
			}
			if err == nil {
				_, err = parseAnswer(body)
			}
			if err != nil {
				t.Fatalf("the server said something malformed: %v", err)
			}
		}
	})
}
