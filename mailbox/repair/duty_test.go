package repair

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Places are asked only when something about them has changed, and rounds go by what is noted of duties. Whatever happened, no
// place is left that a look at all of them would let begin, and the notes say what duties and relays say.
func TestShortcutsMissNothing(t *testing.T) {
	const relays, boxes = 12, 60
	self := []byte("self")
	name := func(i int) []byte { return fmt.Appendf(nil, "relay %d", i) }
	var begun, bereft, lacked int
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p, now := New(self), time.Unix(1e9, 0)
		version := uint64(0)
		take := func() {
			version++
			at, ours := rng.Perm(relays)[:6], 2+rng.IntN(4)
			in := Duty{Box: mailbox.ID{byte(rng.IntN(boxes))}, Version: version}
			for i, n := range at {
				m := dht.Member{Peer: dht.Peer{ID: name(n)}, Rank: byte(i), Standby: i >= 2}
				if i == ours {
					m.Peer.ID = self
				}
				in.Members = append(in.Members, m)
			}
			p.Take(now, in)
		}
		waiting := func() (n int) {
			for _, d := range p.boxes {
				if p.bereft(d, now) {
					n++
				}
			}
			return n
		}
		for range 3 * boxes {
			take()
		}
		for range 400 {
			now = now.Add(time.Duration(rng.Int64N(int64(time.Hour))))
			switch x := name(rng.IntN(relays)); rng.IntN(8) {
			case 0:
				take()
				for b := range boxes {
					if d := p.boxes[mailbox.ID{byte(b)}]; d != nil && rng.IntN(64) > 0 {
						p.See(d.box, d.version, rng.IntN(2) == 0)
					}
				}
				if rng.IntN(2) == 0 {
					p.Sweep()
				} else {
					p.Tidy()
				}
			case 1, 2, 3:
				p.Unreachable(name(rng.IntN(relays/2)), now, rand.NewChaCha8([32]byte{}))
			case 4:
				o := Outcome{Proof: Proof(rng.IntN(4))}
				for b := range boxes {
					switch box := (mailbox.ID{byte(b)}); rng.IntN(8) {
					case 0:
						o.Behind = append(o.Behind, box)
					case 1, 2:
						o.Level = append(o.Level, box)
					}
				}
				p.Visited(x, now, o)
				lacked += lacking(t, p)
			case 5:
				p.Visited(x, now, Outcome{Advert: &dht.Advert{LeavingAt: []time.Time{{}, now}[rng.IntN(2)]}})
			default:
				p.Heard(name(relays/2+rng.IntN(relays/2)), now)
			}
			before := waiting()
			bereft += before
			p.Due(now, rand.NewChaCha8([32]byte{}))
			if left := waiting(); left > 0 {
				t.Fatalf("seed %d: %d of %d places did not begin", seed, left, before)
			}
			begun += p.Status(now).Took
			standings(t, p)
		}
	}
	if begun == 0 || bereft == 0 || lacked == 0 {
		t.Fatalf("%d places began, %d had to, relays lacked %d boxes: nothing was tried", begun, bereft, lacked)
	}
}

// standings checks what rounds go by against the duties themselves.
func standings(t *testing.T, p *Planner) {
	t.Helper()
	at := map[uint32]*duty{}
	for _, d := range p.boxes {
		if at[d.slot] != nil || p.standings[d.slot] != d.standing() {
			t.Fatalf("%x stands as %b and is %b", d.box[0], p.standings[d.slot], d.standing())
		}
		at[d.slot] = d
	}
	links := 0
	for _, x := range p.order {
		for _, l := range x.duties {
			i := slices.Index(l.others, x)
			if l.slot != l.duty.slot || l.spare != (l.duty.spare>>i&1 == 1) || l.first != (i < l.before) {
				t.Fatalf("relay %s, box %x: %+v", x.ID, l.box[0], l)
			}
			if p.standings[l.slot]&over == 0 {
				links++
			}
		}
	}
	for _, d := range p.boxes {
		links -= len(d.others)
	}
	if links != 0 {
		t.Fatalf("%d links too many", links)
	}
}

// lacking counts what relays lacked when last compared, and checks that each knows its part of it.
func lacking(t *testing.T, p *Planner) (all int) {
	t.Helper()
	of := map[*peer]int{}
	for _, d := range p.boxes {
		for i, x := range d.others {
			of[x] += int(d.behind >> i & 1)
		}
	}
	for _, x := range p.order {
		if x.behind != of[x] {
			t.Fatalf("a relay lacks %d boxes, and is said to lack %d", of[x], x.behind)
		}
		all += x.behind
	}
	return all
}
