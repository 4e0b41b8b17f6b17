package mend

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// A row of what was sealed: unix milliseconds u64 | 16 ids of 32 bytes, zero where a counter carried nothing that could be
// sent again.
const (
	perRow = 16
	idSize = 32
	rowLen = 8 + perRow*idSize
)

func sealedKey(device []byte, row uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(device), row)
}

// Counted says whether messages of a kind have counters: those that people miss.
func Counted(k chat.Kind) bool { return k.Visible() || k.Act() }

// Count is the counter of a delivery's message: the next one of its device when it is sealed for the first time, which is
// noted with the message's id. What nobody would miss has none: nil, and other kinds.
func Count(tx store.Tx, d *pb.PeerDevice, x *pb.Delivery, now time.Time) uint64 {
	switch {
	case x == nil || !Counted(chat.Kind(x.Kind)):
		return 0
	case x.Counter == 0:
		d.Sent++
		x.Counter = d.Sent
		record(tx, d, x.Message, now)
	}
	return x.Counter
}

// record notes which message the latest counter of a device carried. Rows that are too old go.
func record(tx store.Tx, d *pb.PeerDevice, id []byte, now time.Time) {
	row := d.Sent / perRow
	n := len(d.Sealed)
	switch {
	case n > 0 && d.Sealed[n-1].To == row:
	case n > 0 && d.Sealed[n-1].To+1 == row:
		d.Sealed = append(slices.Clone(d.Sealed[:n-1]), &pb.Run{From: d.Sealed[n-1].From, To: row})
		trim(tx, d, now)
	default:
		d.Sealed = append(d.Sealed, &pb.Run{From: row, To: row})
		trim(tx, d, now)
		for ; len(d.Sealed) > MaxRuns; d.Sealed = slices.Clone(d.Sealed[1:]) { // a peer can have a count begin anew by a lie
			eraseRun(tx, d.Device, d.Sealed[0])
		}
	}
	raw := tx.Get(store.BucketSealed, sealedKey(d.Device, row))
	if len(raw) != rowLen {
		raw = make([]byte, rowLen)
	}
	binary.BigEndian.PutUint64(raw, uint64(now.UnixMilli()))
	copy(raw[8+idSize*(d.Sent%perRow):][:idSize], id)
	tx.Put(store.BucketSealed, sealedKey(d.Device, row), raw)
}

// trim forgets up to two of the oldest rows whose time is over: more than are begun meanwhile.
func trim(tx store.Tx, d *pb.PeerDevice, now time.Time) {
	for range 2 {
		if len(d.Sealed) == 0 {
			return
		}
		first := d.Sealed[0]
		raw := tx.Get(store.BucketSealed, sealedKey(d.Device, first.From))
		if len(raw) == 0 && len(d.Sealed) == 1 && first.From == first.To { // it is being made
			return
		}
		if len(raw) == rowLen && now.UnixMilli()-int64(binary.BigEndian.Uint64(raw)) <= keepFor.Milliseconds() {
			return
		}
		erase(tx, d.Device, first.From)
		rest := slices.Clone(d.Sealed[1:])
		if first.From < first.To {
			rest = append([]*pb.Run{{From: first.From + 1, To: first.To}}, rest...)
		}
		d.Sealed = rest
	}
}

// Forget drops all rows of a device.
func Forget(tx store.Tx, d *pb.PeerDevice) {
	for _, r := range d.Sealed {
		eraseRun(tx, d.Device, r)
	}
	d.Sealed = nil
}

func eraseRun(tx store.Tx, device []byte, r *pb.Run) {
	for row := r.From; row <= r.To; row++ {
		erase(tx, device, row)
	}
}

// erase drops a row, and what was kept for its sake: acts, which show in other messages.
func erase(tx store.Tx, device []byte, row uint64) {
	raw := tx.Get(store.BucketSealed, sealedKey(device, row))
	tx.Delete(store.BucketSealed, sealedKey(device, row))
	for ids := raw[min(len(raw), 8):]; len(ids) >= idSize; ids = ids[idSize:] {
		m := &pb.Message{}
		if store.Row(tx, store.BucketMessages, ids[:idSize], m) && !chat.KindOf(m.Content).Visible() && len(m.Pending) == 0 {
			tx.Delete(store.BucketMessages, ids[:idSize])
		}
	}
}

// Fate is what becomes of a message that is asked for.
type Fate int

// The fates.
const (
	Gone  Fate = iota // it will not come again
	Comes             // it is on its way
	Later             // it has to be asked for again
)

// Find looks up what was sealed for a device under counters that it asks for, and nothing else, has it sent again, and
// returns what is gone. At most MaxNamed messages are looked up; the others have to be asked for again.
func Find(tx store.Tx, d *pb.PeerDevice, spans []*chatpb.Span, again func(counter uint64, id []byte) Fate) (gone []*chatpb.Span) {
	left := MaxNamed
	for _, s := range spans {
		for c := max(s.GetFrom(), 1); c <= s.GetTo(); c++ {
			end, there := known(d, c, s.GetTo())
			if !there {
				gone = append(gone, &chatpb.Span{From: c, To: end})
				if c = end; c == math.MaxUint64 {
					break
				}
				continue
			}
			if left == 0 {
				return gone
			}
			left--
			id := make([]byte, idSize)
			if raw := tx.Get(store.BucketSealed, sealedKey(d.Device, c/perRow)); len(raw) == rowLen {
				copy(id, raw[8+idSize*(c%perRow):])
			}
			if bytes.Equal(id, make([]byte, idSize)) || again(c, id) == Gone {
				gone = append(gone, &chatpb.Span{From: c, To: c})
			}
		}
	}
	return join(gone)
}

// join makes one span of those that follow each other.
func join(spans []*chatpb.Span) (out []*chatpb.Span) {
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].To+1 == s.From {
			out[n-1].To = s.To
			continue
		}
		out = append(out, s)
	}
	return out
}

// known says whether the row of a counter is there; end is the last counter up to to of which the same holds, if it is not.
func known(d *pb.PeerDevice, c, to uint64) (end uint64, there bool) {
	row := c / perRow
	for _, r := range d.Sealed {
		switch {
		case row > r.To:
		case row >= r.From:
			return to, true
		default:
			return min(to, r.From*perRow-1), false
		}
	}
	return to, false
}

// Meter counts what is done for each device within an hour.
type Meter struct {
	hours map[identity.DeviceID]*hour
}

type hour struct {
	from    time.Time
	asks, n int
}

// NewMeter returns a meter that has counted nothing.
func NewMeter() *Meter { return &Meter{hours: map[identity.DeviceID]*hour{}} }

func (m *Meter) of(d identity.DeviceID, now time.Time) *hour {
	h := m.hours[d]
	if h == nil || now.Sub(h.from) >= time.Hour || now.Before(h.from) {
		h = &hour{from: now}
		m.hours[d] = h
	}
	return h
}

// Forget drops what was counted for a device that is none any more.
func (m *Meter) Forget(d identity.DeviceID) { delete(m.hours, d) }

// Asks counts a question of a device; false: it is one too many.
func (m *Meter) Asks(d identity.DeviceID, now time.Time) bool {
	h := m.of(d, now)
	h.asks++
	return h.asks <= MaxAsks
}

// Sends counts a message that a device is sent again; false: it is one too many.
func (m *Meter) Sends(d identity.DeviceID, now time.Time) bool {
	h := m.of(d, now)
	h.n++
	return h.n <= MaxNamed
}
