package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
)

// What is acknowledged, and said to be read, at once goes in envelopes that a box takes without a pass, however much it is:
// else a person who answers a flood can answer nothing.
func TestAttackManyMessagesAtOnce(t *testing.T) {
	w, a, b := pair(t)
	a.stop()
	for i := range 130 {
		b.send(a, fmt.Sprint("text ", i))
	}
	before := len(w.sent)
	a.start()
	w.pass(time.Minute)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.MarkRead(t, a.contact(b.user()).Handle)
		return err
	}))
	w.settle()
	w.pass(time.Minute)
	largest, most := 0, session.EnvelopeSize(session.ContentRoom(2048), false)
	for _, p := range w.sent[before:] {
		if p.from == a {
			largest = max(largest, len(p.envelope))
		}
	}
	if largest != most {
		t.Errorf("the largest envelope has %d bytes, want %d", largest, most)
	}
	if n := len(a.texts(b)); n != 130 {
		t.Errorf("control: %d texts came", n)
	}
}

// A contact whose every message tells that it has lost its sessions again has what it does not acknowledge sealed anew a
// bounded number of times, and is told how to reach us as often.
func TestAttackLosingSessionsInEveryMessage(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return p.from == b }
	for i := range 20 {
		a.send(b, fmt.Sprint("text ", i))
	}
	before, generation := len(w.sent), b.row().Generation
	for i := range uint64(50) {
		typing := b.content(chat.Direct(userID(b), userID(a)), chat.KindTyping, &chatpb.Typing{On: true})
		b.sayBody(a, session.Body{Generation: generation + 1 + i, Content: typing})
	}
	n := count(w.sent[before:], func(p parcel) bool { return p.from == a && p.to == b })
	if n < 20 || n > 50+2*20 {
		t.Errorf("50 messages drew %d envelopes", n)
	}
}
