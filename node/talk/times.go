package talk

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// commonOf reads what every payload of a conversation may carry.
func commonOf(c chat.Content) *chatpb.Common {
	x := &chatpb.Common{}
	if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.Payload, x) != nil {
		return &chatpb.Common{}
	}
	return x
}

// ends is when a message has to be erased, Lamport ms: its time is over, or its reader deleted it and did not want it
// back. The time of a disappearing message runs from when it was sent on the devices of its author, and from its first
// read on those of everybody else. 0: not yet known, or never.
func ends(m *pb.Message, s acts.State) uint64 {
	c, err := chat.Parse(m.Content)
	x := s.Show()
	if err != nil || x.Erased {
		return 0
	}
	end := uint64(0)
	if x.Deleted {
		end = x.DeletedAt + uint64(acts.RecoverFor.Milliseconds())
	}
	begin := x.Read
	if m.Mine {
		begin = m.Order
	}
	if ttl := uint64(commonOf(c).TtlSeconds); ttl > 0 && begin > 0 {
		if over := begin + 1000*ttl; end == 0 || over < end {
			end = over
		}
	}
	return end
}

// book asks for a look at a message, or at what waits for one, at a time.
func (d *Desk) book(at uint64, key []byte) {
	if at > math.MaxInt64/2 {
		return // never, whatever the clock of a device of ours said
	}
	n := store.NextCounter(d.Tx, counterTimes)
	d.Tx.Put(store.BucketTimes, slices.Concat(store.U64(at), store.U64(n)), key)
	if when := time.UnixMilli(int64(at)); d.Wake.IsZero() || when.Before(d.Wake) {
		d.Wake = when
	}
}

// NextTime is when Pass has something to do; zero: never.
func NextTime(tx store.Tx) (at time.Time) {
	tx.Scan(store.BucketTimes, nil, func(key, _ []byte) bool {
		at = time.UnixMilli(int64(fromU64(key)))
		return false
	})
	return at
}

// Pass erases what is over, a part at a time: NextTime says whether there is more.
func (d *Desk) Pass() {
	var due, ids [][]byte
	d.Tx.Scan(store.BucketTimes, nil, func(key, id []byte) bool {
		if int64(fromU64(key)) > d.Now.UnixMilli() || len(due) == timesBatch {
			return false
		}
		due, ids = append(due, key), append(ids, id)
		return true
	})
	for i, key := range due {
		d.Tx.Delete(store.BucketTimes, key)
		if id := ids[i]; len(id) == 32 {
			d.over(id)
		} else if len(id) == 48 {
			d.waited(chat.ChatID(id[32:]), id[:32])
		}
	}
}

// over erases a message if its time has come; a booking may be older than what decides now.
func (d *Desk) over(id []byte) {
	m := &pb.Message{}
	if !Row(d.Tx, id, m) {
		return
	}
	s := fate(m)
	if end := ends(m, s); end == 0 || end > uint64(d.Now.UnixMilli()) {
		return
	}
	if !m.Read {
		d.SetRead(m, 0)
	}
	d.settle(m, s)
	d.index(m, "")
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	d.changed(m)
}
