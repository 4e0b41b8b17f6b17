package relay

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// collector is the sending side of one collect stream. It keeps a cursor per
// box and fetches from the store, also for live mail: what the store does not
// have is never pushed.
type collector struct {
	h     *held
	nonce []byte

	mu    sync.Mutex
	moved sync.Cond
	boxes []*watched
	items int64 // credit left
	bytes int64
	busy  bool
	ended bool
}

// watched is one box of a collect stream.
type watched struct {
	box     mailbox.ID
	after   uint64 // cursor: everything up to here was sent
	fresh   bool   // there may be more
	drained bool   // the client was told that the backlog is sent
}

// collect serves a collect stream.
func (h *held) collect() error {
	h.collects.Store(true)
	c := &collector{h: h, nonce: make([]byte, nonceSize)}
	c.moved.L = &c.mu
	if _, err := io.ReadFull(h.s.cfg.Rand, c.nonce); err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	challenge := &pb.Challenge{Nonce: c.nonce}
	if err := h.out.Send(&pb.Answer{What: &pb.Answer_Challenge{Challenge: challenge}}); err != nil {
		return err
	}
	h.s.hub.join(c)
	defer c.end()
	if err := c.leaving(); err != nil {
		return err
	}
	for first := h.s.times.first; ; first = 0 {
		ask, _, err := h.next(first)
		if err != nil {
			return err
		}
		if err := c.take(ask); err != nil {
			return err
		}
	}
}

// leaving pushes the advert if the relay leaves, so that the owner elects
// another in time.
func (c *collector) leaving() error {
	at, err := c.h.s.leavingAt()
	if err != nil || at.IsZero() {
		return err
	}
	raw, err := c.h.s.advert.get(c.h.s)
	if err != nil {
		return err
	}
	return c.h.out.Send(advertAnswer(raw))
}

// take handles one frame of the client.
func (c *collector) take(ask *pb.Ask) error {
	switch w := ask.What.(type) {
	case *pb.Ask_Prove:
		return c.prove(ask.Id, w.Prove)
	case *pb.Ask_Credit:
		return c.credit(w.Credit)
	}
	return frame.ErrInvalid
}

// prove begins to watch a box whose owner signed this stream's challenge. A box
// that this relay does not know is watched too: it is empty.
func (c *collector) prove(id uint64, p *pb.Prove) error {
	if err := c.h.out.Room(); err != nil {
		return err
	}
	ok, err := c.h.afford(1)
	if err != nil {
		return err
	}
	if !ok {
		return c.h.refuse(id, &mailbox.Refusal{Code: mailbox.RateLimited})
	}
	key := ed25519.PublicKey(p.GetKey())
	c.h.s.proofs <- struct{}{} // some processors are left to others
	ok = mailbox.VerifyRequest(key, c.h.s.cfg.Relay.Peer(), mailbox.VerbCollect, c.nonce, p.GetSig())
	<-c.h.s.proofs
	if !ok {
		return c.h.refuse(id, &mailbox.Refusal{Code: mailbox.Malformed})
	}
	return c.watch(mailbox.IDOf(key), p.GetCursor())
}

// watch adds a box; proving one twice starts it anew from the cursor.
func (c *collector) watch(box mailbox.ID, after uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.boxes {
		if w.box == box {
			*w = watched{box: box, after: after, fresh: true}
			c.kick()
			return nil
		}
	}
	if len(c.boxes) >= MaxBoxesPerStream {
		return errOver
	}
	c.h.s.hub.add(box, c)
	c.boxes = append(c.boxes, &watched{box: box, after: after, fresh: true})
	c.kick()
	return nil
}

// credit lets the relay send more.
func (c *collector) credit(m *pb.Credit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items += int64(m.GetItems())
	c.bytes += int64(m.GetBytes())
	if c.items > MaxCredit || c.bytes > MaxCredit {
		return frame.ErrInvalid
	}
	c.kick()
	return nil
}

func (c *collector) wake(box mailbox.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.boxes {
		if w.box == box {
			w.fresh = true
			c.kick()
		}
	}
}

// kick starts the sender if there is anything to do; c.mu is held.
func (c *collector) kick() {
	if !c.busy && !c.ended && c.ready() != nil {
		c.busy = true
		go c.push()
	}
}

// ready is the next box to send from, or nil; c.mu is held. Boxes take turns.
func (c *collector) ready() *watched {
	if c.items <= 0 || c.bytes <= 0 {
		return nil
	}
	for i, w := range c.boxes {
		if w.fresh {
			c.boxes = append(append(c.boxes[:i:i], c.boxes[i+1:]...), w)
			return w
		}
	}
	return nil
}

// push sends pages until no box has more or the credit is used up.
func (c *collector) push() {
	for {
		p, ok := c.begin()
		if !ok {
			return
		}
		if err := c.page(p); err != nil {
			c.h.s.cfg.Log.Debug("relay: push", "err", err)
			c.h.end()
		}
	}
}

// page is what one turn of the sender may send.
type page struct {
	w       *watched
	box     mailbox.ID
	after   uint64
	drained bool
	items   int
	bytes   int
}

// begin picks the next page; false ends the sender.
func (c *collector) begin() (page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var w *watched
	if !c.ended && c.h.out.Alive() {
		w = c.ready()
	}
	if w == nil {
		c.busy = false
		c.moved.Broadcast()
		return page{}, false
	}
	w.fresh = false // before the look, so that a wake during it counts
	return page{
		w: w, box: w.box, after: w.after, drained: w.drained,
		items: int(min(c.items, pageItems)), bytes: int(min(c.bytes, pageBytes)),
	}, true
}

// page fetches and sends one page.
func (c *collector) page(p page) error {
	var got []mailbox.Stored
	var more bool
	err := c.h.s.cfg.Store.View(func(tx mailbox.Tx) (err error) {
		got, more, err = c.h.s.cfg.Relay.Fetch(tx, c.h.s.cfg.Now(), p.box, p.after, p.items, p.bytes)
		return err
	})
	if err != nil {
		return err
	}
	if !c.sent(p, got, more) {
		return nil // proved anew meanwhile: that cursor decides
	}
	if err := c.h.out.Send(answersOf(p, got, more)...); err != nil {
		return err
	}
	c.h.s.count(c.h.from, Pushed, len(got))
	return c.h.out.Room()
}

// sent moves the cursor and takes the credit.
func (c *collector) sent(p page, got []mailbox.Stored, more bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.w.after != p.after || p.w.drained != p.drained {
		return false
	}
	for _, it := range got {
		p.w.after = it.Seq
		c.items--
		c.bytes -= int64(len(it.Envelope))
	}
	p.w.fresh = p.w.fresh || more
	p.w.drained = p.w.drained || !more
	return true
}

// answersOf are the frames of one page.
func answersOf(p page, got []mailbox.Stored, more bool) []proto.Message {
	var out []proto.Message
	if len(got) > 0 {
		m := &pb.Items{Box: p.box[:], Items: make([]*pb.Item, len(got))}
		for i, it := range got {
			m.Items[i] = &pb.Item{Seq: it.Seq, Envelope: it.Envelope}
		}
		out = append(out, &pb.Answer{What: &pb.Answer_Items{Items: m}})
	}
	if !more && !p.drained {
		d := &pb.Drained{Box: p.box[:]}
		out = append(out, &pb.Answer{What: &pb.Answer_Drained{Drained: d}})
	}
	return out
}

// end stops watching and waits for the sender.
func (c *collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.h.s.hub.part(c)
	for _, w := range c.boxes {
		c.h.s.hub.remove(w.box, c)
	}
	c.h.end()
	for c.busy {
		c.moved.Wait()
	}
}

// hub knows the collect streams and which of them watch which box.
type hub struct {
	mu   sync.Mutex
	all  map[*collector]struct{}
	each map[mailbox.ID][]*collector
}

func (u *hub) join(c *collector) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = make(map[*collector]struct{})
	}
	u.all[c] = struct{}{}
}

func (u *hub) part(c *collector) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, c)
}

func (u *hub) streams() []*collector {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.all))
}

// count is how many collect streams are open.
func (u *hub) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

func (u *hub) add(box mailbox.ID, c *collector) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.each == nil {
		u.each = make(map[mailbox.ID][]*collector)
	}
	u.each[box] = append(u.each[box], c)
}

func (u *hub) remove(box mailbox.ID, c *collector) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var rest []*collector
	for _, o := range u.each[box] {
		if o != c {
			rest = append(rest, o)
		}
	}
	if u.each[box] = rest; rest == nil {
		delete(u.each, box)
	}
}

// wake tells every stream that watches a box that it has something new.
func (u *hub) wake(box mailbox.ID) {
	u.mu.Lock()
	watching := u.each[box]
	u.mu.Unlock()
	for _, c := range watching {
		c.wake(box)
	}
}
