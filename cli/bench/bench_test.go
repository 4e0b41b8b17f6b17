package bench

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/mailbox"
)

// TestTheVerdictSeesWhatIsLostAndWhatIsDoubled is the control of every run: a fast relay that forgets is no fast relay.
func TestTheVerdictSeesWhatIsLostAndWhatIsDoubled(t *testing.T) {
	a, b, stray := mailbox.EnvelopeID{1}, mailbox.EnvelopeID{2}, mailbox.EnvelopeID{3}
	kept := func() []*sender {
		s := &sender{stored: map[mailbox.EnvelopeID]struct{}{}}
		s.kept(a)
		s.kept(b)
		return []*sender{s}
	}
	for name, c := range map[string]struct {
		found map[mailbox.EnvelopeID]int
		err   error
		want  Result
	}{
		"each once":          {map[mailbox.EnvelopeID]int{a: 1, b: 1}, nil, Result{OK: true, Drained: 2}},
		"one without a word": {map[mailbox.EnvelopeID]int{a: 1, b: 1, stray: 1}, nil, Result{OK: true, Drained: 2}},
		"one lost":           {map[mailbox.EnvelopeID]int{a: 1}, nil, Result{Drained: 1, Lost: 1, Why: "1 lost, 0 doubled"}},
		"one three times":    {map[mailbox.EnvelopeID]int{a: 1, b: 3}, nil, Result{Drained: 2, Doubled: 2, Why: "0 lost, 2 doubled"}},
		"it broke off":       {map[mailbox.EnvelopeID]int{a: 1, b: 1}, errors.New("gone"), Result{Drained: 2, Why: "gone"}},
	} {
		var r Result
		r.compare(kept(), c.found)
		r.judge(c.err)
		if diff := cmp.Diff(c.want, r); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPublishingWithoutCustodyOrWithLossIsNoSuccess(t *testing.T) {
	for name, c := range map[string]struct {
		r   Published
		err error
		ok  bool
	}{
		"all there":      {Published{Messages: 4, Custody: 4, Fetched: 4, Copies: 8}, nil, true},
		"one refused":    {Published{Messages: 4, Custody: 3, Fetched: 3, Copies: 6}, nil, false},
		"one lost":       {Published{Messages: 4, Custody: 4, Fetched: 3, Copies: 3, Lost: 1}, nil, false},
		"one came twice": {Published{Messages: 4, Custody: 4, Fetched: 4, Copies: 9, Doubled: 1}, nil, false},
		"it broke off":   {Published{Messages: 4, Custody: 4, Fetched: 4}, errors.New("gone"), false},
	} {
		c.r.judge(c.err)
		if c.r.OK != c.ok || c.r.OK != (c.r.Why == "") {
			t.Errorf("%s: %+v", name, c.r)
		}
	}
}

func TestLatency(t *testing.T) {
	var ds []time.Duration
	for i := range 1000 {
		ds = append(ds, time.Duration(1000-i)*time.Millisecond)
	}
	want := Latency{Min: 1, Avg: 500.5, P50: 501, P90: 901, P99: 991, P999: 1000, Max: 1000, N: 1000}
	if diff := cmp.Diff(want, latencyOf(ds)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Latency{}, latencyOf(nil)); diff != "" {
		t.Error(diff)
	}
	if got := perSecond(1500, 1500*time.Millisecond); got != 1000 {
		t.Errorf("1500 in 1.5 s are %v a second", got)
	}
}
