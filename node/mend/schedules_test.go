package mend_test

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// outcome is what one schedule came to.
type outcome struct {
	texts, lost, twice, restored, repeated, reused int
}

func (o *outcome) add(x outcome) {
	o.texts += x.texts
	o.lost += x.lost
	o.twice += x.twice
	o.restored += x.restored
	o.repeated += x.repeated
	o.reused += x.reused
}

// schedule draws what happens to a pair from a seed, lets it come to rest in a whole network, and compares what both have.
// Without losses no state is put back or dropped.
func schedule(c *cast, seed uint64, f faults, losses bool) (o outcome) {
	p := newPair(c, seed, f)
	var copies [2]store.Store
	steps := 30 + p.rng.IntN(40)
	for range steps {
		at := p.rng.IntN(2)
		e := p.ends[at]
		if p.rng.IntN(1000) == 0 { // enough for a post-quantum epoch
			for range 60 {
				p.text(e, false)
			}
		}
		switch r := p.rng.IntN(100); {
		case r < 22:
			p.text(e, p.rng.IntN(8) == 0)
		case r < 62:
			p.deliver(e, p.rng.IntN(100))
		case r < 82:
			p.pass([]time.Duration{time.Second, time.Minute, 15 * time.Minute, 2 * time.Hour, 13 * time.Hour}[p.rng.IntN(5)])
		case r < 86:
			p.dark = !p.dark
		case r < 90:
			e.load() // a restart
		case r < 94 || !losses:
			copies[at] = e.copied()
		case r < 98:
			if copies[at] != nil && !p.ends[1-at].back { // docs/reliability.md says why not both
				e.back = true
				e.disk = copies[at]
				copies[at] = nil
				e.load()
				o.restored++
			}
		default:
			e.do(func(t *turn) error { e.afresh(t); return nil }) // as when the key file shows that the store is older
		}
	}
	p.rest()
	return p.count(o)
}

// count adds up what was lost and shown twice.
func (p *pair) count(o outcome) outcome {
	o.repeated, o.reused = p.repeated, p.reused
	for i, e := range p.ends {
		have, mine := e.texts()
		theirs, _ := p.ends[1-i].texts()
		o.texts += len(mine)
		for id := range mine {
			if theirs[id] == 0 {
				o.lost++
			}
		}
		for _, n := range have {
			if n > 1 {
				o.twice++
			}
		}
	}
	return o
}

// text has an end write; crash: the process ends after the commit, before anything leaves.
func (p *pair) text(e *end, crash bool) {
	before := len(p.wire[1-e.at])
	e.do(func(t *turn) error {
		e.say(t, chat.KindText, t.nonce(e))
		return nil
	})
	if crash {
		p.wire[1-e.at] = p.wire[1-e.at][:before]
		e.load()
	}
}

// deliver hands an end one of the envelopes on their way, in any order, perhaps twice, perhaps never, perhaps as it crashes.
func (p *pair) deliver(e *end, chance int) {
	n := len(p.wire[e.at])
	if n == 0 {
		return
	}
	i := 0
	if chance%2 == 0 {
		i = p.rng.IntN(n)
	}
	x := p.wire[e.at][i]
	if chance < 90 || chance >= 97 {
		p.wire[e.at] = slices.Delete(p.wire[e.at], i, i+1)
	}
	switch {
	case chance < 12: // lost
	case chance >= 97:
		p.held[e.at] = append(p.held[e.at], x)
	default:
		e.receive(x.env, chance >= 84 && chance < 90)
	}
}

func (p *pair) pass(by time.Duration) {
	p.now = p.now.Add(by)
	for _, e := range p.ends {
		e.tick()
		if w := p.wire[e.at]; len(w) > 200 { // a relay forgets
			p.wire[e.at] = w[len(w)-200:]
		}
	}
}

// rest is a whole network until nothing is owed, for at most eleven days; then what was held for a month comes.
func (p *pair) rest() {
	p.dark = false
	for _, e := range p.ends {
		p.text(e, false) // somebody says something in the end
	}
	for i := range 70 {
		for _, e := range p.ends {
			for _, x := range p.wire[e.at] {
				e.receive(x.env, false)
			}
			p.wire[e.at] = nil
		}
		switch {
		case i < 8:
			p.pass(2 * time.Minute)
		case i < 30:
			p.pass(time.Hour)
		default:
			p.pass(6 * time.Hour)
		}
		if i >= 8 && p.idle() {
			break
		}
	}
	for _, e := range p.ends {
		for _, x := range p.held[e.at] {
			p.now = x.sent.Add(life)
			e.receive(x.env, false)
		}
	}
}

// idle says whether nothing is on its way or missed.
func (p *pair) idle() bool {
	for _, e := range p.ends {
		owed := len(p.wire[e.at])
		_ = e.disk.View(func(tx store.Tx) error {
			t := &turn{Tx: tx}
			owed += len(e.outbox(t)) + len(e.peer(t).Gaps)
			return nil
		})
		if owed > 0 {
			return false
		}
	}
	return true
}

// texts are what an end shows and how often, and what it wrote.
func (e *end) texts() (shown map[string]int, mine map[string]bool) {
	shown, mine = map[string]int{}, map[string]bool{}
	_ = e.disk.View(func(tx store.Tx) error {
		tx.Scan(store.BucketTexts, nil, func(id, n []byte) bool { shown[string(id)] = len(n); return true })
		tx.Scan(store.BucketMessages, nil, func(id, raw []byte) bool {
			m := &pb.Message{}
			if proto.Unmarshal(raw, m) == nil && m.Mine && binary.BigEndian.Uint16(m.Content) == uint16(chat.KindText) {
				mine[string(id)] = true
			}
			return true
		})
		return nil
	})
	return shown, mine
}

func schedules(from, n uint64, f faults, losses bool) (sum outcome, bad []uint64) {
	c := newCast()
	for seed := from; seed < from+n; seed++ {
		o := schedule(c, seed, f, losses)
		if o.lost+o.twice+o.reused > 0 {
			bad = append(bad, seed)
		}
		sum.add(o)
	}
	return sum, bad
}

// Whatever is lost, repeated, reordered, held for a month, crashed or put back from an older copy: what an author has, its
// reader has in the end, once, and no key meets a nonce twice. `make sessions` draws more of them.
func TestSchedulesLoseNothing(t *testing.T) {
	n := uint64(60)
	from := uint64(1)
	if v, err := strconv.ParseUint(os.Getenv("SCHEDULES"), 10, 32); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv("FROM"), 10, 32); err == nil {
		from = v
	}
	sum, bad := schedules(from, n, faults{}, true)
	t.Logf("seeds %d to %d: %+v", from, from+n-1, sum)
	if len(bad) > 0 {
		t.Errorf("seeds %v", bad[:min(len(bad), 10)])
	}
	if sum.restored == 0 || sum.repeated == 0 {
		t.Error("control: nothing was put back, or no copy repeated a key")
	}
}

// Each rule that is left out is noticed.
func TestSchedulesNoticeFaults(t *testing.T) {
	for name, c := range map[string]struct {
		f      faults
		losses bool
		n      uint64
		seen   func(outcome) int
	}{
		"sessions are never given up":          {faults{neverAnew: true}, true, 10, func(o outcome) int { return o.lost }},
		"nothing is sent again":                {faults{noResend: true}, true, 60, func(o outcome) int { return o.lost }},
		"acknowledged before the commit":       {faults{earlyAck: true, noResend: true}, false, 60, func(o outcome) int { return o.lost }},
		"no random part of nonces":             {faults{noGuard: true}, true, 10, func(o outcome) int { return o.reused }},
		"what was shown is not remembered":     {faults{forgetShown: true}, false, 5, func(o outcome) int { return o.twice }},
		"control: not sent again, nothing put": {faults{noResend: true}, false, 30, func(o outcome) int { return 1 - o.lost }},
	} {
		sum, _ := schedules(1, c.n, c.f, c.losses)
		if t.Logf("%s: %+v", name, sum); c.seen(sum) <= 0 {
			t.Errorf("%s: not noticed: %+v", name, sum)
		}
	}
}
