package simnet_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/simnet"
)

// Two people who get to know each other tell each other a lot at the same time, over one stream: each envelope of it is written once.
// The control: a computer that fell asleep before it could acknowledge is written to again.
func TestAnEnvelopeIsWrittenOnce(t *testing.T) {
	for _, sleeps := range []bool{false, true} {
		s := &schedule{t: t, seed: 5, w: simnet.New(5)}
		s.w.Connect(simnet.Net{RTT: [][]time.Duration{{100 * time.Millisecond}}})
		times, all, twice := map[string]int{}, 0, 0
		a, err := s.w.AddDevice("alice")
		s.must(err)
		b, err := s.w.AddDevice("bob")
		s.must(err)
		s.w.Watch(func(p simnet.Parcel) {
			if p.Kind == "direct" {
				if times[string(p.Bytes)]++; times[string(p.Bytes)] == 2 {
					twice++
				}
				all++
			}
		})
		s.w.AddRelay("relay")
		for _, d := range []*simnet.Device{a, b} {
			s.must(d.Start())
		}
		s.w.Run(time.Minute)
		s.befriend(a, b)
		if sleeps {
			b.Leave()
			s.w.Run(time.Minute)
			b.Return()
		}
		s.w.Run(time.Minute)
		if all < 10 || twice > 0 != sleeps {
			t.Errorf("sleeps %t: %d of %d envelopes were written twice", sleeps, twice, all)
		}
	}
}
