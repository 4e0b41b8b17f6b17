package session

import (
	"bytes"
	"testing"
)

// nonces collects the nonce of every message by its tag: one tag stands for one key.
type nonces map[[tagSize]byte]map[[nonceSize]byte]bool

// add says whether the message repeats a key together with a nonce.
func (n nonces) add(t testing.TB, envelope []byte) bool {
	t.Helper()
	m, ok := messageOf(envelope)
	if !ok {
		t.Fatal("not an envelope")
	}
	if n[m.tag()] == nil {
		n[m.tag()] = map[[nonceSize]byte]bool{}
	}
	nonce := [nonceSize]byte(m.nonce())
	again := n[m.tag()][nonce]
	n[m.tag()][nonce] = true
	return again
}

func TestARestoredCopyNeverRepeatsAKeyWithANonce(t *testing.T) {
	p := newPair(t)
	p.a.seal(t, p.sa, "so that the chain lives")
	backup := p.sa.Marshal()
	seen, keys := nonces{}, 0
	for range 5 {
		s, err := ParseSession(backup)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if seen.add(t, p.a.seal(t, s, "after the restore")) {
				t.Fatal("a key met a nonce twice")
			}
			keys++
		}
	}
	if len(seen) != 20 {
		t.Fatalf("the copies should repeat their 20 keys, saw %d", len(seen))
	}

	// Control: without a fresh guard they repeat.
	seen = nonces{}
	for i := range 2 {
		s, err := ParseSession(backup)
		if err != nil {
			t.Fatal(err)
		}
		env, err := s.Seal(bytes.NewReader(make([]byte, guardSize)), Body{})
		if err != nil {
			t.Fatal(err)
		}
		if seen.add(t, env) != (i == 1) {
			t.Fatal("the control does not show the repetition")
		}
	}
}

func TestStolenStateDoesNotOpenWhatWasDelivered(t *testing.T) {
	p := newPair(t)
	var recorded [][]byte
	thief := stored(t, p.sb)
	for range 10 {
		env := p.a.seal(t, p.sa, "secret")
		mustOpen(t, p.sb, env, "secret")
		recorded = append(recorded, env)
	}
	mustOpen(t, thief, recorded[0], "secret") // control: state stolen before does open it
	thief = stored(t, p.sb)
	for _, env := range recorded {
		mustRefuse(t, thief, env, ErrOpen)
	}
	// The sender's state does not hold the keys of what it sent either.
	for _, env := range recorded {
		mustRefuse(t, stored(t, p.sa), env, ErrOpen)
	}
}

func TestAStolenSessionHealsWithTheNextRoundTrip(t *testing.T) {
	p := newPair(t)
	thief := stored(t, p.sb) // has everything B has
	before := p.a.seal(t, p.sa, "before")
	mustOpen(t, p.sb, before, "before")
	mustOpen(t, thief, before, "before") // control: until then the thief reads along
	mustOpen(t, p.sa, p.b.seal(t, p.sb, "b turns"), "b turns")
	after := p.a.seal(t, p.sa, "after")
	mustRefuse(t, thief, after, ErrOpen)
	mustOpen(t, p.sb, after, "after")
}

func TestNothingOnTheWireRepeats(t *testing.T) {
	p := newPair(t)
	const width = 8
	seen := map[[width]byte]bool{}
	repeats := func(raw []byte) (n int) {
		for i := range len(raw) - width + 1 {
			w := [width]byte(raw[i:])
			if seen[w] {
				n++
			}
			seen[w] = true
		}
		return n
	}
	for range 30 {
		env := p.a.seal(t, p.sa, "the same text to everybody")
		if repeats(env[1:]) != 0 {
			t.Fatal("two envelopes share bytes")
		}
		mustOpen(t, p.sb, env, "the same text to everybody")
		mustOpen(t, p.sa, p.b.seal(t, p.sb, "turn"), "turn")
	}
	fresh := p.a.initiate(t, p.b)
	repeats(p.a.seal(t, fresh, "text"))
	if repeats(p.a.seal(t, fresh, "text")) < prefixSize-width {
		t.Fatal("control: a repeated first flight does show")
	}
}

func TestTwoSessionsWithOneBundleShareNothing(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	one, two := a.initiate(t, b), a.initiate(t, b)
	if one.ID() == two.ID() || one.root == two.root {
		t.Fatal("the handshakes agree")
	}
}
