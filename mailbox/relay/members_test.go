package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// shareBox leases a box at a relay in a set that names others too, and gives
// it the record.
func shareBox(t *testing.T, c *Client, relay dht.Peer, key ed25519.PrivateKey, others ...string) {
	t.Helper()
	members := []dht.Peer{relay}
	for _, name := range others {
		members = append(members, dht.Peer{ID: dht.PeerFromKey(publicOf(seedKey(name))), Addrs: relay.Addrs})
	}
	core := coreFor(key, 1, time.Now(), members...)
	leases, err := c.Commit(t.Context(), relay, []ed25519.PrivateKey{key}, []dht.SetCore{core})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range others {
		leases = append(leases, dht.SignLease(seedKey(name), core.Hash(), byte(i+1), leases[0].End))
	}
	set, err := dht.SignSetRecord(key, core, leases)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PutSet(t.Context(), relay, set.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// sumOf is the sum of a box that holds these envelopes.
func sumOf(ids []mailbox.EnvelopeID) [32]byte {
	ids = slices.SortedFunc(slices.Values(ids), func(a, b mailbox.EnvelopeID) int { return bytes.Compare(a[:], b[:]) })
	return sha256.Sum256(append([]byte("kith1 box sum"), packIDs(ids)...))
}

func wantRefusal(t *testing.T, err error, code mailbox.Code) {
	t.Helper()
	if r, ok := errors.AsType[*mailbox.Refusal](err); !ok || r.Code != code {
		t.Fatalf("%v, want a refusal: %v", err, code)
	}
}

func TestCoMembersCompareAndCopyOthersDoNot(t *testing.T) {
	_, relay := relayAt(t, "relay", overTCP, Config{})
	owner, member, eve := clientAt(t, "owner", overTCP), clientAt(t, "member", overTCP), clientAt(t, "eve", overTCP)
	ctx, key := t.Context(), seedKey("box")
	shareBox(t, owner, relay, key, "member")
	box := mailbox.IDOf(publicOf(key))
	var ids []mailbox.EnvelopeID
	for n := range 3 {
		d := depositTo(key, n, 500)
		if _, err := owner.Deposit(ctx, relay, d); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, mailbox.EnvelopeIDOf(d.Envelope))
	}
	sums := []mailbox.BoxSum{{Box: box, Sum: sumOf(ids)}, {Box: box}, {Box: mailbox.ID{9}, Sum: sumOf(ids)}}
	for c, want := range map[*Client][]mailbox.Comparison{
		member: {mailbox.Same, mailbox.Differs, mailbox.NotHere},
		eve:    {mailbox.NotHere, mailbox.NotHere, mailbox.NotHere},
	} {
		if got, err := c.Compare(ctx, relay, sums); err != nil || !slices.Equal(got, want) {
			t.Fatalf("compared %v, %v, want %v", got, err, want)
		}
	}
	page, more, err := member.Digest(ctx, relay, box, 0)
	if err != nil || more || len(page) != 3 {
		t.Fatalf("digest of %d, %v, %v", len(page), more, err)
	}
	rest, _, err := member.Digest(ctx, relay, box, page[1].Seq)
	if err != nil || len(rest) != 1 || rest[0] != page[2] || rest[0].ID != ids[2] || rest[0].Size != 500 {
		t.Fatalf("rest of the digest: %v, %v", rest, err)
	}
	copies, err := member.Copies(ctx, relay, box, append(ids[:2:2], mailbox.EnvelopeID{7}))
	if err != nil || len(copies) != 2 || !bytes.Equal(copies[0].Cert, passFor("relay", key, 0)[:certSize]) {
		t.Fatalf("%d copies, %v", len(copies), err)
	}
	_, _, err = eve.Digest(ctx, relay, box, 0)
	wantRefusal(t, err, mailbox.NotMine)
	_, err = eve.Copies(ctx, relay, box, ids)
	wantRefusal(t, err, mailbox.NotMine)
	provesTo(t, eve, relay, box, append(ids[:1:1], mailbox.EnvelopeID{7}), copies[0].Envelope)
}

// provesTo asks for two envelopes of which the relay has the first.
func provesTo(t *testing.T, c *Client, relay dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID, first []byte) {
	t.Helper()
	nonce := [32]byte{3}
	got, err := c.Possess(t.Context(), relay, box, nonce, ids)
	if err != nil || len(got) != 2 {
		t.Fatal(err)
	}
	if got[0] != (mailbox.Possession{State: mailbox.Holds, Proof: mailbox.ProofOf(nonce, first)}) {
		t.Fatal("a held envelope is not proved")
	}
	if got[1].State != mailbox.Unknown {
		t.Fatal("control: an envelope is claimed that never was")
	}
}

func TestClockGossipAndOffer(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	advert := func(name string, issued time.Time) []byte {
		key := seedKey(name)
		a, err := dht.SignAdvert(key, dht.Advert{
			Peer: dht.Peer{ID: dht.PeerFromKey(publicOf(key))}, Number: 1, Issued: issued, NotAfter: issued.Add(advertLife),
		})
		if err != nil {
			t.Fatal(err)
		}
		return a.Bytes()
	}
	type offer struct {
		from  string
		boxes []mailbox.ID
	}
	offers := make(chan offer, 1)
	_, relay := relayAt(t, "relay", overQUIC, Config{
		Gossip: func() [][]byte {
			return append([][]byte{advert("one", now), advert("relay", now), advert("two", now.Add(-2*advertLife))},
				slices.Repeat([][]byte{advert("one", now)}, MaxGossip)...)
		},
		Offered: func(from []byte, boxes []mailbox.ID) { offers <- offer{string(from), boxes} },
		Now:     func() time.Time { return now.Add(time.Hour) },
	})
	c := clientAt(t, "member", overQUIC)
	at, err := c.Clock(t.Context(), relay)
	if err != nil || !at.Equal(now.Add(time.Hour)) {
		t.Fatalf("clock %v, %v", at, err)
	}
	heard, err := c.Gossip(t.Context(), relay)
	if err != nil || len(heard) != MaxGossip-2 || !bytes.Equal(heard[0].Bytes(), advert("one", now)) {
		t.Fatalf("%d adverts, %v", len(heard), err)
	}
	boxes := []mailbox.ID{{1}, {2}}
	if err := c.Offer(t.Context(), relay, boxes); err != nil {
		t.Fatal(err)
	}
	if o := <-offers; o.from != string(mustPeer(t, "member")) || !slices.Equal(o.boxes, boxes) {
		t.Fatalf("offer %v", o)
	}
}

func TestWhatRelaysAnswerIsCheckedBeforeItIsBelieved(t *testing.T) {
	body := []byte("an envelope")
	id := mailbox.EnvelopeIDOf(body)
	held := func(more bool, seqs ...uint64) *pb.Answer {
		m := &pb.Digested{More: more}
		for _, seq := range seqs {
			m.Held = appendHeld(m.Held, mailbox.Held{Seq: seq, ID: id, Expires: time.UnixMilli(1), Size: 1})
		}
		return &pb.Answer{What: &pb.Answer_Digested{Digested: m}}
	}
	copied := func(bodies ...[]byte) *pb.Answer {
		m := &pb.Copied{}
		for _, b := range bodies {
			m.Copies = append(m.Copies, copyFrame(mailbox.Copy{Envelope: b, Expires: time.UnixMilli(1)}))
		}
		return &pb.Answer{What: &pb.Answer_Copied{Copied: m}}
	}
	sized := func(b []byte) *pb.Answer {
		return &pb.Answer{What: &pb.Answer_Digested{Digested: &pb.Digested{Held: b}}}
	}
	compared := func(b ...byte) *pb.Answer { return &pb.Answer{What: &pb.Answer_Compared{Compared: b}} }
	possessed := func(states ...byte) *pb.Answer {
		var b []byte
		for _, s := range states {
			b = append(append(b, s), make([]byte, 32)...)
		}
		return &pb.Answer{What: &pb.Answer_Possessed{Possessed: b}}
	}
	adverts := func(raw ...[]byte) *pb.Answer {
		return &pb.Answer{What: &pb.Answer_Adverts{Adverts: &pb.Adverts{Adverts: raw}}}
	}
	compare := func(c *Client, p dht.Peer) error {
		_, err := c.Compare(t.Context(), p, make([]mailbox.BoxSum, 2))
		return err
	}
	digest := func(c *Client, p dht.Peer) error {
		_, _, err := c.Digest(t.Context(), p, mailbox.ID{}, 5)
		return err
	}
	copies := func(c *Client, p dht.Peer) error {
		_, err := c.Copies(t.Context(), p, mailbox.ID{}, []mailbox.EnvelopeID{id, {1}})
		return err
	}
	possess := func(c *Client, p dht.Peer) error {
		_, err := c.Possess(t.Context(), p, mailbox.ID{}, [32]byte{}, make([]mailbox.EnvelopeID, 2))
		return err
	}
	gossip := func(c *Client, p dht.Peer) error { _, err := c.Gossip(t.Context(), p); return err }
	clock := func(c *Client, p dht.Peer) error { _, err := c.Clock(t.Context(), p); return err }
	await := func(c *Client, p dht.Peer) error { return c.Await(t.Context(), p, mailbox.ID{}) }
	for name, c := range map[string]struct {
		ask func(*Client, dht.Peer) error
		say *pb.Answer
		ok  bool
	}{
		"compare: too few":       {compare, compared(1), false},
		"compare: no such":       {compare, compared(1, 4), false},
		"compare: zero":          {compare, compared(0, 1), false},
		"compare: another kind":  {compare, possessed(0, 0), false},
		"compare: control":       {compare, compared(1, 3), true},
		"digest: not ascending":  {digest, held(false, 7, 7), false},
		"digest: not after":      {digest, held(false, 5), false},
		"digest: never ends":     {digest, held(true), false},
		"digest: half an entry":  {digest, sized(make([]byte, heldSize-1)), false},
		"digest: too many":       {digest, sized(make([]byte, heldSize*(mailbox.MaxDigest+1))), false},
		"digest: control":        {digest, held(true, 6, 9), true},
		"copies: not asked":      {copies, copied([]byte("else")), false},
		"copies: twice":          {copies, copied(body, body), false},
		"copies: empty":          {copies, copied(nil), false},
		"copies: too large":      {copies, copied(make([]byte, mailbox.MaxEnvelope+1)), false},
		"copies: control":        {copies, copied(body), true},
		"copies: control, none":  {copies, copied(), true},
		"possess: too few":       {possess, possessed(0), false},
		"possess: no such state": {possess, possessed(0, 3), false},
		"possess: control":       {possess, possessed(0, 2), true},
		"gossip: forged":         {gossip, adverts([]byte("advert")), false},
		"gossip: too many":       {gossip, adverts(make([][]byte, MaxGossip+1)...), false},
		"gossip: control":        {gossip, adverts(), true},
		"clock: another kind":    {clock, adverts(), false},
		"clock: too late":        {clock, &pb.Answer{What: &pb.Answer_Clock{Clock: maxMillis + 1}}, false},
		"clock: control":         {clock, &pb.Answer{What: &pb.Answer_Clock{Clock: 1}}, true},
		"await: another kind":    {await, adverts(), false},
		"await: control":         {await, done(), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := puppetRelay(t, func(_ *puppet, ask *pb.Ask) []byte {
				c.say.Id = ask.Id
				return frames(c.say)
			})
			if err := c.ask(p.c, p.peer); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrReply) {
				t.Fatal(err)
			}
		})
	}
}

func TestMalformedQuestionsBetweenRelaysEndTheStream(t *testing.T) {
	id := make([]byte, idSize)
	for name, c := range map[string]struct {
		ask *pb.Ask
		bad bool
	}{
		"compare: none":       {&pb.Ask{What: &pb.Ask_Compare{Compare: &pb.Compare{}}}, true},
		"compare: half":       {&pb.Ask{What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, sumSize+1)}}}, true},
		"compare: too many":   {&pb.Ask{What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, sumSize*(MaxCompare+1))}}}, true},
		"compare: control":    {&pb.Ask{What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, sumSize*MaxCompare)}}}, false},
		"digest: short box":   {&pb.Ask{What: &pb.Ask_Digest{Digest: &pb.Digest{Box: id[1:]}}}, true},
		"copies: none":        {&pb.Ask{What: &pb.Ask_Copies{Copies: &pb.Copies{Box: id}}}, true},
		"copies: too many":    {&pb.Ask{What: &pb.Ask_Copies{Copies: &pb.Copies{Box: id, Ids: make([]byte, idSize*(mailbox.MaxCopies+1))}}}, true},
		"possess: short":      {&pb.Ask{What: &pb.Ask_Possess{Possess: &pb.Possess{Box: id, Nonce: id[1:], Ids: id}}}, true},
		"possess: too many":   {&pb.Ask{What: &pb.Ask_Possess{Possess: &pb.Possess{Box: id, Nonce: id, Ids: make([]byte, idSize*(mailbox.MaxPossess+1))}}}, true},
		"await: short box":    {&pb.Ask{What: &pb.Ask_Await{Await: &pb.Await{Box: id[1:]}}}, true},
		"offer: too many":     {&pb.Ask{What: &pb.Ask_Offer{Offer: &pb.Offer{Boxes: make([]byte, idSize*(MaxCompare+1))}}}, true},
		"offer: control":      {&pb.Ask{What: &pb.Ask_Offer{Offer: &pb.Offer{Boxes: make([]byte, idSize*MaxCompare)}}}, false},
		"clock: control":      {&pb.Ask{What: &pb.Ask_Clock{Clock: &pb.Clock{}}}, false},
		"possess: control":    {&pb.Ask{What: &pb.Ask_Possess{Possess: &pb.Possess{Box: id, Nonce: id, Ids: id}}}, false},
		"copies: control, 64": {&pb.Ask{What: &pb.Ask_Copies{Copies: &pb.Copies{Box: id, Ids: make([]byte, idSize*mailbox.MaxCopies)}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := inMemory(t, "relay", Config{})
				e := m.dial(t, "eve")
				e.send(t, c.ask)
				if c.bad {
					e.ended(t)
				} else {
					e.recv(t)
				}
				if got := m.s.Stats().Malformed; got == 1 != c.bad {
					t.Fatalf("%d malformed", got)
				}
			})
		})
	}
}

func TestGroupOfAddressesSharesOneBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{GroupRate: Rate{PerSecond: 1, Burst: 5}})
		ask := func(c *raw, n int, code mailbox.Code) {
			t.Helper()
			for range n {
				c.send(t, getSet(1))
				refused(t, c.recv(t), code)
			}
		}
		one, other := prefix("192.0.2.1/32"), prefix("192.0.2.2/32")
		ask(m.dialFrom(t, "eve 1", one), 3, mailbox.NotMine)
		ask(m.dialFrom(t, "eve 2", one), 2, mailbox.NotMine)
		ask(m.dialFrom(t, "eve 3", one), 3, mailbox.RateLimited) // a fresh peer id, the same address
		ask(m.dialFrom(t, "ann", other), 5, mailbox.NotMine)     // control: another address
		ask(m.dial(t, "bob"), 50, mailbox.NotMine)               // control: loopback
		elapse(2 * time.Second)
		ask(m.dialFrom(t, "eve 4", one), 2, mailbox.NotMine)
		ask(m.dialFrom(t, "eve 5", one), 1, mailbox.RateLimited)
	})
}

func TestLargeComparisonIsPaidForAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{Rate: Rate{PerSecond: 1, Burst: 100}})
		c := m.dial(t, "eve")
		c.send(t, &pb.Ask{Id: 1, What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, sumSize*MaxCompare)}}})
		if len(c.recv(t).GetCompared()) != MaxCompare {
			t.Fatal("no comparison")
		}
		c.send(t, &pb.Ask{Id: 2, What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: make([]byte, sumSize*MaxCompare)}}})
		refused(t, c.recv(t), mailbox.RateLimited) // 65 of 100 tokens were taken
		c.send(t, getSet(3))                       // control: a small question is still served
		refused(t, c.recv(t), mailbox.NotMine)
	})
}

func TestLeavingRelayTellsItsOwners(t *testing.T) {
	store := newShared()
	s, relay := relayAt(t, "relay", overTCP, Config{Store: store})
	c := clientAt(t, "owner", overTCP)
	key := seedKey("box")
	openBox(t, c, relay, key)
	leave := func(at time.Time) {
		err := store.Do(t.Context(), func(tx mailbox.Tx) error { return s.cfg.Relay.Leave(tx, time.Now(), at) })
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Announce(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	adverts, drained, ended := make(chan *dht.Advert, 8), make(chan struct{}, 8), make(chan error, 2)
	next := func() *dht.Advert {
		t.Helper()
		select {
		case a := <-adverts:
			return a
		case err := <-ended:
			t.Fatal(err)
			return nil
		}
	}
	watch := func() {
		t.Helper()
		go func() {
			ended <- c.Collect(ctx, relay, []ed25519.PrivateKey{key}, func(mailbox.ID, []mailbox.Stored) error {
				drained <- struct{}{}
				return nil
			}, func(a *dht.Advert) { adverts <- a })
		}()
		select {
		case <-drained:
		case err := <-ended:
			t.Fatal(err)
		}
	}
	watch()
	if len(adverts) != 0 {
		t.Fatal("control: a relay that stays says nothing")
	}
	at := time.Now().Add(time.Hour).Truncate(time.Second)
	leave(at)
	if a := next(); !a.LeavingAt.Equal(at) {
		t.Fatalf("leaving at %v", a.LeavingAt)
	}
	watch()
	if a := next(); !a.LeavingAt.Equal(at) {
		t.Fatalf("a new stream: leaving at %v", a.LeavingAt)
	}
	err := c.Reserve(t.Context(), relay, []ed25519.PrivateKey{key})
	wantRefusal(t, err, mailbox.NotServing)
	leave(time.Time{})
	if a := next(); !a.LeavingAt.IsZero() {
		t.Fatal("a relay that stays after all does not say so")
	}
}

// What repair stored is pushed like a deposit.
func TestAdoptedMailIsPushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := inMemory(t, "relay", Config{Relay: mailbox.NewRelay(seedKey("relay"), mailbox.Limits{NoWork: true})})
		key := seedKey("box")
		m.lease(t, key)
		c := m.dial(t, "ann")
		c.send(t, proveAsk(1, key, m.peer.ID, c.challenge(t)))
		if n := c.pushed(t, creditAsk(10, 1<<20)); n != 0 {
			t.Fatalf("%d envelopes of an empty box", n)
		}
		copied := mailbox.Copy{Envelope: []byte("copied"), Expires: time.Now().Add(time.Hour)}
		err := m.store.Do(t.Context(), func(tx mailbox.Tx) error {
			_, err := m.s.cfg.Relay.Adopt(tx, time.Now(), nil, mailbox.IDOf(publicOf(key)), copied)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		c.silent(t) // control: nobody has said so
		m.s.Arrived(mailbox.IDOf(publicOf(key)))
		if items := c.recv(t).GetItems().GetItems(); len(items) != 1 || string(items[0].GetEnvelope()) != "copied" {
			t.Fatalf("pushed: %v", items)
		}
	})
}
