package session

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stages are sessions in every stage of their life.
func stages(t testing.TB) map[string]*Session {
	t.Helper()
	p := newPair(t)
	fresh := p.a.initiate(t, p.b)
	flown := p.a.initiate(t, p.b)
	p.a.seal(t, flown, "first")
	received := stored(t, p.sa)
	p.a.seal(t, p.sa, "late")
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "on time"), "on time")
	both := p.sb.Clone()
	p.b.seal(t, both, "answer")
	proposing, answered, ready := newPair(t), newPair(t), newPair(t)
	for i, p := range []*pair{proposing, answered, ready} {
		p.sa.epoch.since = epochMessages
		key := p.a.seal(t, p.sa, "key")
		if i > 0 {
			mustOpen(t, p.sb, key, "key")
		}
		if i > 1 {
			mustOpen(t, p.sa, p.b.seal(t, p.sb, "answer"), "answer")
		}
	}
	return map[string]*Session{
		"proposing": proposing.sa, "answered": answered.sb, "ready": ready.sa,
		"fresh": fresh, "flown": flown, "received": received,
		"sending": p.sa, "with kept keys": p.sb, "answering": both,
	}
}

func TestStateReadsBack(t *testing.T) {
	for name, s := range stages(t) {
		raw := s.Marshal()
		if want := stateFixed + len(s.prefix) + epochHolds[s.epoch.role] + len(s.skipped)*skippedSize; len(raw) != want || len(s.skipped) == 0 && len(raw) > 2048 {
			t.Errorf("%s: %d bytes, want %d", name, len(raw), want)
		}
		back, err := ParseSession(raw)
		if err != nil {
			t.Fatal(name, err)
		}
		if !bytes.Equal(raw, back.Marshal()) {
			t.Errorf("%s: changed on the way", name)
		}
		if diff := cmp.Diff(s.Peer(), back.Peer()); diff != "" || s.ID() != back.ID() ||
			s.Established() != back.Established() || s.Initiated() != back.Initiated() ||
			!s.LastReceived().Equal(back.LastReceived()) || s.PrekeyID() != back.PrekeyID() {
			t.Errorf("%s: not the same session %s", name, diff)
		}
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	const flagsAt, prefixLenAt, roleAt = 3, stateFixed - 28, stateFixed - 13
	edit := func(s *Session, at int, to byte) []byte {
		raw := s.Marshal()
		raw[at] = to
		return raw
	}
	all := stages(t)
	for name, raw := range map[string][]byte{
		"empty":                  {},
		"version":                edit(all["sending"], 0, stateVersion+1),
		"suite":                  edit(all["sending"], 2, 2),
		"unknown flag":           edit(all["sending"], flagsAt, 0x37),
		"neither side":           edit(all["fresh"], flagsAt, 0),
		"no prefix":              edit(all["sending"], flagsAt, stateInitiated),
		"established unheard":    edit(all["sending"], flagsAt, stateInitiated|stateEstablished),
		"role without secret":    edit(all["sending"], roleAt, byte(epochReady)),
		"unknown role":           edit(all["sending"], roleAt, 9),
		"prefix of a wrong size": edit(all["fresh"], prefixLenAt, 1),
		"count of kept keys":     edit(all["sending"], stateFixed-1, 1),
		"trailing":               append(all["sending"].Marshal(), 0),
		"cut":                    all["with kept keys"].Marshal()[:stateFixed+skippedSize-1],
		"too many kept keys": append(binary.BigEndian.AppendUint16(all["sending"].Marshal()[:stateFixed-2], maxSkipped+1),
			make([]byte, (maxSkipped+1)*skippedSize)...),
	} {
		if s, err := ParseSession(raw); err != ErrState || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
