package relay

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// wait is one unanswered await.
type wait struct {
	h   *held
	id  uint64
	box mailbox.ID
}

// waits are those who wait for room in a box. They cost a relay a few words
// each and no goroutine, and end with their stream.
type waits struct {
	mu    sync.Mutex
	each  map[mailbox.ID][]*wait
	tight map[mailbox.ID]struct{} // of each: those that only the relay's own room keeps waiting
	of    map[*held]int
	from  map[netip.Prefix]int
	total int
}

// add says whether the wait is within the limits, and keeps it.
func (u *waits) add(w *wait) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	group := w.h.group
	if u.total >= MaxAwaits || u.of[w.h] >= MaxAwaitsPerStream || group.IsValid() && u.from[group] >= maxAwaitsPerGroup {
		return false
	}
	if u.each == nil {
		u.each, u.tight = make(map[mailbox.ID][]*wait), make(map[mailbox.ID]struct{})
		u.of, u.from = make(map[*held]int), make(map[netip.Prefix]int)
	}
	u.each[w.box] = append(u.each[w.box], w)
	u.of[w.h]++
	u.from[group]++
	u.total++
	return true
}

// drop forgets the waits of a stream that has ended.
func (u *waits) drop(h *held) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of[h] == 0 {
		return
	}
	for box, ws := range u.each {
		u.keep(box, slices.DeleteFunc(ws, func(w *wait) bool {
			if w.h == h {
				u.uncount(w)
			}
			return w.h == h
		}))
	}
}

// take returns those who wait for a box and forgets them.
func (u *waits) take(box mailbox.ID) []*wait {
	u.mu.Lock()
	defer u.mu.Unlock()
	ws := u.each[box]
	for _, w := range ws {
		u.uncount(w)
	}
	u.keep(box, nil)
	return ws
}

// uncount takes one wait off the counts; u.mu is held.
func (u *waits) uncount(w *wait) {
	u.total--
	if u.of[w.h]--; u.of[w.h] == 0 {
		delete(u.of, w.h)
	}
	if u.from[w.h.group]--; u.from[w.h.group] == 0 {
		delete(u.from, w.h.group)
	}
}

func (u *waits) keep(box mailbox.ID, ws []*wait) {
	if len(ws) == 0 {
		delete(u.each, box)
		delete(u.tight, box)
		return
	}
	u.each[box] = ws
}

// awaited says whether anybody waits for a box.
func (u *waits) awaited(box mailbox.ID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.each[box]) > 0
}

// squeezed notes boxes that only the relay's own room keeps waiting, and returns
// those of which that was not known.
func (u *waits) squeezed(boxes []mailbox.ID) (fresh []mailbox.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, box := range boxes {
		if _, known := u.tight[box]; !known && len(u.each[box]) > 0 {
			u.tight[box] = struct{}{}
			fresh = append(fresh, box)
		}
	}
	return fresh
}

// some are a few boxes that only the relay's own room keeps waiting, any of them:
// what one ack frees is room for few.
func (u *waits) some() (boxes []mailbox.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for box := range u.tight {
		if boxes = append(boxes, box); len(boxes) == maxWoken {
			break
		}
	}
	return boxes
}

// boxes are all boxes that somebody waits for.
func (u *waits) boxes() []mailbox.ID {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.each))
}

// count is how many wait.
func (u *waits) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.total
}

// await keeps a question open until its box may have room. It first waits and
// then looks, so that no change between the two is missed.
func (h *held) await(id uint64, box mailbox.ID) error {
	if !h.s.waits.add(&wait{h: h, id: id, box: box}) {
		h.s.count(h.from, RateLimited, 1)
		return h.refuse(id, &mailbox.Refusal{Code: mailbox.RateLimited, Detail: "waits"})
	}
	h.s.freed([]mailbox.ID{box})
	return nil
}

// freed answers those who wait for one of the boxes, if it has room now. Whoever is
// found to wait for room of the relay's own is looked at once more, for that may
// have come before it was noted.
func (s *Server) freed(boxes []mailbox.ID) {
	for len(boxes) > 0 {
		boxes = slices.DeleteFunc(boxes, func(box mailbox.ID) bool { return !s.waits.awaited(box) })
		open, tight := s.roomIn(boxes)
		for _, box := range open {
			for _, w := range s.waits.take(box) {
				if w.h.out.Send(&pb.Answer{Id: w.id, What: done().What}) != nil {
					w.h.end()
				}
			}
		}
		boxes = s.waits.squeezed(tight)
	}
}

// roomIn are those of some boxes that have room, and those that would have it in a
// relay that is not full.
func (s *Server) roomIn(boxes []mailbox.ID) (open, tight []mailbox.ID) {
	if len(boxes) == 0 {
		return nil, nil
	}
	err := s.cfg.Store.View(func(tx mailbox.Tx) error {
		open, tight = nil, nil
		for _, box := range boxes {
			switch room, relayFull := s.cfg.Relay.Room(tx, s.cfg.Now(), box); {
			case room:
				open = append(open, box)
			case relayFull:
				tight = append(tight, box)
			}
		}
		return nil
	})
	if err != nil {
		s.cfg.Log.Warn("relay: room", "err", err)
		return nil, nil
	}
	return open, tight
}

// makesRoom are the boxes in which jobs that are on the disk may have made
// room: an ack in its own, and a little in all others of a full relay. Whose set it was is looked at only if anybody waits: who begins to wait
// later finds what the set has changed.
func (s *Server) makesRoom(jobs []*job) (boxes []mailbox.ID) {
	acked := false
	for _, j := range jobs {
		if j.frees != (mailbox.ID{}) {
			boxes = append(boxes, j.frees)
			acked = true
		}
		if j.newSet && s.waits.count() > 0 {
			if set, err := dht.ParseSetRecord(j.ask.GetPutSet().GetRecord()); err == nil {
				boxes = append(boxes, mailbox.ID(set.BoxID()))
			}
		}
	}
	if acked {
		boxes = append(boxes, s.waits.some()...)
	}
	return boxes
}
