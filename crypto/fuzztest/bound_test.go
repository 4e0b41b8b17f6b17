package fuzztest

import "testing"

var kept []byte

func TestWhatIsTakenIsSeen(t *testing.T) {
	Bounded(t, 1000, 16, func() { kept = make([]byte, 16_000) })
	if got := Cost(func() { kept = make([]byte, 2*Slack) }); got < 2*Slack {
		t.Errorf("control: a reader that believes a length costs %d bytes", got)
	}
}
