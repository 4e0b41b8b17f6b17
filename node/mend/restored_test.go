package mend_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/node/store"
)

// putBack has one end put back to a copy of its store from just before message 32 of its sending chain, which its reader
// has acknowledged meanwhile; due: that message proposed a post-quantum epoch. Then both write on, and all of it rests.
func putBack(c *cast, f faults, due bool) (o outcome, anew bool) {
	p := newPair(c, 1, f)
	a, b := p.ends[0], p.ends[1]
	all := func(e *end) {
		for _, x := range p.wire[e.at] {
			e.receive(x.env, false)
		}
		p.wire[e.at] = nil
	}
	turns := 2
	if due {
		turns = 6
	}
	for range turns {
		p.text(a, false)
		all(b)
		p.text(b, false)
		all(a)
	}
	for range 31 { // one chain, which began with an acknowledgement: the answers wait
		p.text(a, false)
		all(b)
	}
	before, copied := p.began(a), a.copied()
	p.text(a, false)
	all(b)
	all(a)
	a.disk, a.back = copied, true
	a.load()
	for range 12 {
		p.text(a, false)
		p.text(b, false)
		all(b)
		all(a)
		p.pass(time.Minute)
	}
	p.rest()
	return p.count(outcome{restored: 1}), p.began(a) > before
}

// began is the number of sessions that an end has or had.
func (p *pair) began(e *end) (n int) {
	_ = e.disk.View(func(tx store.Tx) error {
		tx.Scan(store.BucketSessions, nil, func(_, _ []byte) bool { n++; return true })
		return nil
	})
	return n
}

// A copy from just before a message that proposes an epoch: what the device writes from its next chain on opens nowhere
// (crypto/session shows it). New sessions heal both directions, and no text is lost. Without them, all that it writes is;
// and it is the epoch that is to blame: where none is due the session goes on by itself.
func TestPutBackBeforeAnEpoch(t *testing.T) {
	c := newCast()
	for _, x := range []struct {
		what       string
		f          faults
		due        bool
		lost, anew bool
	}{
		{"the rules", faults{}, true, false, true},
		{"control: sessions are never given up", faults{neverAnew: true}, true, true, false},
		{"control: the same, no epoch due", faults{neverAnew: true}, false, false, false},
	} {
		o, anew := putBack(c, x.f, x.due)
		t.Logf("%s: %+v, a new session: %t", x.what, o, anew)
		if o.lost > 0 != x.lost || anew != x.anew || o.twice+o.reused > 0 {
			t.Errorf("%s: %+v, a new session: %t", x.what, o, anew)
		}
	}
}
