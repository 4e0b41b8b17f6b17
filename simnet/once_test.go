package simnet_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node"
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
		if all < 6 || twice > 0 != sleeps {
			t.Errorf("sleeps %t: %d of %d envelopes were written twice", sleeps, twice, all)
		}
	}
}

// What one device tells another about itself fills several envelopes, which come within milliseconds: they get one acknowledgement. The
// control: texts that come like that get one each, at once.
func TestWhatComesInSeveralIsAcknowledgedOnce(t *testing.T) {
	s := &schedule{t: t, seed: 5, w: simnet.New(5)}
	s.w.Connect(simnet.Net{RTT: [][]time.Duration{{20 * time.Millisecond}}})
	s.w.Policy(election.DefaultPolicy())
	a, err := s.w.AddDevice("alice")
	s.must(err)
	b, err := s.w.AddDevice("bob")
	s.must(err)
	for i := range 5 {
		s.w.AddRelay(fmt.Sprint("relay ", i)) // their addresses fill the envelopes
	}
	for _, d := range []*simnet.Device{a, b} {
		s.must(d.Start())
	}
	s.w.Run(time.Minute)
	large, small := 0, 0
	s.w.Watch(func(p simnet.Parcel) {
		switch {
		case p.Kind == "direct" && p.From == "alice" && len(p.Bytes) > 1000:
			large++
		case p.Kind == "direct" && p.From == "bob" && len(p.Bytes) < 600:
			small++
		}
	})
	s.befriend(a, b)
	s.w.Run(time.Minute)
	if large < 4 || 2*small > large {
		t.Errorf("%d envelopes of alice got %d acknowledgements", large, small)
	}
	small = 0
	for range 4 {
		s.must(a.Do(func(e *node.Engine, t *node.Turn) error {
			_, err := e.Send(t, node.SendRequest{To: "bob", Text: "hi"})
			return err
		}))
	}
	s.w.Run(time.Minute)
	if small != 4 {
		t.Errorf("control: 4 texts got %d acknowledgements", small)
	}
}
