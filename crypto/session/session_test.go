package session

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheFirstFlightCarriesTheSenderAndABody(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	want := Body{Counter: 7, OwnHead: a.Head.Digest(), YourHead: b.Head.Digest(), Token: []byte("pass"), Content: []byte("hello")}
	env, err := sa.Seal(a.rng, want)
	if err != nil {
		t.Fatal(err)
	}
	sb, from, got := b.accept(t, env)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if from.User != a.User || from.Device() != a.Keys.ID() || from.Head != a.Head || from.IK != a.Keys.Public(0, 0).IKPub {
		t.Fatalf("sender %+v", from)
	}
	if sb.Peer() != from.Peer || sa.Peer().Device() != b.Keys.ID() || sa.Peer().User != b.User {
		t.Fatal("the sides do not name each other")
	}
	if sa.ID() != sb.ID() || sa.PrekeyID() != b.pre.ID() || sb.PrekeyID() != b.pre.ID() {
		t.Fatal("the sides do not name the session and its prekey alike")
	}
	if !sa.Initiated() || sa.Established() || sb.Initiated() || !sb.Established() {
		t.Fatal("roles")
	}
	if !sa.LastReceived().IsZero() || !sb.LastReceived().Equal(day0) {
		t.Fatal("last received")
	}
}

func TestTheFirstFlightRepeatsByteForByteUntilTheFirstReply(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	first := a.seal(t, sa, "one")
	a.Head.Seq++ // a new list in between changes nothing
	second := a.seal(t, stored(t, sa), "two")
	if !bytes.Equal(first[:prefixSize], second[:prefixSize]) {
		t.Fatal("the prefix changed")
	}
	sa = stored(t, sa)
	a.seal(t, sa, "two")
	sb, _, _ := b.accept(t, first)
	mustOpen(t, sb, second, "two")
	mustOpen(t, sa, b.seal(t, sb, "reply"), "reply")
	third := a.seal(t, sa, "three")
	if len(third) != overhead+256 || third[0] != typeMessage {
		t.Fatalf("%d bytes of type %d after the reply", len(third), third[0])
	}
	mustOpen(t, sb, third, "three")
}

func TestASessionBeginsWithWhicheverFirstFlightArrives(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	one, two, three := a.seal(t, sa, "one"), a.seal(t, sa, "two"), a.seal(t, sa, "three")
	sb, _, body := b.accept(t, three)
	if string(body.Content) != "three" {
		t.Fatal("wrong message")
	}
	mustOpen(t, sb, one, "one")
	mustOpen(t, sb, two, "two")
	mustRefuse(t, sb, three, ErrOpen)
	mustRefuse(t, sb, one, ErrOpen)
}

func TestMessagesFlowBothWaysAcrossTurns(t *testing.T) {
	p := newPair(t)
	for round := range 20 {
		for range round % 4 {
			mustOpen(t, p.sb, p.a.seal(t, p.sa, "to b"), "to b")
		}
		p.sa, p.sb = stored(t, p.sa), stored(t, p.sb)
		for range round % 3 {
			mustOpen(t, p.sa, p.b.seal(t, p.sb, "to a"), "to a")
		}
	}
}

func TestSizesFollowTheDocument(t *testing.T) {
	if prefixSize != 1285 || overhead != 94 || stateFixed > 600 {
		t.Fatal(prefixSize, overhead, stateFixed)
	}
	p := newPair(t)
	fresh := p.a.initiate(t, p.b)
	full := Body{Counter: 1, OwnHead: [12]byte{1}, YourHead: [12]byte{2}}
	for _, n := range []int{0, 1, 200, ContentRoom(256), ContentRoom(256) + 1, 1000, ContentRoom(2048), ContentRoom(2048) + 1, MaxContent} {
		full.Content = bytes.Repeat([]byte{'x'}, n)
		for _, s := range []*Session{p.sa, fresh} {
			env, err := s.Seal(p.a.rng, full)
			if err != nil {
				t.Fatal(err)
			}
			if want := EnvelopeSize(n, s == fresh); len(env) != want {
				t.Fatalf("content %d: envelope %d, EnvelopeSize %d", n, len(env), want)
			}
		}
	}
	full.Token = make([]byte, MaxToken)
	if env, err := fresh.Seal(p.a.rng, full); err != nil || len(env) != MaxEnvelope {
		t.Fatal(len(env), err)
	}
	if EnvelopeSize(ContentRoom(2048), true) > 4096 {
		t.Fatal("a first flight of class 2048 does not fit a front door")
	}
	if EnvelopeSize(MaxContent+1, false) != 0 || ClassOf(maxClass+1) != 0 {
		t.Fatal("no limit")
	}
}

func TestABodyPastTheLimitsIsNotSealed(t *testing.T) {
	p := newPair(t)
	before := p.sa.Marshal()
	for _, b := range []Body{{Content: make([]byte, MaxContent+1)}, {Token: make([]byte, MaxToken+1)}} {
		if _, err := p.sa.Seal(p.a.rng, b); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(before, p.sa.Marshal()) {
		t.Fatal("a refused body changed the session")
	}
}

func TestASealThatLacksEntropyChangesNothing(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	before := sa.Marshal()
	for _, have := range []int{0, 31, 32, 39} {
		if _, err := sa.Seal(strings.NewReader(strings.Repeat("r", have)), Body{}); err == nil {
			t.Fatal("sealed")
		}
		if !bytes.Equal(before, sa.Marshal()) {
			t.Fatal("changed")
		}
	}
	if _, err := Initiate(strings.NewReader("short"), a.Self, b.bundle); err == nil {
		t.Fatal("initiated")
	}
}

func TestSimultaneousInitiationConvergesAfterOneDeliveryEachWay(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	fromA, fromB := a.initiate(t, b), b.initiate(t, a)
	toB, toA := a.seal(t, fromA, "from a"), b.seal(t, fromB, "from b")
	atB, _, _ := b.accept(t, toB)
	atA, _, _ := a.accept(t, toA)
	as, bs := []*Session{fromA, atA}, []*Session{fromB, atB}
	// A sends next. Both now send on the session that B began.
	pick := as[Choose(as)]
	later := day0.Add(time.Second)
	if _, err := bs[0].Open(a.seal(t, pick, "again"), later); err != nil {
		t.Fatal(err)
	}
	if pick.ID() != bs[Choose(bs)].ID() {
		t.Fatal("the devices send on different sessions")
	}
}

func TestChoosePrefersTheLatestMessageThenTheNewestInitiation(t *testing.T) {
	at := func(ms int64) *Session { return &Session{lastReceived: ms} }
	for _, c := range []struct {
		ss   []*Session
		want int
	}{
		{nil, -1},
		{[]*Session{at(0)}, 0},
		{[]*Session{at(0), at(0)}, 1},
		{[]*Session{at(5), at(0)}, 0},
		{[]*Session{at(5), at(9), at(7), at(0)}, 1},
	} {
		if got := Choose(c.ss); got != c.want {
			t.Errorf("Choose(%v) = %d, want %d", c.ss, got, c.want)
		}
	}
}

func TestACloneIsIndependent(t *testing.T) {
	p := newPair(t)
	late := p.a.seal(t, p.sa, "late")
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "next"), "next")
	c := p.sb.Clone()
	before := p.sb.Marshal()
	mustOpen(t, c, late, "late")
	p.b.seal(t, c, "on the copy")
	if !bytes.Equal(before, p.sb.Marshal()) {
		t.Fatal("the copy shares state")
	}
	mustOpen(t, p.sb, late, "late")
}

func TestADeviceDoesNotInitiateWithItself(t *testing.T) {
	a := newDevice(t, 1)
	if _, err := Initiate(a.rng, a.Self, a.bundle); err == nil {
		t.Fatal("initiated")
	}
}
