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
		u.each, u.of, u.from = make(map[mailbox.ID][]*wait), make(map[*held]int), make(map[netip.Prefix]int)
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

// freed answers those who wait for one of the boxes, if it has room now.
func (s *Server) freed(boxes []mailbox.ID) {
	boxes = slices.DeleteFunc(boxes, func(box mailbox.ID) bool { return !s.waits.awaited(box) })
	if len(boxes) == 0 {
		return
	}
	var open []mailbox.ID
	err := s.cfg.Store.View(func(tx mailbox.Tx) error {
		for _, box := range boxes {
			if s.cfg.Relay.Room(tx, s.cfg.Now(), box) {
				open = append(open, box)
			}
		}
		return nil
	})
	if err != nil {
		s.cfg.Log.Warn("relay: room", "err", err)
		return
	}
	for _, box := range open {
		for _, w := range s.waits.take(box) {
			if w.h.out.Send(&pb.Answer{Id: w.id, What: done().What}) != nil {
				w.h.end()
			}
		}
	}
}

// makesRoom are the boxes in which jobs that are on the disk may have made
// room. Whose set it was is looked at only if anybody waits: who begins to wait
// later finds what the set has changed.
func (s *Server) makesRoom(jobs []*job) (boxes []mailbox.ID) {
	for _, j := range jobs {
		if j.frees != (mailbox.ID{}) {
			boxes = append(boxes, j.frees)
		}
		if j.newSet && s.waits.count() > 0 {
			if set, err := dht.ParseSetRecord(j.ask.GetPutSet().GetRecord()); err == nil {
				boxes = append(boxes, mailbox.ID(set.BoxID()))
			}
		}
	}
	return boxes
}
