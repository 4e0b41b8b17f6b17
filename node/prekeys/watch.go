package prekeys

import (
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/pb"
)

// Watch has a box collected from the members of a new set, and from those of the
// sets before as long as mail that came by them can live.
func Watch(b *pb.Box, rec *dht.SetRecord, now time.Time) {
	for len(b.Ends) < len(b.Watch) { // of a build that did not note them
		b.Ends = append(b.Ends, rec.NotAfter().Add(travels).UnixMilli())
	}
	members := map[string]bool{}
	for m := range rec.EachMember() {
		members[string(m.Peer.ID)] = true
		end := rec.NotAfter().Add(travels).UnixMilli()
		place := &pb.Endpoint{Id: m.Peer.ID, Addrs: m.Peer.Addrs}
		i := slices.IndexFunc(b.Watch, func(w *pb.Endpoint) bool { return string(w.Id) == string(m.Peer.ID) })
		if i < 0 {
			b.Watch, b.Ends = append(b.Watch, place), append(b.Ends, end)
		} else {
			b.Watch[i], b.Ends[i] = place, max(b.Ends[i], end)
		}
	}
	var watch []*pb.Endpoint
	var ends []int64
	for i, w := range b.Watch {
		if members[string(w.Id)] || b.Ends[i] >= now.UnixMilli() {
			watch, ends = append(watch, w), append(ends, b.Ends[i])
		}
	}
	if b.Least == 0 || uint32(rec.W()) < b.Least {
		b.Least = uint32(rec.W())
	}
	b.Watch, b.Ends, b.Set, b.Until = watch, ends, rec.Raw(), rec.NotAfter().UnixMilli()
}

// Box is a box as it has to be drained.
func Box(id [32]byte, b *pb.Box) Watched {
	w := Watched{Box: id, Missing: max(int(b.Least), 1) - 1}
	for _, r := range b.Watch {
		w.Relays = append(w.Relays, string(r.Id))
	}
	return w
}
