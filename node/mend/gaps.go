package mend

import (
	"time"

	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
)

// note takes in the counter of a message that came, 0 if what came has none, and the highest that its sender has used. A
// gap may reach over blocks: its sender may have what it counted before it lost its count.
func note(d *pb.PeerDevice, c, sent uint64, now time.Time) {
	if newest := max(c, sent); newest > d.Received {
		d.Gaps = append(d.Gaps, &pb.Gap{From: d.Received + 1, To: newest, Since: now.UnixMilli()})
	}
	d.Received = max(d.Received, c, sent)
	if c != 0 {
		Settle(d, c, c)
	}
	d.Gaps = d.Gaps[max(0, len(d.Gaps)-MaxSpans):]
}

// Settle takes counters out of the gaps: they came, or never will.
func Settle(d *pb.PeerDevice, from, to uint64) {
	var rest []*pb.Gap
	for _, g := range d.Gaps {
		if from > to || to < g.From || from > g.To {
			rest = append(rest, g)
			continue
		}
		if g.From < from {
			rest = append(rest, &pb.Gap{From: g.From, To: from - 1, Since: g.Since, Next: g.Next, Tries: g.Tries})
		}
		if g.To > to {
			rest = append(rest, &pb.Gap{From: to + 1, To: g.To, Since: g.Since, Next: g.Next, Tries: g.Tries})
		}
	}
	d.Gaps = rest[max(0, len(rest)-MaxSpans):]
}

// NextAsk is when a gap of the device is next asked for; zero: never. mail is when a mailbox last gave something: it gives
// in any order, so that a gap is real only when it is empty.
func NextAsk(d *pb.PeerDevice, mail time.Time) time.Time {
	var next time.Time
	for _, g := range d.Gaps {
		if at := due(g, mail); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

func due(g *pb.Gap, mail time.Time) time.Time {
	if g.Next != 0 {
		return time.UnixMilli(g.Next)
	}
	at := time.UnixMilli(g.Since).Add(gapAge)
	if quiet := mail.Add(gapAge); quiet.After(at) {
		at = quiet
	}
	if late := time.UnixMilli(g.Since).Add(gapLate); late.Before(at) {
		at = late
	}
	return at
}

// Ask takes the gaps that are to be asked for now, and forgets those that were asked for long enough.
func Ask(d *pb.PeerDevice, mail, now time.Time) (spans []*chatpb.Span) {
	var rest []*pb.Gap
	for _, g := range d.Gaps {
		if now.Sub(time.UnixMilli(g.Since)) > keepFor {
			continue
		}
		if due(g, mail).After(now) {
			rest = append(rest, g)
			continue
		}
		spans = append(spans, &chatpb.Span{From: g.From, To: g.To})
		next := now.Add(min(askEvery<<min(g.Tries, 16), askMax)).UnixMilli()
		rest = append(rest, &pb.Gap{From: g.From, To: g.To, Since: g.Since, Next: next, Tries: g.Tries + 1})
	}
	d.Gaps = rest
	return spans
}
