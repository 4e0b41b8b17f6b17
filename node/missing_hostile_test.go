package node_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
)

// asks has a device ask another one for everything that it ever sealed for anybody.
func (d *device) asks(of *device) (answers int) {
	w := d.w
	before := len(w.sent)
	all := &chatpb.Missing{Spans: []*chatpb.Span{{From: 1, To: math.MaxUint64}}}
	d.say(of, chat.KindMissing, all)
	w.pass(time.Minute)
	return count(w.sent[before:], func(p parcel) bool { return p.from == of && p.to == d })
}

// Whoever asks for what it missed gets what was sealed for it, and nothing that was sealed for others; a device that was
// removed, or joined later, gets nothing (what WhatsApp's silent sealing anew and Matrix's forwarding of keys gave away).
func TestAttackAskingForOthersMessages(t *testing.T) {
	w, a, b := pair(t)
	b2, m := b.link("bob-2"), w.person("mallory")
	a.meetDevice(b2)
	w.befriend(a, m)
	w.pass(2 * time.Minute)
	for i := range 5 {
		a.send(b, fmt.Sprint("for bob ", i))
	}
	a.send(m, "for mallory")
	w.pass(time.Hour)
	late := b.link("bob-3")
	a.meetDevice(late)
	w.pass(2 * time.Hour)

	m.asks(a)
	if got := m.texts(a); !slices.Equal(got, []string{"for mallory"}) {
		t.Errorf("mallory has %q", got)
	}
	before := len(late.texts(a))
	late.asks(a)
	if got := late.texts(a); len(got) != before {
		t.Errorf("the device that joined later has %q", got)
	}
	if n := b2.asks(a); n < 5 {
		t.Error("control: a device that is listed, and was written to, gets nothing again")
	}
	// Removed, and not told so, it gets nothing however often it asks.
	own, _ := w.list(b)
	w.lookup = func(d *device, key string) []byte {
		if d == b2 && key == own {
			return nil
		}
		return w.records[key]
	}
	w.lose = func(p parcel) bool { return p.from == b && p.to == b2 }
	b.remove(b2)
	w.pass(time.Minute)
	if n := b2.asks(a); n != 0 {
		t.Errorf("the removed device gets %d answers", n)
	}
}

// A contact that asks without end is answered a bounded number of times, and costs what it asks for, not what it names.
func TestAttackAskingWithoutEnd(t *testing.T) {
	w, a, b := pair(t)
	for i := range 20 {
		a.send(b, fmt.Sprint("text ", i))
	}
	w.pass(time.Hour)
	answers := 0
	for range 100 {
		before := len(w.sent)
		b.say(a, chat.KindMissing, &chatpb.Missing{Spans: []*chatpb.Span{{From: 1, To: math.MaxUint64}}})
		answers += count(w.sent[before:], func(p parcel) bool { return p.from == a && p.to == b })
	}
	if answers == 0 || answers > mend.MaxAsks*(20+1)+100 { // 20 texts and what is gone, and an acknowledgement for each
		t.Errorf("100 questions drew %d envelopes", answers)
	}
	w.pass(2 * time.Hour)
	if n := len(b.texts(a)); n != 20 {
		t.Errorf("%d texts are shown", n)
	}
	a.send(b, "still here")
	w.pass(time.Minute)
	if got := b.texts(a); got[len(got)-1] != "still here" {
		t.Error("the conversation ended")
	}
}
