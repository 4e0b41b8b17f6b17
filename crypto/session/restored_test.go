package session

import (
	"fmt"
	"testing"
)

// restored has A put back to a copy of its session, taken just before message 32 of its chain, after B has opened that
// message and answered it; due: the message proposed an epoch. It returns how many of the next messages do not open, of
// each direction, while both write in turn.
func restored(t *testing.T, due bool) (p *pair, lostA, lostB int) {
	t.Helper()
	p = newPair(t)
	p.talk(t, 20)
	if !due {
		p.sa.epoch.since, p.sb.epoch.since = 0, 0
	}
	for i := range attachEvery {
		mustOpen(t, p.sb, p.a.seal(t, p.sa, fmt.Sprint("chain ", i)), fmt.Sprint("chain ", i))
	}
	older := stored(t, p.sa)
	if older.send.n != attachEvery || older.epoch.role != epochIdle {
		t.Fatalf("control: message %d is next, role %d", older.send.n, older.epoch.role)
	}
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "message 32"), "message 32")
	if proposed := p.sb.epoch.role == epochAnswered; proposed != due {
		t.Fatalf("control: proposed %t", proposed)
	}
	p.sa = older
	for i := range 12 {
		text := fmt.Sprint("after ", i)
		if _, err := p.sb.Open(p.a.seal(t, p.sa, text), day0); err != nil {
			lostA++
		}
		if _, err := p.sa.Open(p.b.seal(t, p.sb, text), day0); err != nil {
			lostB++
		}
	}
	return p, lostA, lostB
}

// A device that is put back to just before message 32 of a chain seals that one again, which its peer has opened: this
// one is lost, and the session goes on. But if the message proposed an epoch, the copy proposes another: it takes the
// answer to the first for the answer to its own, which ML-KEM does not notice, and from its next chain on nothing of it
// opens, while it opens everything. Only a new session mends that (docs/protocol.md, section 11).
func TestASessionPutBackBeforeAnEpoch(t *testing.T) {
	p, a, b := restored(t, false)
	if a != 1 || b != 0 {
		t.Errorf("control, no epoch due: %d and %d messages are lost", a, b)
	}
	p.talk(t, 200)
	if p.sa.Epoch() == 0 || p.sa.Epoch() != p.sb.Epoch() {
		t.Errorf("control: epochs %d and %d", p.sa.Epoch(), p.sb.Epoch())
	}

	p, a, b = restored(t, true)
	if a != 12 || b != 0 {
		t.Errorf("%d and %d messages are lost", a, b)
	}
	if p.sa.Epoch() != 1 || p.sb.Epoch() != 0 {
		t.Errorf("epochs %d and %d", p.sa.Epoch(), p.sb.Epoch())
	}
	p.b.publish(t)
	p.sa = p.a.initiate(t, p.b)
	p.sb, _, _ = p.b.accept(t, p.a.seal(t, p.sa, "anew"))
	p.talk(t, 200)
}
