package node_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/view"
)

func TestDirectDelivery(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	id := a.send(b, "hello")
	w.pass(time.Second)
	wantTexts(t, b, a, "hello")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s", s)
	}
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, a.user()); return err }))
	w.pass(time.Second)
	if s := a.stage(id); s != view.StageRead {
		t.Errorf("stage %s", s)
	}
}

func TestWhileAway(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"r1", "r2", "r3"} {
		w.relay(n)
	}
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	w.pass(time.Minute)
	b.stop()
	id := a.send(b, "are you there?")
	w.pass(time.Minute)
	if s := a.stage(id); s != view.StageCustody {
		t.Fatalf("stage %s: %+v", s, a.status(id))
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "are you there?")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s", s)
	}
}
