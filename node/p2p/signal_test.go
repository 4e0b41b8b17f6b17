package p2p

import (
	"context"
	"testing"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Typing crosses from one process's stream to another's event stream, and no event of it is kept.
func TestTypingIsStreamed(t *testing.T) {
	a := testNode(t, "alice", nil)
	b := testNode(t, "bob", knows(a))
	befriend(t, a, b, "alice")
	id := send(t, a, "bob", "hello") // delivered without a relay: there is a stream
	waitStage(t, a, id, view.StageDelivered)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, at, err := b.Follow(ctx, api.Place{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	do(t, a, func(e *node.Engine, t *node.Turn) error { return e.Typing(t, "bob", true) })
	for heard := false; !heard; {
		var list []view.Notice
		if list, at, err = b.Follow(ctx, at, 100); err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			if n.Cursor > at.Cursor {
				t.Errorf("an event at %d, and the place after it is %d", n.Cursor, at.Cursor)
			}
			if n.Type == "typing" && n.Typing.On && n.Typing.From == "alice" {
				heard = true
			}
		}
	}
	var kept []view.Notice
	err = b.View(func(tx store.Tx) (err error) { kept, err = node.Events(tx, 0, 1000); return err })
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range kept {
		if n.Type == "typing" {
			t.Error("typing is kept")
		}
	}
}

// Who is slow misses the oldest signals, and hears none twice.
func TestSignalsAreBounded(t *testing.T) {
	b := newBell()
	_, at := b.since(0)
	for i := range maxSignals + 5 {
		b.ring([]view.Notice{{Type: "typing", Cursor: uint64(i)}})
	}
	list, next := b.since(at)
	if len(list) != maxSignals || list[0].Cursor != 5 {
		t.Errorf("%d signals, the first is number %d", len(list), list[0].Cursor)
	}
	if list, _ = b.since(next); len(list) != 0 {
		t.Errorf("%d signals come again", len(list))
	}
	if list, _ = b.since(api.NoSignals); list != nil {
		t.Error("signals for who wants none")
	}
	if list, _ = b.since(0); list != nil {
		t.Error("old signals for who has just come")
	}
}
