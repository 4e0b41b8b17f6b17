package session

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		s, err := ParseSession(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(raw, s.Marshal()) {
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
	f.Fuzz(func(t *testing.T, raw []byte) {
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
