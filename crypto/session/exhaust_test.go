package session

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
)

// Whoever has the wire delivers everything twice, in any order, to everybody: each envelope opens once, for the one it
// was sealed for, and nobody's own comes back to him. A receiver that forgets what it opened would take it again.
func TestAttackReplayReorderReflection(t *testing.T) {
	for round := range 100 {
		rng := rand.New(rand.NewPCG(uint64(round), 7))
		p := newPair(t)
		stranger, _, _ := newDevice(t, 3).accept(t, p.a.seal(t, p.a.initiate(t, newDevice(t, 3)), "hello"))
		sides := []*Session{p.sa, p.sb}
		for range 3 { // turns in between, so that chains end and begin
			var wire []packet
			want := map[string]int{}
			for n := range 2 + rng.IntN(8) {
				from, d := n%2, []*device{p.a, p.b}[n%2]
				text := string(rune('a'+n)) + string(rune('0'+from))
				env := d.seal(t, sides[from], text)
				want[text] = 1 - from
				wire = append(wire, packet{env, text}, packet{env, text})
			}
			rng.Shuffle(len(wire), func(i, j int) { wire[i], wire[j] = wire[j], wire[i] })
			for _, x := range wire {
				mustRefuse(t, stranger, x.env, ErrOpen)
				to, due := want[x.text]
				for side, s := range sides {
					if side == to && due {
						mustOpen(t, s, x.env, x.text)
						continue
					}
					mustRefuse(t, s, x.env, ErrOpen)
				}
				delete(want, x.text)
			}
			if len(want) != 0 {
				t.Fatal("lost:", want)
			}
		}
		forgetful := stored(t, p.sb)
		env := p.a.seal(t, p.sa, "again")
		mustOpen(t, p.sb, env, "again")
		mustOpen(t, forgetful, env, "again") // control
	}
}

// Decapsulation answers whatever it is given (implicit rejection): a ciphertext that nobody made is one more envelope
// that does not open. Encapsulation keys that FIPS 203 refuses are ignored in a session, wherever the bad coefficient is.
func TestAttackMalformedMLKEM(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	at := 1 + prekeyIDSize + keySize
	rng := rand.NewChaCha8([32]byte{42})
	for range 200 {
		bad := bytes.Clone(env)
		_, _ = rng.Read(bad[at : at+ctSize])
		mustNotAccept(t, b, bad)
	}
	b.accept(t, env)

	good, err := agree.NewDecapsulator(bytes.Repeat([]byte{9}, agree.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	p := newPair(t)
	p.a.seal(t, p.sa, "so that the chain lives")
	offer := func(key []byte) *Session {
		t.Helper()
		s := stored(t, p.sb)
		plain, err := fields{Body: Body{Content: []byte("x")}, pqKey: append([]byte{0, 0, 0, 1}, key...)}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := s.Open(forge(p.sa, func(*header) {}, plain), day0); err != nil || string(body.Content) != "x" {
			t.Fatal("a bad key costs the message:", err)
		}
		return s
	}
	for coefficient := range 768 {
		key := bytes.Clone(agree.EncapsulationKey(good))
		three := key[coefficient/2*3:]
		if value := 3329 + coefficient%767; coefficient%2 == 0 {
			three[0], three[1] = byte(value), three[1]&0xf0|byte(value>>8)
		} else {
			three[1], three[2] = three[1]&0x0f|byte(value<<4), byte(value>>4)
		}
		if s := offer(key); s.epoch.role != epochIdle {
			t.Fatalf("coefficient %d out of range was answered", coefficient)
		}
	}
	if s := offer(agree.EncapsulationKey(good)); s.epoch.role != epochAnswered {
		t.Fatal("control: a good key is not answered")
	}
}

// A hostile peer makes gaps as large as they may be, turn after turn, and claims larger ones: what is kept stays under
// its bound, and a claim beyond it costs less than one chain step.
func TestAttackSkippedKeyExhaustion(t *testing.T) {
	p := newPair(t)
	var newest []byte
	for range 25 {
		for range maxGap - 2 {
			p.sa.send.key = second(stepChain(p.sa.send.key)) // never sealed
			p.sa.send.n++
		}
		newest = p.a.seal(t, p.sa, "in the gap")
		mustOpen(t, p.sb, p.a.seal(t, p.sa, "after the gap"), "after the gap")
		if p.sb.Skipped() > maxSkipped || len(p.sb.Marshal()) > 2048+maxSkipped*skippedSize {
			t.Fatal("more than the bound:", p.sb.Skipped())
		}
		mustOpen(t, p.sa, p.b.seal(t, p.sb, "turn"), "turn")
		p.a.seal(t, p.sa, "begins the next chain")
	}
	if p.sb.Skipped() != maxSkipped {
		t.Fatal("control: the attack does not fill what may be kept:", p.sb.Skipped())
	}
	mustOpen(t, p.sb, newest, "in the gap") // control: what is kept is of use

	body := padded(tlvContent, 0, 1, 'x')
	near := forge(p.sa, func(h *header) { h.n += maxGap - 1 }, body)
	far := forge(p.sa, func(h *header) { h.n = math.MaxUint32 - 1 }, body)
	past := forge(p.sa, func(h *header) { h.previous = math.MaxUint32 - 1 }, body)
	cost := func(env []byte, want error) float64 {
		t.Helper()
		mustRefuse(t, p.sb, env, want)
		return testing.AllocsPerRun(5, func() { _, _ = p.sb.Open(env, day0) })
	}
	work := cost(near, ErrOpen) // its body is sealed with another number's key
	for _, env := range [][]byte{far, past} {
		if n := cost(env, ErrTooFar); n*20 > work {
			t.Errorf("a claim that is put aside allocates %v times, one that is worked through %v", n, work)
		}
	}
}

func second(_, next [keySize]byte) [keySize]byte { return next }

// Junk whose tag nobody knows costs its budget of header trials and no more, however many sessions there are.
func TestAttackTrialDecryption(t *testing.T) {
	const sessions, junk, budget = 3000, 10_000, 64
	p, rng := newPair(t), rand.NewChaCha8([32]byte{3})
	book := NewBook()
	var last *Session
	for i := range sessions {
		s := p.sb.Clone()
		_, _ = rng.Read(s.ad[:])
		for _, head := range []*headKey{&s.recv.head, &s.nextRecv} {
			var secret [keySize]byte
			_, _ = rng.Read(secret[:])
			*head = newHeadKey(secret)
		}
		s.lastReceived = int64(i + 1)
		book.Put(refOf(s), s)
		if i == 0 {
			last = s // received longest ago
		}
	}
	env := p.a.seal(t, p.sa, "junk to everybody else")
	trials := 0
	for range junk {
		_, _ = rng.Read(env[1:])
		if _, ok := book.Find(env); ok {
			t.Fatal("a random tag is known")
		}
		before := book.next
		if got := book.Trial(env, budget); got != nil {
			t.Fatal("junk fits a session")
		}
		tail := len(book.order) - budget/4
		trials += 2 * (budget/4 + (book.next-before+tail)%tail)
	}
	if trials != junk*budget {
		t.Errorf("%d envelopes of junk cost %d header trials", junk, trials)
	}
	// Control: a genuine one, further ahead than tags are known, is found among them all.
	genuine := genuineFor(last)
	for calls := 1; len(book.Trial(genuine, budget)) == 0; calls++ {
		if calls > sessions/(budget/4) {
			t.Fatal("control: never reached")
		}
	}
}

// genuineFor is an envelope with a header that s opens and a tag beyond its window.
func genuineFor(s *Session) []byte {
	peer := &Session{ad: s.ad, send: chain{live: true, head: s.recv.head, n: s.recv.n + window + 5}}
	return forge(peer, func(*header) {}, padded(tlvContent, 0, 1, 'x'))
}
