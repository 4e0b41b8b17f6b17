package session

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
)

func sizes(b *testing.B, run func(b *testing.B, content []byte)) {
	for _, n := range []int{100, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, bytes.Repeat([]byte{'x'}, n))
		})
	}
}

func BenchmarkSealSteady(b *testing.B) {
	sizes(b, func(b *testing.B, content []byte) {
		p := newPair(b)
		for b.Loop() {
			if _, err := p.sa.Seal(p.a.rng, Body{Counter: 1, Content: content}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpenSteady(b *testing.B) {
	sizes(b, func(b *testing.B, content []byte) {
		p := newPair(b)
		var envs [][]byte
		for range 1000 {
			envs = append(envs, p.a.seal(b, p.sa, string(content)))
		}
		s, i := p.sb.Clone(), 0
		for b.Loop() {
			if i == len(envs) {
				s, i = p.sb.Clone(), 0
			}
			if _, err := s.Open(envs[i], day0); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkTurn is one message each way with a DH step on both sides.
func BenchmarkTurn(b *testing.B) {
	p := newPair(b)
	b.ReportAllocs()
	for b.Loop() {
		mustOpen(b, p.sb, p.a.seal(b, p.sa, "ping"), "ping")
		mustOpen(b, p.sa, p.b.seal(b, p.sb, "pong"), "pong")
	}
}

func BenchmarkSealWithDHStep(b *testing.B) {
	p := newPair(b)
	b.ReportAllocs()
	for b.Loop() {
		c := *p.sa
		p.a.seal(b, &c, "ping")
	}
}

func BenchmarkOpenWithDHStep(b *testing.B) {
	p := newPair(b)
	env := p.a.seal(b, p.sa, "ping")
	b.ReportAllocs()
	for b.Loop() {
		c := *p.sb
		mustOpen(b, &c, env, "ping")
	}
}

func BenchmarkInitiateAndSeal(b *testing.B) {
	from, to := newDevice(b, 1), newDevice(b, 2)
	b.ReportAllocs()
	for b.Loop() {
		s, err := Initiate(from.rng, from.Self, to.bundle)
		if err != nil {
			b.Fatal(err)
		}
		from.seal(b, s, "first")
	}
}

func BenchmarkAccept(b *testing.B) {
	from, to := newDevice(b, 1), newDevice(b, 2)
	env := from.seal(b, from.initiate(b, to), "first")
	b.ReportAllocs()
	for b.Loop() {
		to.accept(b, env)
	}
}

// BenchmarkFanOut96 seals one content for 96 devices and encodes their sessions.
func BenchmarkFanOut96(b *testing.B) {
	from, to := newDevice(b, 1), newDevice(b, 2)
	var all []*Session
	for range 96 {
		s := from.initiate(b, to)
		from.seal(b, s, "first")
		s.prefix, s.established = nil, true
		all = append(all, s)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range all {
			from.seal(b, s, "to everybody")
			s.Marshal()
		}
	}
}

func BenchmarkState(b *testing.B) {
	p := newPair(b)
	raw := p.sa.Marshal()
	b.Run("Marshal", func(b *testing.B) {
		for b.Loop() {
			p.sa.Marshal()
		}
	})
	b.Run("Parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseSession(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkBook(b *testing.B) {
	const n = 3000
	book, all := manySessions(b, n)
	junk := far(b, all[0])
	junk[30] ^= 1
	b.Run("Put", func(b *testing.B) {
		i := 0
		for b.Loop() {
			s := all[i%n]
			s.recv.n++
			s.lastReceived++
			book.Put(Ref{identity.DeviceID{}, s.ID()}, s)
			i++
		}
	})
	b.Run("FindMiss", func(b *testing.B) {
		for b.Loop() {
			book.Find(junk)
		}
	})
	b.Run("TrialAll3000", func(b *testing.B) {
		for b.Loop() {
			book.Trial(junk, 4*n)
		}
	})
	b.Run("TrialBudget64", func(b *testing.B) {
		for b.Loop() {
			book.Trial(junk, 64)
		}
	})
}
