package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
)

// mustNotAccept checks that the envelope gives ErrOpen, and that nobody's opinion was asked.
func mustNotAccept(t testing.TB, d *device, envelope []byte) {
	t.Helper()
	asked := false
	s, from, body, err := Accept(d.Self, d.pre, func(Sender) error { asked = true; return nil }, envelope, day0)
	if err != ErrOpen || s != nil || from != (Sender{}) || body.Content != nil {
		t.Fatalf("accept: %v %v %v %v", s, from, body, err)
	}
	if asked {
		t.Fatal("the caller was asked about an unproved sender")
	}
}

func TestEveryByteOfAFirstFlightIsBound(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	ctAt, bodyAt := prefixSize-sealedIDSize-ctSize, prefixSize+preambleSize
	for at := range env {
		bits := 8
		if at >= ctAt && at < ctAt+ctSize || at >= bodyAt {
			bits = 1 // long fields: one bit a byte, to save time
		}
		for bit := range bits {
			bad := bytes.Clone(env)
			bad[at] ^= 1 << ((at + bit) % 8)
			mustNotAccept(t, b, bad)
		}
	}
	for _, n := range []int{0, 1, prefixSize - 1, prefixSize, prefixSize + overhead, len(env) - 1} {
		mustNotAccept(t, b, env[:n])
	}
	sb, _, _ := b.accept(t, env)

	again := append(bytes.Clone(env[:prefixSize]), a.seal(t, a.initiate(t, b), "x")[prefixSize:]...)
	mustRefuse(t, sb, again, ErrOpen) // another session's message behind this one's prefix
}

func TestEveryBitOfARepeatedFirstFlightIsBound(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	sb, _, _ := b.accept(t, a.seal(t, sa, "one"))
	two := a.seal(t, sa, "two")
	forEveryFlip(two, func(bad []byte) { mustRefuse(t, sb, bad, ErrOpen) })
	mustOpen(t, sb, two, "two")
	mustRefuse(t, sa, two, ErrOpen)
}

func TestTheCheckDecides(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	unlisted := errors.New("not listed")
	s, _, body, err := Accept(b.Self, b.pre, func(Sender) error { return unlisted }, env, day0)
	if err != unlisted || s != nil || body.Content != nil {
		t.Fatal(s, body, err)
	}
	b.accept(t, env)
}

func TestAcceptAloneDoesNotStopReplays(t *testing.T) {
	// A statement of what the caller's cache is for: without it, the same flight makes the same
	// session anew. With it, the envelope goes to the session that exists and is refused.
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	env := a.seal(t, sa, "hello")
	first, _, _ := b.accept(t, env)
	second, _, body := b.accept(t, env)
	if first.ID() != second.ID() || string(body.Content) != "hello" {
		t.Fatal("expected the replay to be accepted again")
	}
	mustRefuse(t, first, env, ErrOpen)

	one, ok1 := ParseFirstFlight(env)
	two, ok2 := ParseFirstFlight(a.seal(t, sa, "more"))
	other, ok3 := ParseFirstFlight(a.seal(t, a.initiate(t, b), "other"))
	if !ok1 || !ok2 || !ok3 || one != two || one == other || one.Prekey != b.pre.ID() {
		t.Fatal("the key of the cache does not name the handshake")
	}
}

func TestAFirstFlightTooFarAheadIsDeferred(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa := a.initiate(t, b)
	first := a.seal(t, sa, "first")
	for range maxGap {
		a.seal(t, sa, "lost")
	}
	far := a.seal(t, sa, "far")
	s, _, _, err := Accept(b.Self, b.pre, trust, far, day0)
	if err != ErrTooFar || s != nil {
		t.Fatal(s, err)
	}
	sb, _, _ := b.accept(t, first)
	mustOpen(t, sb, far, "far")
}

func TestAnotherPrekeyDoesNotAccept(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	old := b.pre
	b.publish(t)
	mustNotAccept(t, b, env)
	renamed := bytes.Clone(env)
	id := b.pre.ID()
	copy(renamed[1:], id[:])
	mustNotAccept(t, b, renamed)
	b.pre = old
	b.accept(t, env)
}

// flight makes a first flight as an attacker would: own ephemeral key, any identity block, and
// whatever he has in the place of d3.
func flight(t testing.TB, b *identity.Bundle, claim Sender, d3 []byte) []byte {
	t.Helper()
	rng := seeded(66)
	ea, err := newKey(rng)
	if err != nil {
		t.Fatal(err)
	}
	eaPub := agree.PublicOf(ea)
	ss, ct := encapsulateTo(t, rng, b)
	o := newOpening(b.Hash(), eaPub[:], ct, mustAgree(t, ea, b.SPK()), mustAgree(t, ea, b.IKPub()), ss)
	block := encodeID(claim)
	sealed := o.sealID(block)
	a := o.finish(block, sealed, claim.IK[:], d3)
	forged := &Session{
		initiated: true, ad: a.ad, root: a.root, remote: b.SPK(),
		nextSend: newHeadKey(a.headA), nextRecv: newHeadKey(a.headB),
		prefix: makePrefix(b.Hash(), eaPub[:], ct, sealed),
	}
	env, err := forged.Seal(rng, Body{Content: []byte("I am who I say")})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func claimOf(d *device) Sender {
	pub := d.Keys.Public(0, 0)
	return Sender{Peer{d.User, pub.SigPub, pub.IKPub}, d.Head}
}

func mustAgree(t testing.TB, private *agree.Private, public [32]byte) []byte {
	t.Helper()
	secret, ok := agree.Secret(private, public[:])
	if !ok {
		t.Fatal("no agreement")
	}
	return secret
}

func TestAnIdentityBlockAloneProvesNothing(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := flight(t, b.bundle, claimOf(a), make([]byte, 32))
	from, err := PeekSender(b.Self, b.pre, env)
	if err != nil || from != claimOf(a) {
		t.Fatal("control: whoever acts on the block alone takes the attacker for A:", from, err)
	}
	mustNotAccept(t, b, env)
}

func TestPeekSenderReadsOnlyFlightsForThisPrekey(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	if from, err := PeekSender(b.Self, b.pre, env); err != nil || from != claimOf(a) {
		t.Fatal(from, err)
	}
	for _, bad := range [][]byte{nil, env[1:], flip(env, 1), flip(env, 9), flip(env, 41), flip(env, prefixSize-1)} {
		if from, err := PeekSender(b.Self, b.pre, bad); err != ErrOpen || from != (Sender{}) {
			t.Fatal(from, err)
		}
	}
}

func TestAStolenIdentityKeyDoesNotForgeOthersToItsOwner(t *testing.T) {
	a, b, c := newDevice(t, 1), newDevice(t, 2), newDevice(t, 3)
	ikA := claimOf(a).IK
	for name, d3 := range map[string][]byte{
		"b's identity key with a's": mustAgree(t, b.Keys.IK, ikA),
		"b's identity key with b's": mustAgree(t, b.Keys.IK, claimOf(b).IK),
		"c's identity key":          mustAgree(t, c.Keys.IK, b.bundle.SPK()),
		"nothing":                   make([]byte, 32),
	} {
		t.Run(name, func(t *testing.T) { mustNotAccept(t, b, flight(t, b.bundle, claimOf(a), d3)) })
	}
	t.Run("the documented limit: b's prekey forges anybody", func(t *testing.T) {
		_, from, _ := b.accept(t, flight(t, b.bundle, claimOf(a), mustAgree(t, b.pre.SPK(), ikA)))
		if from != claimOf(a) {
			t.Fatal("expected the forgery to pass; if it does not, correct the threat model")
		}
	})
	t.Run("control: a's own key", func(t *testing.T) {
		b.accept(t, flight(t, b.bundle, claimOf(a), mustAgree(t, a.Keys.IK, b.bundle.SPK())))
	})
}

func TestABundleWithForeignKeysBindsTheSessionToItsSigner(t *testing.T) {
	// M publishes B's keys as its own. A writes to M; M hands the flight to B, who must not take
	// it for a message to B.
	a, m := newDevice(t, 1), newDevice(t, 9)
	b := newDevice(t, 2)
	b.rng = seeded(77)
	b.publish(t)
	stolen := &identity.DeviceKeys{Sign: m.Keys.Sign, IK: b.Keys.IK}
	m.Keys, m.rng = stolen, seeded(77)
	m.publish(t)
	if m.bundle.SPK() != b.bundle.SPK() || !bytes.Equal(m.bundle.PQ(), b.bundle.PQ()) || m.bundle.IKPub() != b.bundle.IKPub() {
		t.Fatal("the attack is not set up")
	}
	env := a.seal(t, a.initiate(t, m), "for M only")
	id := b.pre.ID()
	copy(env[1:], id[:])
	mustNotAccept(t, b, env)

	// Control: with M's bundle hash in the transcript B's secrets do open it.
	raw, hash := b.pre.Marshal(), m.bundle.Hash()
	copy(raw[1:], hash[:])
	pre, err := identity.ParsePrekey(raw)
	if err != nil {
		t.Fatal(err)
	}
	copy(env[1:], hash[:8])
	b.pre = pre
	b.accept(t, env)
}

// lowOrder are the X25519 inputs whose result is zero for every key (RFC 7748, section 7).
func lowOrder(t testing.TB) [][32]byte {
	t.Helper()
	var out [][32]byte
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		raw, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		p := [32]byte(raw)
		out = append(out, p)
		p[31] |= 0x80
		out = append(out, p)
	}
	return out
}

func TestLowOrderPointsAreRefusedEverywhere(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	p := newPair(t)
	p.a.seal(t, p.sa, "so that the chain lives")
	body := padded(tlvContent, 0, 1, 'x')
	for _, point := range lowOrder(t) {
		bad := bytes.Clone(env)
		copy(bad[1+prekeyIDSize:], point[:])
		mustNotAccept(t, b, bad)

		claim := claimOf(a)
		claim.IK = point // then d3 would be zero, which anybody knows
		mustNotAccept(t, b, flight(t, b.bundle, claim, make([]byte, 32)))

		mustRefuse(t, p.sb, forge(p.sa, func(h *header) { h.ratchet = point }, body), ErrOpen)
		if _, ok := agree.Secret(a.Keys.IK, point[:]); ok {
			t.Fatalf("%x agreed", point)
		}
	}
	b.accept(t, env)
	if _, err := p.sb.Open(forge(p.sa, func(*header) {}, body), day0); err != nil {
		t.Fatal("control:", err)
	}
}

func TestADeviceDoesNotAcceptItself(t *testing.T) {
	b := newDevice(t, 2)
	mustNotAccept(t, b, flight(t, b.bundle, claimOf(b), mustAgree(t, b.Keys.IK, b.bundle.SPK())))
}
