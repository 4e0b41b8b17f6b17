package session

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// talk has both write in turn, n messages in all, and returns the bytes on the wire.
func (p *pair) talk(t testing.TB, n int) (bytes int) {
	t.Helper()
	for i := range n {
		from, to, d := p.sa, p.sb, p.a
		if i%2 == 1 {
			from, to, d = p.sb, p.sa, p.b
		}
		text := fmt.Sprint("message ", i)
		env := d.seal(t, from, text)
		bytes += len(env)
		mustOpen(t, to, env, text)
	}
	return bytes
}

// A conversation enters an epoch about every 50 messages, both sides take turns with it, and a message costs at most 60
// bytes more for that.
func TestEpochsFollowEachOther(t *testing.T) {
	p := newPair(t)
	const n = 5000
	got := p.talk(t, n)
	if a, b := p.sa.Epoch(), p.sb.Epoch(); a < n/60 || a > n/epochMessages || a-b > 1 && b-a > 1 {
		t.Errorf("%d messages brought %d and %d epochs", n, a, b)
	}
	if extra := float64(got)/n - (overhead + 256); extra > 60 {
		t.Errorf("epochs cost %.1f bytes a message", extra)
	}
	t.Logf("%d messages, %d epochs, %.1f bytes a message for them", n, p.sa.Epoch(), float64(got)/n-(overhead+256))
	if p.sa.Stalled() || p.sb.Stalled() {
		t.Error("stalled")
	}
	if size := len(p.sa.Marshal()); size > 2048 {
		t.Errorf("a session takes %d bytes on disk", size)
	}
}

// Few messages in a week bring an epoch as well.
func TestAWeekBringsAnEpoch(t *testing.T) {
	p := newPair(t)
	now := day0
	say := func(from, to *Session, d *device) {
		t.Helper()
		if _, err := to.Open(d.seal(t, from, "x"), now); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		say(p.sa, p.sb, p.a)
		say(p.sb, p.sa, p.b)
		now = now.Add(epochLife / 4)
	}
	if p.sa.Epoch() != 0 || p.sa.epoch.role != epochIdle {
		t.Fatal("control: an epoch before its time")
	}
	for range 4 {
		now = now.Add(epochLife / 2)
		say(p.sb, p.sa, p.b)
		say(p.sa, p.sb, p.a)
	}
	if p.sa.Epoch() != 1 || p.sb.Epoch() != 1 {
		t.Fatalf("epochs %d and %d", p.sa.Epoch(), p.sb.Epoch())
	}
}

// Loss, reordering, repetition and restarts never lose a message that arrived, and do not keep epochs from following
// each other.
func TestEpochsDoNotStall(t *testing.T) {
	for seed := range uint64(8) {
		p, rng := newPair(t), rand.New(rand.NewPCG(seed, 1))
		loss := rng.Float64() / 2
		sessions, devices := [2]*Session{p.sa, p.sb}, [2]*device{p.a, p.b}
		var wire [2][]packet
		sent := 0
		for range 4000 {
			who := rng.IntN(2)
			switch x := rng.Float64(); {
			case x < 0.45:
				for range 1 + rng.IntN(4) {
					sent++
					text := fmt.Sprint(sent)
					env := devices[who].seal(t, sessions[who], text)
					if rng.Float64() >= loss {
						wire[1-who] = append(wire[1-who], packet{env, text})
					}
				}
			case x < 0.97:
				for range 3 {
					if n := len(wire[who]); n > 0 {
						i := min(rng.IntN(n), rng.IntN(n)) // rather the oldest
						mustOpen(t, sessions[who], wire[who][i].env, wire[who][i].text)
						wire[who] = slices.Delete(wire[who], i, i+1)
					}
				}
			default:
				sessions[who] = stored(t, sessions[who])
			}
		}
		a, b := sessions[0].Epoch(), sessions[1].Epoch()
		if low := uint32(sent / 400); a < low || b < low || a-b > 1 && b-a > 1 {
			t.Errorf("seed %d, loss %.2f: %d messages brought %d and %d epochs", seed, loss, sent, a, b)
		}
	}
}

// Who drops all messages that are large enough for a key holds epochs up, and is noticed; the session lives on, and the
// next epoch comes as soon as one gets through.
func TestDroppingKeysIsNoticed(t *testing.T) {
	p := newPair(t)
	talk := func(drop bool) {
		for i := range 200 {
			from, to, d := p.sa, p.sb, p.a
			if i%2 == 1 {
				from, to, d = p.sb, p.sa, p.b
			}
			if env := d.seal(t, from, "x"); !drop || len(env) == overhead+256 {
				mustOpen(t, to, env, "x")
			}
		}
	}
	talk(true)
	if p.sa.Epoch() != 0 || !p.sa.Stalled() {
		t.Fatalf("epoch %d, stalled %t", p.sa.Epoch(), p.sa.Stalled())
	}
	talk(false)
	if p.sa.Epoch() == 0 || p.sa.Stalled() {
		t.Fatalf("epoch %d, stalled %t", p.sa.Epoch(), p.sa.Stalled())
	}
}

// A peer that sends rubbish in place of a key, or of an epoch that is not the next, changes nothing.
func TestAKeyThatIsNoneIsIgnored(t *testing.T) {
	for name, field := range map[string][]byte{
		"coefficients too large": append([]byte{0, 0, 0, 1}, slices.Repeat([]byte{0xff}, ekSize)...),
		"the present epoch":      append([]byte{0, 0, 0, 0}, make([]byte, ekSize)...),
		"another one":            append([]byte{0, 0, 0, 2}, make([]byte, ekSize)...),
	} {
		p := newPair(t)
		p.a.seal(t, p.sa, "so that the chain lives")
		plain, err := fields{Body: Body{Content: []byte("x")}, pqKey: field}.encode()
		if err != nil {
			t.Fatal(err)
		}
		mustOpen(t, p.sb, forge(p.sa, func(*header) {}, plain), "x")
		if p.sb.epoch.role != epochIdle {
			t.Errorf("%s: was answered", name)
		}
	}
	p := newPair(t) // control
	p.a.seal(t, p.sa, "so that the chain lives")
	p.sa.epoch.since = epochMessages
	for range 2 * attachEvery {
		mustOpen(t, p.sb, p.a.seal(t, p.sa, "x"), "x")
	}
	if p.sb.epoch.role != epochAnswered {
		t.Error("control: a good key was not answered")
	}
}

// Content that leaves no room for a key goes without, in the size that it has anyway, and the next that has room carries
// it. What fills the largest class has room up to its end.
func TestLongMessagesCarryNoKey(t *testing.T) {
	const head, key = bodyFixed - 11 - 2*15, tlvHead + epochNumberSize + ekSize // without counter and digests
	for _, c := range []struct {
		content, size int
		carries       bool
	}{
		{maxOpenClass - head - key, 2048, true},
		{maxOpenClass - head - key + 1, 1024, false},
		{maxOpenClass - head, 2048, false},
		{maxOpenClass - head + 1, 4096, true},
		{maxClass - head - key, 4096, true},
		{maxClass - head - key + 1, 4096, false},
		{MaxContent, 4096, false},
	} {
		p := newPair(t)
		p.sa.epoch.since = epochMessages
		env, err := p.sa.Seal(p.a.rng, Body{Content: make([]byte, c.content)})
		if err != nil || len(env) != overhead+c.size {
			t.Fatal(c, len(env), err)
		}
		if _, err := p.sb.Open(env, day0); err != nil || (p.sb.epoch.role == epochAnswered) != c.carries {
			t.Fatal(c, p.sb.epoch.role, err)
		}
		p.sa = stored(t, p.sa)
		env = p.a.seal(t, p.sa, "short, and later in the chain")
		if carries := len(env) == overhead+1536; carries == c.carries {
			t.Error(c, len(env))
		}
		mustOpen(t, p.sb, env, "short, and later in the chain")
		if env = p.a.seal(t, p.sa, "another"); p.sb.epoch.role != epochAnswered || len(env) != overhead+256 || p.sa.epoch.tries != 1 {
			t.Error(c, p.sb.epoch.role, len(env), p.sa.epoch.tries)
		}
	}
}

// Chains that all begin with something large, a picture say, do not keep epochs from following each other.
func TestLargeMessagesDoNotHoldUpEpochs(t *testing.T) {
	for _, large := range []int{900, 2000, 2500, MaxContent} {
		p := newPair(t)
		for range 100 {
			for _, x := range []struct {
				from, to *Session
				d        *device
			}{{p.sa, p.sb, p.a}, {p.sb, p.sa, p.b}} {
				for _, size := range []int{large, 10} {
					env, err := x.from.Seal(x.d.rng, Body{Content: make([]byte, size)})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := x.to.Open(env, day0); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if p.sa.Epoch() < 5 || p.sa.Stalled() || p.sb.Stalled() {
			t.Errorf("chains that begin with %d bytes: %d epochs, stalled %t and %t", large, p.sa.Epoch(), p.sa.Stalled(), p.sb.Stalled())
		}
	}
}

// Without entropy nothing is proposed, and the session stays as it is.
func TestAProposalNeedsEntropy(t *testing.T) {
	p := newPair(t)
	p.sa.epoch.since = epochMessages
	before := p.sa.Marshal()
	for n := range int64(32 + guardSize + 64) {
		if _, err := p.sa.Seal(io.LimitReader(p.a.rng, n), Body{}); err == nil || string(p.sa.Marshal()) != string(before) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := p.sa.Seal(io.LimitReader(p.a.rng, 32+guardSize+64), Body{}); err != nil {
		t.Fatal(err)
	}
}

// A session that an earlier build stored goes on, and has epochs from then on.
func TestSessionsFromBeforeEpochs(t *testing.T) {
	p := newPair(t)
	for _, s := range []*Session{p.sa, p.sb} {
		s.epoch = epoch{}
		raw := s.Marshal()
		raw[0] = stateBeforeEpochs
		end := len(raw) - 2 - len(s.skipped)*skippedSize
		old, err := ParseSession(slices.Delete(raw, end-24, end))
		if err != nil {
			t.Fatal(err)
		}
		*s = *old
	}
	p.talk(t, 4*epochMessages)
	if p.sa.Epoch() == 0 {
		t.Error("no epoch")
	}
}
