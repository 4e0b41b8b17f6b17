package session

import (
	"bytes"
	"testing"
	"time"
)

func TestEveryBitOfAMessageIsBound(t *testing.T) {
	p := newPair(t)
	late := p.a.seal(t, p.sa, "skipped")
	env := p.a.seal(t, p.sa, "current")
	turned := stored(t, p.sb)
	mustOpen(t, p.sb, env, "current") // now the key of late is a kept one
	fresh := newTurn(t, p)
	for name, c := range map[string]struct {
		at  *Session
		env []byte
	}{
		"current chain": {turned, env},
		"kept key":      {p.sb, late},
		"new chain":     {stored(t, p.sb), fresh},
	} {
		t.Run(name, func(t *testing.T) {
			forEveryFlip(c.env, func(bad []byte) { mustRefuse(t, c.at, bad, ErrOpen) })
			if _, err := c.at.Open(c.env, day0); err != nil {
				t.Fatal("control: the unaltered envelope must open:", err)
			}
		})
	}
}

// newTurn lets B answer on a copy and returns A's first message after that.
func newTurn(t *testing.T, p *pair) []byte {
	t.Helper()
	mustOpen(t, p.sa, p.b.seal(t, p.sb, "turn"), "turn")
	return p.a.seal(t, p.sa, "new chain")
}

func forEveryFlip(env []byte, visit func([]byte)) {
	for bit := range len(env) * 8 {
		bad := bytes.Clone(env)
		bad[bit/8] ^= 1 << (bit % 8)
		visit(bad)
	}
}

func TestEveryCutAndExtensionIsRefused(t *testing.T) {
	p := newPair(t)
	env := p.a.seal(t, p.sa, "whole")
	for n := range env {
		mustRefuse(t, p.sb, env[:n], ErrOpen)
	}
	for _, extra := range []int{1, 16, 256, 512 - 256, 4096} {
		mustRefuse(t, p.sb, append(bytes.Clone(env), make([]byte, extra)...), ErrOpen)
	}
}

func TestAMessageOpensOnce(t *testing.T) {
	p := newPair(t)
	one, two, three := p.a.seal(t, p.sa, "one"), p.a.seal(t, p.sa, "two"), p.a.seal(t, p.sa, "three")
	for _, m := range []struct {
		env  []byte
		text string
	}{{two, "two"}, {three, "three"}, {one, "one"}} {
		mustOpen(t, p.sb, m.env, m.text)
		mustRefuse(t, p.sb, m.env, ErrOpen)
		p.sb = stored(t, p.sb)
		mustRefuse(t, p.sb, m.env, ErrOpen)
	}
}

func TestAMessageOpensOnlyInItsSession(t *testing.T) {
	p := newPair(t)
	other := p.a.initiate(t, p.b)
	otherB, _, _ := p.b.accept(t, p.a.seal(t, other, "other"))
	env := p.a.seal(t, p.sa, "mine")
	mustRefuse(t, otherB, env, ErrOpen)
	mustRefuse(t, p.sa, env, ErrOpen) // thrown back at its sender
	mustOpen(t, p.sb, env, "mine")
}

func TestASkippedMessageKeepsItsPlaceOverTurns(t *testing.T) {
	p := newPair(t)
	var late [][]byte
	for range 5 {
		late = append(late, p.a.seal(t, p.sa, "late"))
		mustOpen(t, p.sb, p.a.seal(t, p.sa, "on time"), "on time")
		late = append(late, p.a.seal(t, p.sa, "late")) // the last of its chain: PN tells
		mustOpen(t, p.sa, p.b.seal(t, p.sb, "turn"), "turn")
	}
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "end"), "end")
	if p.sb.Skipped() != len(late) {
		t.Fatalf("%d keys kept, want %d", p.sb.Skipped(), len(late))
	}
	for i := range late {
		mustOpen(t, p.sb, late[len(late)-1-i], "late")
	}
	if p.sb.Skipped() != 0 {
		t.Fatal("keys left")
	}
}

func TestTooFarAheadIsDeferredNotLost(t *testing.T) {
	p := newPair(t)
	var sent [][]byte
	for range maxGap + 2 {
		sent = append(sent, p.a.seal(t, p.sa, "far"))
	}
	mustRefuse(t, p.sb, sent[maxGap+1], ErrTooFar)
	for _, bad := range [][]byte{flip(sent[maxGap+1], 20), flip(sent[maxGap+1], 3)} {
		mustRefuse(t, p.sb, bad, ErrOpen) // what cannot be authentic is never deferred
	}
	mustOpen(t, p.sb, sent[maxGap], "far") // exactly at the bound
	mustOpen(t, p.sb, sent[maxGap+1], "far")
	mustOpen(t, p.sb, sent[0], "far")
}

func TestTooFarCountsThePreviousChainToo(t *testing.T) {
	p := newPair(t)
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "begin"), "begin")
	for range maxGap + 1 {
		p.a.seal(t, p.sa, "lost")
	}
	mustOpen(t, p.sa, p.b.seal(t, p.sb, "turn"), "turn")
	mustRefuse(t, p.sb, p.a.seal(t, p.sa, "after"), ErrTooFar)
}

func flip(env []byte, at int) []byte {
	bad := bytes.Clone(env)
	bad[at] ^= 0x80
	return bad
}

func TestKeptKeysAreBounded(t *testing.T) {
	p := newPair(t)
	var sent [][]byte
	for range 3 {
		for range maxGap {
			sent = append(sent, p.a.seal(t, p.sa, "gap"))
		}
		mustOpen(t, p.sb, p.a.seal(t, p.sa, "on time"), "on time")
		if p.sb.Skipped() > maxSkipped {
			t.Fatal("more than the bound:", p.sb.Skipped())
		}
	}
	if got := len(p.sb.Marshal()); got > 2048+maxSkipped*skippedSize {
		t.Fatal("state of", got)
	}
	mustRefuse(t, p.sb, sent[0], ErrOpen) // the oldest went first
	mustOpen(t, p.sb, sent[len(sent)-1], "gap")
	mustOpen(t, p.sb, sent[len(sent)-maxSkipped], "gap")
}

func TestAKeptKeyExpires(t *testing.T) {
	p := newPair(t)
	late, later := p.a.seal(t, p.sa, "late"), p.a.seal(t, p.sa, "later")
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "on time"), "on time")
	if _, err := p.sb.Open(late, day0.Add(skippedLife)); err != nil {
		t.Fatal("control: within the time it opens:", err)
	}
	if _, err := p.sb.Open(later, day0.Add(skippedLife+time.Millisecond)); err != ErrOpen {
		t.Fatal(err)
	}
	if n := p.sb.Expire(day0.Add(skippedLife)); n != 0 {
		t.Fatal("expired too early")
	}
	if n := p.sb.Expire(day0.Add(skippedLife + time.Millisecond)); n != 1 || p.sb.Skipped() != 0 {
		t.Fatal("not forgotten")
	}
}

// forge seals the next message of s with a header of the attacker's choice: only the peer itself
// could.
func forge(s *Session, change func(*header), body []byte) []byte {
	h := header{ratchet: s.localPub, previous: s.previous, n: s.send.n}
	change(&h)
	raw := h.encode()
	return forgeRaw(s, s.send.head.tagOf(h.n), raw[:], body)
}

func forgeRaw(s *Session, tag [tagSize]byte, raw, body []byte) []byte {
	out := make([]byte, 1+tagSize+guardSize, overhead+len(body))
	out[0] = typeMessage
	copy(out[1:], tag[:])
	nonce := message(out).nonce()
	key, _ := stepChain(s.send.key)
	out = seal(out, s.send.head.seal[:], nonce, raw, message(out).headerAD(&s.ad))
	return seal(out, key[:], nonce, body, message(out).bodyAD(&s.ad))
}

func TestAHostilePeerGainsNothingFromItsHeaders(t *testing.T) {
	p := newPair(t)
	p.a.seal(t, p.sa, "so that the chain lives")
	plain, err := fields{Body: Body{Content: []byte("x")}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*header)
		want   error
	}{
		"control":                  {func(*header) {}, nil},
		"epoch that nobody agreed": {func(h *header) { h.epoch = 1 }, ErrOpen},
		"largest number":           {func(h *header) { h.n = 1<<32 - 1 }, ErrTooFar},
		"largest previous":         {func(h *header) { h.previous = 1<<32 - 1 }, ErrTooFar},
		"ratchet key of low order": {func(h *header) { h.ratchet = [32]byte{} }, ErrOpen},
	} {
		t.Run(name, func(t *testing.T) {
			env := forge(p.sa, c.change, plain)
			if c.want == nil {
				if _, err := stored(t, p.sb).Open(env, day0); err != nil {
					t.Fatal(err)
				}
				return
			}
			mustRefuse(t, p.sb, env, c.want)
		})
	}
}

func TestAHeaderMustFitItsTagAndSetNoFlag(t *testing.T) {
	// A peer that names one number in the tag and another in the header would use up the key of a
	// message that others look for under its own tag.
	p := newPair(t)
	p.a.seal(t, p.sa, "so that the chain lives")
	body := padded(tlvContent, 0, 1, 'x')
	raw := header{ratchet: p.sa.localPub, previous: p.sa.previous, n: p.sa.send.n}.encode()
	own, other := p.sa.send.head.tagOf(p.sa.send.n), p.sa.send.head.tagOf(7)
	mustRefuse(t, p.sb, forgeRaw(p.sa, other, raw[:], body), ErrOpen)
	for bit := range 8 {
		flagged := raw
		flagged[0] = 1 << bit
		mustRefuse(t, p.sb, forgeRaw(p.sa, own, flagged[:], body), ErrOpen)
	}
	mustOpen(t, p.sb, forgeRaw(p.sa, own, raw[:], body), "x") // control
}

func TestAPeerCannotTurnTwiceWithoutAnAnswer(t *testing.T) {
	p := newPair(t)
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "turn"), "turn")
	if err := p.sa.turnSend(p.a.rng); err != nil { // out of turn, as only a hostile peer would
		t.Fatal(err)
	}
	mustRefuse(t, p.sb, p.a.seal(t, p.sa, "second turn"), ErrOpen)
}

func TestAnAuthenticMalformedBodyIsRefusedAndKeepsItsKey(t *testing.T) {
	p := newPair(t)
	p.a.seal(t, p.sa, "so that the chain lives")
	for _, body := range [][]byte{make([]byte, 256), append([]byte{2}, make([]byte, 255)...)} {
		mustRefuse(t, p.sb, forge(p.sa, func(*header) {}, body), ErrOpen)
	}
}
