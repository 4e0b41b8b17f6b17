package session

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/fuzztest"
)

func FuzzOpen(f *testing.F) {
	p := newPair(f)
	late := p.a.seal(f, p.sa, "late")
	mustOpen(f, p.sb, p.a.seal(f, p.sa, "on time"), "on time")
	genuine := map[string]bool{string(late): true}
	for _, text := range []string{"next", "after"} {
		env := p.a.seal(f, p.sa, text)
		genuine[string(env)] = true
		f.Add(env)
	}
	f.Add(late)
	f.Add(p.a.seal(f, p.a.initiate(f, p.b), "first flight"))
	f.Add([]byte{typeMessage})
	state := p.sb.Marshal()
	f.Fuzz(func(t *testing.T, env []byte) {
		defer fuzztest.Limit(t, len(env))()
		s, err := ParseSession(state)
		if err != nil {
			t.Fatal(err)
		}
		book := NewBook()
		book.Put(refOf(s), s)
		book.Find(env)
		found := len(book.Trial(env, 2)) == 1
		if _, err := s.Open(env, day0); err == nil {
			if !genuine[string(env)] {
				t.Fatal("opened what was never sealed")
			}
			return
		}
		if genuine[string(env)] {
			t.Fatal("refused a genuine envelope", found)
		}
		if !bytes.Equal(state, s.Marshal()) {
			t.Fatal("a refused envelope changed the session")
		}
	})
}

func FuzzAccept(f *testing.F) {
	a, b := newDevice(f, 1), newDevice(f, 2)
	genuine := a.seal(f, a.initiate(f, b), "hello")
	f.Add(genuine)
	f.Add(genuine[:prefixSize])
	f.Add(flip(genuine, 100))
	f.Fuzz(func(t *testing.T, env []byte) {
		defer fuzztest.Limit(t, len(env))()
		_, peekErr := PeekSender(b.Self, b.pre, env)
		s, _, _, err := Accept(b.Self, b.pre, trust, env, day0)
		if (err == nil) != bytes.Equal(env, genuine) || (s == nil) != (err != nil) {
			t.Fatal("accepted what was never sealed, or refused what was:", err)
		}
		if err == nil && peekErr != nil {
			t.Fatal("accepted without an identity")
		}
	})
}

func FuzzParseFirstFlight(f *testing.F) {
	a, b := newDevice(f, 1), newDevice(f, 2)
	sa := a.initiate(f, b)
	f.Add(a.seal(f, sa, "hello"))
	f.Add(a.seal(f, sa, "hello")[prefixSize:])
	f.Fuzz(func(t *testing.T, env []byte) {
		defer fuzztest.Limit(t, len(env))()
		flight, ok := ParseFirstFlight(env)
		if !ok {
			if flight != (FirstFlight{}) {
				t.Fatal("something out of nothing")
			}
			return
		}
		if len(env) > MaxEnvelope || env[0] != typeFirstFlight || !bytes.Equal(env[9:41], flight.EA[:]) {
			t.Fatal("misread")
		}
	})
}

func FuzzParseSession(f *testing.F) {
	for _, s := range stages(f) {
		f.Add(s.Marshal())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		s, err := ParseSession(raw)
		if err != nil {
			return
		}
		if again := s.Marshal(); raw[0] == stateVersion && !bytes.Equal(raw, again) || !bytes.Equal(stored(t, s).Marshal(), again) {
			t.Fatal("two encodings of one state")
		}
		s.Expire(day0)
		if _, err := s.Seal(seeded(1), Body{Counter: 1}); err == nil {
			if _, err := ParseSession(s.Marshal()); err != nil {
				t.Fatal("sealing spoilt the state")
			}
		}
	})
}

func FuzzParseBody(f *testing.F) {
	f.Add(padded(tlvContent, 0, 1, 'c'))
	f.Add(padded(tlvPQKey, 0, 1, 9, tlvCounter, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(padded(append([]byte{tlvOwnHead, 0, 12}, make([]byte, 12)...)...))
	f.Add(padded(append([]byte{tlvStanding, 0, standingSize}, bytes.Repeat([]byte{1}, standingSize)...)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		body, ok := parseBody(raw)
		if !ok {
			return
		}
		again, err := body.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, ok := parseBody(again)
		if len(body.Content) == 0 {
			body.Content = nil
		}
		if len(body.Token) == 0 {
			body.Token = nil
		}
		if diff := cmp.Diff(body, back, cmp.AllowUnexported(fields{})); diff != "" || !ok {
			t.Fatal(ok, diff)
		}
	})
}

// FuzzAuthentic: the peer itself is hostile. Whatever it writes into header and body, under whichever number, opens or
// is refused without a trace, and the session goes on.
func FuzzAuthentic(f *testing.F) {
	p := newPair(f)
	p.a.seal(f, p.sa, "so that the chain lives")
	h := header{ratchet: p.sa.localPub, n: p.sa.send.n}.encode()
	f.Add(h[:], uint32(1), padded(tlvContent, 0, 1, 'c'))
	plain, err := fields{pqKey: append([]byte{0, 0, 0, 1}, make([]byte, ekSize)...)}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(h[:], uint32(2000), plain)
	f.Add(make([]byte, headerSize), uint32(0), make([]byte, 256))
	state := p.sb.Marshal()
	f.Fuzz(func(t *testing.T, head []byte, tagOf uint32, body []byte) {
		defer fuzztest.Limit(t, len(head)+len(body))()
		if len(head) != headerSize || ClassOf(len(body)) != len(body) || len(body) == 0 {
			return
		}
		s, err := ParseSession(state)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.Open(forgeRaw(p.sa, p.sa.send.head.tagOf(tagOf), head, body), day0); err != nil {
			if err != ErrOpen && err != ErrTooFar || !bytes.Equal(state, s.Marshal()) {
				t.Fatal("a trace:", err)
			}
			return
		}
		if s.Skipped() > maxSkipped {
			t.Fatal("kept", s.Skipped())
		}
		if _, err := ParseSession(s.Marshal()); err != nil {
			t.Fatal("a state that does not read back")
		}
		if _, err := s.Seal(seeded(1), Body{Counter: 1}); err != nil {
			t.Fatal("the session does not go on:", err)
		}
	})
}
